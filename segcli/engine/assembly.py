"""From a checked run to the objects that do the work."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli.config.schema import Run
from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.registry import LOSSES, TASKS
from segcli.core.types import Batch, IOSpec
from segcli.data.cache import DiskCache, MemoryCache, Resizing, forecast
from segcli.data.loader import EvaluationLoader, TrainLoader
from segcli.data.pipeline import Pipeline, Source
from segcli.data.samples import Case, Sample
from segcli.data.volume_transforms import VolumeAugmenter
from segcli.datasets import Layout
from segcli.engine.checkpoint import Checkpoint
from segcli.engine.events import Listener
from segcli.engine.inference.inferer import Inferer
from segcli.engine.inference.views import views_of
from segcli.engine.runtime import Precision, choose_device, choose_precision, seed_everything
from segcli.losses import WeightedSum
from segcli.metrics import Metric, Scored
from segcli.models import Network
from segcli.tasks import Task

__all__ = ["Assembly", "Site", "assemble", "load_weights", "make_losses", "make_metrics"]


@dataclass(frozen=True)
class Site:
    """Where the parts of a run are put."""

    device: torch.device
    precision: Precision
    place: Callable[[nn.Module, Any], nn.Module]
    """Puts a network there, with its weights in a memory format."""
    passes: int | None = None
    """Forward passes of an image in tiles, where a few tell what there is to know; all when None."""


def _site(run: Run) -> Site:
    """Where the run's config says."""
    device = choose_device(run.device)

    def place(network: Any, memory_format: Any) -> nn.Module:
        moved: nn.Module = network.to(device=device, memory_format=memory_format)
        return moved

    return Site(device, choose_precision(run.training.amp, device), place)


@dataclass
class Assembly:
    """A run's parts, made once; whatever reads the data is made when it is asked for."""

    run: Run
    device: torch.device
    precision: Precision
    layout: Layout
    task: Task
    network: Network
    loss: WeightedSum
    metrics: list[Metric]
    memory_format: torch.memory_format
    notes: list[str] = field(default_factory=list)
    """What there is to tell of how they were made."""
    passes: int | None = None
    """As in `Site`."""

    @property
    def rises(self) -> dict[str, bool]:
        """Whether higher is better, for each value that a validation can be judged by; the first one is the default."""
        metrics = {metric.name: metric.higher_is_better for metric in self.metrics}
        whole = {f"{self.layout.whole}_{name}": rises for name, rises in metrics.items() if self.layout.whole}
        losses = dict.fromkeys(["loss", *(f"loss_{name}" for name in self.run.training.loss)], False)
        return {f"val_{name}": rises for name, rises in {**metrics, **whole, **losses}.items()}

    def scored(
        self,
        probs: Tensor,
        batch: Batch,
        *,
        presence: Tensor | None = None,
        spacing: tuple[float, ...] | None = None,
    ) -> Scored:
        """Put probabilities beside the truth of their batch, with the threshold of the run."""
        threshold = self.run.inference.threshold
        return self.task.scored(probs, batch, threshold=threshold, spacing=spacing, presence=presence)

    def on_cpu(self, network: nn.Module) -> tuple["Assembly", nn.Module]:
        """Parts for a validation on the CPU, and a copy of this network there."""
        cpu = torch.device("cpu")
        if self.device == cpu:
            return self, network
        parts = replace(self, device=cpu, precision=choose_precision("off", cpu), loss=deepcopy(self.loss).to(cpu))
        return parts, deepcopy(network).to(cpu)

    def cleaned(self, probs: Tensor) -> Tensor:
        """Probabilities `(B, K, *S)` after `inference.postprocess`, on the same device."""
        settings = self.run.inference
        if not settings.postprocess.changes(self.task.classes):
            return probs
        arrays = [self.task.cleaned(each, settings.postprocess, settings.threshold) for each in probs.cpu().numpy()]
        return torch.from_numpy(np.stack(arrays)).to(probs.device)

    @cached_property
    def pipeline(self) -> Pipeline:
        """Preparation of images, with augmentation for training."""
        settings = self.run.data.augmentation
        augment: Callable[[Sample, int], Sample] | None = None
        if settings.enabled and self.layout.ndim == 3:
            augment = VolumeAugmenter(settings, spacing=self.layout.stated_spacing)
        elif settings.enabled:
            from segcli.data.transforms import Augmenter  # noqa: PLC0415 - albumentations takes seconds to import

            augment = Augmenter(settings, channels=self.run.dataset.num_channels, square=self._is_square())
        return Pipeline(
            self.run.data, self.run.dataset.spec, stride=self.network.stride, seed=self.run.seed, augment=augment
        )

    def _is_square(self) -> bool:
        size = self.run.data.patch_size or self.run.data.image_size or self.run.dataset.image_size
        return size is not None and len(set(size)) == 1

    def source(self, cases: Sequence[Case], listener: Listener) -> Source:
        """Decoded, resized cases: from the files, or from the cache that the run asks for."""
        data, pipeline = self.run.data, self.pipeline
        direct = Resizing(self.layout, pipeline)
        if data.cache == "none":
            return direct
        folder = data.cache_dir or Path("outputs") / "cache"

        def pixels(case: Case) -> int:
            product = 1
            for length in pipeline.image_size or self.layout.size(case):
                product *= length
            return product

        listener.notice(forecast(data.cache, direct, cases, pixels, folder).check())
        if data.cache == "memory":
            return MemoryCache(direct, cases)
        return DiskCache(direct, folder, f"{self.run.dataset.model_dump_json()}|{pipeline.image_size}")

    def train_loader(self, cases: Sequence[Case], source: Source) -> TrainLoader:
        """Shuffled batches."""
        return TrainLoader(source, self.pipeline, cases, seed=self.run.seed, pin_memory=self._pins)

    def evaluation_loader(self, cases: Sequence[Case], source: Source) -> EvaluationLoader:
        """Whole images in order.

        On the CPU one at a time: nothing is slower for it, and no result can depend on what shares a batch.
        """
        return EvaluationLoader(
            source,
            self.pipeline,
            cases,
            [self.pipeline.network_size(self.layout.size(case)) for case in cases],
            batch_size=1 if self.device.type == "cpu" else self.run.data.batch_size,
            num_workers=self.run.data.num_workers,
            pin_memory=self._pins,
        )

    @property
    def _pins(self) -> bool:
        return self.run.data.pin_memory and self.device.type == "cuda"

    def inferer(self, network: nn.Module | None = None) -> Inferer:
        """Prediction of whole images with this network, or with the run's own."""
        settings = self.run.inference
        return Inferer(
            self.network if network is None else network,
            (*self.task.outputs, *self.task.extras),
            tile=None if settings.tile is None or not self.task.has_pixels else tuple(settings.tile),
            overlap=settings.overlap,
            multiple=self.pipeline.multiple,
            precision=self.precision,
            batch_size=1 if self.device.type == "cpu" else self.run.data.batch_size,
            views=views_of(self.layout.ndim, settings.tta),
            scales=settings.scales,
            passes=self.passes,
        )


