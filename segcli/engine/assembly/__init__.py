"""Build all objects of a run (network, loss, metrics, loaders) from its checked config."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from segcli.config.monitored import loss_values, monitored
from segcli.config.schema import Run
from segcli.core.errors import CheckpointError
from segcli.core.registry import TASKS
from segcli.core.types import Array, Batch
from segcli.data.cache import DiskCache, Forecast, MemoryCache, Resizing, cache_folder, copies_of, forecast
from segcli.data.field_of_view import Field
from segcli.data.loader import EvaluationLoader, TrainLoader
from segcli.data.pipeline import Pipeline, Source
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.engine.assembly.components import calibrated_outputs, make_losses, make_metrics, make_network
from segcli.engine.augmentation import make_augmentation
from segcli.engine.checkpoint import Checkpoint
from segcli.engine.events import Listener
from segcli.engine.inference.fields import Fields
from segcli.engine.inference.inferer import Inferer
from segcli.engine.inference.views import views_of
from segcli.engine.runtime import Precision, choose_device, choose_precision, seed_everything
from segcli.engine.weights import load_pretrained
from segcli.losses import Loss, WeightedSum
from segcli.metrics import Metric, Scored
from segcli.models import Network
from segcli.nn.fitting import Fit
from segcli.tasks import Task

__all__ = ["Assembly", "Site", "assemble", "load_weights"]


@dataclass(frozen=True)
class Site:
    """Device and precision for the parts of a run."""

    device: torch.device
    precision: Precision
    place: Callable[[nn.Module, Any], nn.Module]
    """Function that moves a network to the device, with its weights in a memory format."""
    passes: int | None = None
    """Largest number of forward passes of a tiled image, for a memory forecast that needs only a few; None for all."""


def _site(run: Run) -> Site:
    """Return the site that the run's config asks for."""
    device = choose_device(run.device)

    def place(network: Any, memory_format: Any) -> nn.Module:
        return cast("nn.Module", network.to(device=device, memory_format=memory_format))

    return Site(device, choose_precision(run.training.amp, device), place)


@dataclass
class Assembly:
    """Parts of a run, made once; parts that read the data are made on first use."""

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
    """Notices for the user about how the parts were made."""
    fit: Fit | None = None
    """Names of the pretrained weights that were loaded, left out and missing."""
    passes: int | None = None
    """Largest number of forward passes of a tiled image, as in `Site`."""

    def with_numbers(self, run: Run) -> "Assembly":
        """Return these parts for a run in which numbers were measured; network and layout are the same objects."""
        return replace(self, run=run, loss=WeightedSum(make_losses(run)).to(self.device))

    @property
    def rises(self) -> dict[str, bool]:
        """Map each value that can be monitored to True if higher is better; the first one is the default."""
        metrics = {metric.name: metric.higher_is_better for metric in self.metrics}
        return monitored(metrics, self.layout.whole, self._losses)

    @property
    def loss_values(self) -> list[str]:
        """List the values of a validation that the loss gives."""
        return loss_values(self._losses)

    @property
    def _losses(self) -> dict[str, type[Loss]]:
        return {name: kind for name, (_, kind) in self.run.losses.items()}

    def scored(
        self,
        probs: Tensor,
        batch: Batch,
        *,
        outputs: dict[str, Tensor] | None = None,
        spacing: tuple[float, ...] | None = None,
    ) -> Scored:
        """Combine probabilities and truth of a batch for the metrics, with the threshold of the run.

        Args:
            probs: Probabilities.
            batch: Batch with targets.
            outputs: Raw outputs, for what the network tells about presence.
            spacing: Pixel or voxel spacing along each axis in millimetres; None if unknown.
        """
        task, raw = self.task, outputs or {}
        return task.scored(
            probs,
            batch,
            threshold=self.run.inference.threshold,
            spacing=spacing,
            presence=task.presence(raw),
            certainty=task.certainty(raw),
        )

    def prepare_prediction(self) -> str | None:
        """Change to the precision of predictions; return a notice if the run asks for another one."""
        wanted, self.precision = self.precision, self.precision.for_prediction()
        return None if self.precision is wanted else self.precision.refused

    def on_cpu(self, network: nn.Module) -> tuple["Assembly", nn.Module]:
        """Return parts for a validation on the CPU, with a copy of the network there."""
        cpu = torch.device("cpu")
        if self.device == cpu:
            return self, network
        parts = replace(self, device=cpu, precision=choose_precision("off", cpu), loss=deepcopy(self.loss).to(cpu))
        return parts, deepcopy(network).to(cpu)

    @cached_property
    def fields(self) -> Fields:
        """Fields of view of images, outside of which nothing is predicted."""
        return Fields(self.layout, self.run.inference.fov)

    def field_of(self, case: Case) -> Field | None:
        """Find the field of view of a case; None if nothing is left out."""
        if self.layout.ndim != 2 or not self.task.has_pixels:
            return None
        if case.fov is None and self.run.inference.fov != "auto":
            return None

        @cache
        def image() -> Array:
            return self.layout.read_input(case.image, case.index).image

        return self.fields.of(case.image, self.layout.size(case), lambda window: image()[window], case.fov)

    def cleaned(self, probs: Tensor, field: Field | None = None) -> Tensor:
        """Apply `inference.postprocess` to probabilities `(B, K, *S)`, within the field of view.

        The result is on the same device.
        """
        settings, task, inside = self.run.inference, self.task, None if field is None else field.inside
        if not settings.postprocess.changes(task.classes):
            if inside is None:
                return probs
            within = torch.from_numpy(inside).to(probs.device)
            return torch.stack([task.emptied(each, within) for each in probs])
        arrays = [task.cleaned(each, settings.postprocess, settings.threshold, inside) for each in probs.cpu().numpy()]
        return torch.from_numpy(np.stack(arrays)).to(probs.device)

    @cached_property
    def pipeline(self) -> Pipeline:
        """Preprocessing of images, with augmentation for training."""
        augment = make_augmentation(self.run, self.layout)
        return Pipeline(
            self.run.data, self.run.dataset.spec, stride=self.network.stride, seed=self.run.seed, augment=augment
        )

    def source(self, cases: Sequence[Case], listener: Listener) -> Source:
        """Make the source of decoded, resized cases: files, also for `auto` outside of training, or a cache."""
        data, direct = self.run.data, Resizing(self.layout, self.pipeline)
        if data.cache in ("none", "auto"):
            return direct
        listener.notice(self.cache_notice(cases))
        if data.cache == "memory":
            listener.stage("decoding images", len(cases))
            scale = self.pipeline.scale if data.preprocessing.by_image else None
            return MemoryCache(direct, cases, scale, listener.advance)
        return DiskCache(direct, self._cache_dir, f"{self.run.dataset.model_dump_json()}|{self.pipeline.image_size}")

    def cache_notice(self, cases: Sequence[Case]) -> str:
        """Describe the size of the cache that the run asks for; empty without a cache or cases.

        Raises:
            ConfigError: There is less memory, or space on the disk.
        """
        place = self.run.data.cache
        return "" if place in ("none", "auto") or not cases else self.cache_forecast(place, cases).check()

    def cache_forecast(self, place: str, cases: Sequence[Case], processes: int = 1) -> Forecast:
        """Forecast the size of a cache of `processes` that each have one, in `memory` or on the `disk`."""

        def pixels(case: Case) -> int:
            return math.prod(self.pipeline.image_size or self.layout.size(case))

        copies = copies_of(place, processes, self.run.data.num_workers)
        return forecast(place, Resizing(self.layout, self.pipeline), cases, pixels, self._cache_dir, copies)

    @property
    def _cache_dir(self) -> Path:
        return cache_folder(self.run.data)

    def train_loader(self, cases: Sequence[Case], source: Source, *, rank: int = 0, size: int = 1) -> TrainLoader:
        """Make the loader of shuffled training batches, of which each process loads its share."""
        run, pins = self.run, self._pins
        unit = run.data.slot_size if run.training.reduce == "exact" else 1
        return TrainLoader(
            source, self.pipeline, cases, seed=run.seed, pin_memory=pins, rank=rank, size=size, unit=unit
        )

    def evaluation_loader(self, cases: Sequence[Case], source: Source) -> EvaluationLoader:
        """Make the loader of whole images in order.

        On the CPU, small images share a batch where this changes no bit of their results, unless they are resized.
        """
        return EvaluationLoader(
            source,
            self.pipeline,
            cases,
            [self.pipeline.network_size(self.layout.size(case)) for case in cases],
            batch_size=self.at_once if self.pipeline.image_size else self.inferer().at_once,
            num_workers=self.run.data.num_workers,
            pin_memory=self._pins,
        )

    @property
    def at_once(self) -> int:
        """Images, or tiles, per forward pass outside of training."""
        return 1 if self.device.type == "cpu" else self.run.data.evaluated_at_once

    @property
    def _pins(self) -> bool:
        return self.run.data.pin_memory and self.device.type == "cuda"

    def inferer(self, network: nn.Module | None = None) -> Inferer:
        """Make the inferer of whole images with this network, or with the run's own network."""
        settings = self.run.inference
        return Inferer(
            self.network if network is None else network,
            (*self.task.outputs, *self.task.extras),
            tile=None if settings.tile is None or not self.task.has_pixels else tuple(settings.tile),
            overlap=settings.overlap,
            multiple=self.pipeline.multiple,
            precision=self.precision,
            batch_size=self.at_once,
            views=views_of(self.layout.ndim, settings.tta),
            scales=settings.scales,
            passes=self.passes,
            joins_small=self.device.type == "cpu" and self.layout.ndim == 2 and self.precision.dtype is not None,
        )