def assemble(run: Run, *, pretrained: bool = False, site: Site | None = None) -> Assembly:
    """Make a run's parts; the network's first weights follow from the seed.

    Args:
        run: The run.
        pretrained: Take up the pretrained weights that it names. Only a new training needs them: a checkpoint has its
            own, and must work where that file is not.
        site: Where to put the parts; on the run's own device when left out.

    Raises:
        ConfigError: Parts do not fit together.
        CheckpointError: The pretrained weights do not fit.
        DeviceError: The device is not there.
    """
    site = site or _site(run)
    layout: Layout = run.dataset.build()
    task: Task = TASKS.load(run.task_name)(run.dataset.spec, run.class_offsets)
    run.inference.postprocess.check(task.classes)
    seed_everything(run.seed)
    can_output = run.model.kind.can_output
    outputs = [*task.outputs, *(each for each in task.extras if each.name in can_output)]
    size = run.data.image_size or run.dataset.image_size or layout.case_size
    io = IOSpec(
        ndim=layout.ndim,
        in_channels=run.dataset.num_channels,
        outputs={each.name: each.channels for each in outputs},
        size=None if size is None else tuple(size),
    )
    network: Network = run.model.build(io=io)
    if network.needs_size and run.data.patch_size is not None:
        raise ConfigError(
            f"model `{run.model.type}` sees whole images of one size, and `data.patch_size` cuts them",
            hint="leave `data.patch_size` out",
        )
    notes = network.load_pretrained() if pretrained else []
    if run.model.checkpoint_activations:
        network.checkpoint_activations()
    multiple = run.data.preprocessing.pad_to_multiple
    if multiple is not None and multiple % network.stride:
        raise ConfigError(
            f"`data.preprocessing.pad_to_multiple` is {multiple}, model `{run.model.type}` halves its input down to "
            f"1/{network.stride} and needs a multiple of {network.stride}",
            hint=f"set it to {-(-multiple // network.stride) * network.stride}, or leave it out",
        )
    memory_format = _memory_format(run, layout.ndim)
    placed: Any = site.place(network, memory_format)
    return Assembly(
        run=run,
        device=site.device,
        precision=site.precision,
        layout=layout,
        task=task,
        network=placed,
        loss=WeightedSum(make_losses(run)).to(site.device),
        metrics=make_metrics(run),
        memory_format=memory_format,
        notes=notes,
        passes=site.passes,
    )


def make_losses(run: Run) -> list[tuple[float, Any]]:
    """Make the losses of a run with their weights, each named as in YAML."""
    output = TASKS.load(run.task_name).output
    made = []
    for name, part in run.training.loss.items():
        kind = LOSSES.load(name)
        loss = kind(kind.Config.model_validate(part.options))
        loss.name, loss.output = name, output
        made.append((part.weight, loss))
    return made


def make_metrics(run: Run) -> list[Metric]:
    """Make the metrics of a run, each named as in YAML."""
    task = TASKS.load(run.task_name)
    made = []
    for section in run.training.metrics:
        metric: Metric = section.build()
        metric.name = section.type
        metric.headline = task.headline or metric.headline
        metric.present_only = task.present_only
        metric.exclusive = task.target == "classes"
        metric.pool = task.pool or metric.pool
        made.append(metric)
    return made


def _memory_format(run: Run, ndim: int) -> Any:
    if not run.training.channels_last:
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def load_weights(network: nn.Module, checkpoint: Checkpoint, source: Path, *, ema: bool = True) -> None:
    """Put a checkpoint's weights into the network: the averaged ones, where there are any and `ema` is set.

    Raises:
        CheckpointError: They belong to another network.
    """
    tensors = (checkpoint.below("ema") if ema else {}) or checkpoint.below("model")
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if len(str(error).splitlines()) > 1 else str(error)
        raise CheckpointError(
            f"the weights in `{source}` do not fit the network ({detail[:160]})",
            hint="the checkpoint was written with other `model` keys",
        ) from error