def assemble(run: Run, *, pretrained: bool = False, site: Site | None = None) -> Assembly:
    """Make the parts of a run; the seed determines the initial weights of the network.

    Args:
        run: The run.
        pretrained: Load the pretrained weights that the run names. Only a new training needs them: a checkpoint has its
            own weights, and must work without that file.
        site: Device and precision for the parts; those of the run when left out.

    Raises:
        ConfigError: Parts are not compatible.
        CheckpointError: The pretrained weights do not fit.
        DeviceError: The device does not exist.
    """
    site = site or _site(run)
    layout: Layout = run.dataset.build()
    task: Task = TASKS.load(run.task_name)(run.dataset.spec, run.class_offsets, calibrated_outputs(run))
    run.inference.postprocess.check(task.classes)
    seed_everything(run.seed)
    network = make_network(run, layout, task)
    notes, fit = load_pretrained(run.model, network) if pretrained else ([], None)
    if run.model.checkpoint_activations:
        network.checkpoint_activations()
    memory_format = _memory_format(run, layout.ndim)
    # FSDP cuts weights into rows, and takes them in the usual layout only
    layout_of_weights = torch.contiguous_format if run.training.strategy == "fsdp" else memory_format
    placed: Any = site.place(network, layout_of_weights)
    return Assembly(
        run=run,
        device=site.device,
        precision=replace(site.precision, volumes=layout.ndim == 3),
        layout=layout,
        task=task,
        network=placed,
        loss=WeightedSum(make_losses(run)).to(site.device),
        metrics=make_metrics(run),
        memory_format=memory_format,
        notes=notes,
        fit=fit,
        passes=site.passes,
    )


def _memory_format(run: Run, ndim: int) -> Any:
    if not run.training.channels_last:
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def load_weights(network: nn.Module, checkpoint: Checkpoint, source: Path, *, ema: bool = True) -> None:
    """Load a checkpoint's weights into the network: the averaged (EMA) weights if it has them and `ema` is set.

    Raises:
        CheckpointError: The weights belong to another network.
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
