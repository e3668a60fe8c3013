"""Define the shape of a run: every key of an experiment file, with its default and its meaning."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator

from segcli.config.sections import (
    Component,
    DatasetSection,
    LossPart,
    MetricSection,
    ModelSection,
    OptimizerSection,
    SchedulerSection,
    TrackerSection,
)
from segcli.core.names import printable, safe_name
from segcli.core.paths import EXPERIMENTS
from segcli.core.registry import label
from segcli.core.types import ConfigModel, FilePath, Positive, Share
from segcli.data.postprocess import Postprocess
from segcli.data.settings import DataSettings, Size

__all__ = [
    "Component",
    "DatasetSection",
    "LossPart",
    "MetricSection",
    "ModelSection",
    "OptimizerSection",
    "Run",
    "SchedulerSection",
    "TrackerSection",
    "Training",
]


class EarlyStopping(ConfigModel):
    """Choose the loss or metric that decides on the best checkpoint and on stopping early."""

    enabled: bool = False
    """Stop early. If false, `monitor` decides only on the best checkpoint."""
    patience: Positive = 10
    """Stop after this many validations without improvement."""
    min_delta: Annotated[float, Field(ge=0.0)] = 0.0
    """Smallest change that counts as an improvement."""
    monitor: str | None = None
    """`val_loss`, or `val_` and a metric; default: the first metric of the run."""
    mode: Literal["min", "max"] | None = None
    """`min` if lower is better, `max` if higher is better; default: follows from `monitor`."""


class EMA(ConfigModel):
    """Keep a running mean of the weights; validation, best checkpoint and prediction then use it."""

    enabled: bool = True
    """Turn the running mean on or off; an override of another key turns it on."""
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """Share of the old mean kept at each optimizer step."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out a decay alone, and `true` or `false` alone."""
        if isinstance(given, bool):
            return {"enabled": given}
        return {"decay": given} if isinstance(given, float) else given


def _patterns(given: Any) -> Any:
    """Write out one pattern alone, and patterns without epochs."""
    given = [given] if isinstance(given, str) else given
    is_list = isinstance(given, list) and all(isinstance(each, str) for each in given)
    return dict.fromkeys(given) if is_list else given


class Training(ConfigModel):
    """Set how the network is trained."""

    other_keys: ClassVar[dict[str, str]] = {
        "num_epochs": "epochs",
        "max_epochs": "epochs",
        "n_epochs": "epochs",
        "lr": "set `training.optimizer.learning_rate`",
        "learning_rate": "set `training.optimizer.learning_rate`",
        "weight_decay": "set `training.optimizer.weight_decay`",
        "batch_size": "set `data.batch_size`",
        "num_workers": "set `data.num_workers`",
        "image_size": "set `data.image_size`",
        "lr_scheduler": "scheduler",
        "loss_function": "loss",
        "criterion": "loss",
        "mixed_precision": "amp",
        "use_amp": "amp",
        "grad_clip": "gradient_clip_norm",
        "max_grad_norm": "gradient_clip_norm",
        "accumulation_steps": "gradient_accumulation_steps",
        "patience": "set `training.early_stopping.patience`",
        "seed": "set `seed` at the top",
    }

    epochs: Positive = 50
    """Number of passes over the training images."""
    minutes: Annotated[float, Field(gt=0.0)] | None = None
    """Minutes that the whole training takes, from the start of the command to the report. Before the first epoch a few
    steps are timed on this machine; the epochs that fit take the place of this key in the run's config."""
    optimizer: OptimizerSection = OptimizerSection()
    """Optimizer and its keys."""
    scheduler: SchedulerSection = SchedulerSection()
    """Learning-rate schedule and its keys."""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Epochs (fractions too) over which the learning rate grows from 0 to its peak."""
    loss: Annotated[dict[str, LossPart], Field(min_length=1)] = {"dice": LossPart()}
    """Loss: `dice`, `{type: dice, smooth: 1.0}`, or a sum of parts by weight `{bce: 0.5, dice: 0.5}`."""
    metrics: list[MetricSection] = []
    """Metrics of training and validation."""
    val_interval: Positive = 1
    """Number of epochs between two validations."""
    validate_on: Literal["device", "cpu"] = "device"
    """`cpu`: validate with a copy of the network on the CPU, if the GPU's memory is only enough for training."""
    gradient_accumulation_steps: Positive = 1
    """Number of batches per optimizer step."""
    gradient_clip_norm: Annotated[float, Field(gt=0.0)] | None = None
    """Largest norm of the gradient."""
    amp: Literal["auto", "bf16", "fp16", "off", True, False] = "auto"
    """Mixed precision. `auto`: on GPUs that are fast at it bf16 or, on older ones, fp16; on CPUs bf16 if a step of this
    network is at least 1.2 times as fast, which is timed before the first epoch. What was taken is written into the
    run's config. `true`: bf16 on all CPUs with AVX-512 BF16 or AMX, without timing."""
    channels_last: bool = True
    """Memory layout in which convolutions are faster."""
    sync_batchnorm: Literal["auto", True, False] = "auto"
    """Take the statistics of batch norms over the images of all processes that share a batch. `auto`: with several
    processes, so that their number changes nothing but the order of sums. `false`: each process takes those of its own
    images."""
    reduce: Literal["fast", "exact"] = "fast"
    """Order in which gradients, losses and statistics of batch norms are added. `exact`, on CPUs: in slots of
    `data.slot_size` images along one tree, so that the weights have the same bits on any number of processes. `fast`:
    as the processes have them."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """What each of several processes keeps. `ddp`: the whole network. `fsdp`: a share of weights, gradients and
    optimizer state, for networks that do not fit one GPU; stages are gathered when they are used."""
    compile: bool = False
    """Compile the network with `torch.compile`."""
    deterministic: bool = False
    """On GPUs: add in one order wherever PyTorch knows one, and compute float32 without TF32; slower. On a CPU, every
    training has the same bits when it is repeated."""
    memory_cleanup_frequency: Positive | None = None
    """Free Python's garbage and the GPU's cached memory after every this many optimizer steps; default: never."""
    ema: EMA = EMA(enabled=False)
    """Exponential moving average of the weights."""
    early_stopping: EarlyStopping = EarlyStopping()
    """Loss or metric that decides on the best checkpoint and on stopping early."""
    freeze: Annotated[dict[str, Positive | None], BeforeValidator(_patterns)] = {}
    """Parameters to freeze, by name, module or pattern, `[down.*, bottom]`, or with the number of epochs after which
    they are unfrozen, `{"down.0": 10, "down.*": 5}`; the first pattern that matches counts. Frozen batch norms keep
    their running statistics."""
    unfreeze_every: Positive | None = None
    """Number of epochs after which the last frozen block of `freeze` is unfrozen; after as many again, the block before
    it, and so on. Blocks with their own number of epochs are not affected."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Let a number of epochs alone turn `minutes` off, so that the last setting counts."""
        return {"minutes": None, **given} if isinstance(given, dict) and "epochs" in given else given


class CheckpointSettings(ConfigModel):
    """Choose which checkpoints are kept. `last` and `best` always are."""

    every_minutes: Annotated[float, Field(ge=0.0)] = 10.0
    """Write `last` within an epoch after this many minutes; 0: after every step."""
    save_every: Positive | None = None
    """Keep `epoch_XXXX` after every this many epochs."""
    max_checkpoints: Positive = 3
    """Keep only this many `epoch_XXXX`, the newest ones."""
    keep_best_only: bool = False
    """Keep no `epoch_XXXX` at all."""


class Inference(ConfigModel):
    """Set how whole images are predicted, in validation, evaluation and prediction alike."""

    tile: Size | None = [1024, 1024]
    """Cut images that are larger than this into tiles; null: never."""
    overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    """Share of a tile that it shares with the next."""
    tta: Literal[False, True, "horizontal"] = False
    """Test-time augmentation: average the logits of all flips and, in 2D, quarter turns; eight times the work.
    `horizontal` takes only the image and its mirror image, for scenes with a top and a bottom; twice the work."""
    scales: Annotated[list[Annotated[float, Field(ge=0.25, le=4.0)]], Field(min_length=1)] = [1.0]
    """Sizes at which the network sees each image or tile, as factors; the logits are averaged, `[0.75, 1.0, 1.25]`."""
    threshold: Share = 0.5
    """Smallest probability of a foreground pixel."""
    undo_class_weights: Share = 0.0
    """Undo this share of the loss's `class_weights`. The share times the logarithm of a class's weight is subtracted
    from the logit of the class, except where the weight is 0 (Menon et al., "Long-tail learning via logit adjustment",
    ICLR 2021). Class weights help to learn rare classes, but also cause false positives of these classes. Any share
    can be tried without a new training."""
    postprocess: Postprocess = Postprocess()
    """Steps that clean the predicted masks."""
    fov: Literal["auto", "none"] | None = None
    """Field of view of a photograph that has no mask for it; the prediction is empty outside. `auto`: estimate the
    field from the dark border of the photograph. `none`: take the whole image. Masks have priority: those of `segcli
    predict --fov`, or those in `fov_folder` for images of the data set. Default: `auto` if the data set has a
    `fov_folder`, else `none`."""

    def changed(self, ndim: int, threshold: float | None, tta: bool | None, tile: int | None) -> "Inference":
        """Change keys for one call; None keeps the value. `tta: false` also sets one scale."""
        changes = {
            "threshold": threshold,
            "tta": tta,
            "scales": [1.0] if tta is False else None,
            "tile": None if tile is None else [tile] * ndim,
        }
        return self.model_copy(update={key: value for key, value in changes.items() if value is not None})


class Logging(ConfigModel):
    """Choose the records besides the metrics history."""

    tensorboard: bool = True
    """Write event files for TensorBoard."""
    trackers: list[TrackerSection] = []
    """More trackers by name, `[sacred]`, or with their keys, `[{type: mlflow, uri: ...}]`. A tracker
    that fails is dropped with a warning, and the training continues."""
    log_images: bool = False
    """Write input, truth and prediction of four validation images side by side."""
    image_log_frequency: Positive = 5
    """Number of epochs between two sets of images; a new best epoch is written as well."""
    visualization_interval: Positive | None = 5
    """Number of epochs between two sets of pictures in the run's `visualizations`: truth and prediction over four
    validation images, with a legend; null: none."""
    log_activations: bool = False
    """Write histograms and statistics (mean, std, min, max) of layer outputs for four validation images."""
    activation_log_frequency: Positive = 5
    """Number of epochs between two sets of histograms."""
    activation_layers: Literal["auto", "all"] | list[str] | None = "auto"
    """Layers by name, such as `[down.0, head]`; `auto`: the model chooses; `all`: every layer; null: none."""


class Debug(ConfigModel):
    """Set options for finding problems."""

    on_nan: Literal["stop", "skip"] = "stop"
    """`stop`: a loss that is not finite stops the run and names the batch. `skip`: the batch is skipped and counted."""
    on_oom: Literal["stop", "halve"] = "stop"
    """When memory runs out in a training step: `stop` names the remedies; `halve` tries again with half batches.
    The gradient is the same, except that batch norms and losses that pool a batch see half a batch."""
    profile_memory: bool = False
    """Print the memory forecast before the first epoch."""
    detailed_memory: bool = False
    """Print the memory forecast by layer."""
    estimate_activations: bool = True
    """Count activations in the forecast; `false`: only weights, gradients and optimizer state."""
    profile_training_step: bool = False
    """Write a trace of one training step into `trace/` of the run folder before the first epoch."""


class Output(ConfigModel):
    """Choose where a run is written."""

    dir: FilePath | None = None
    """Run folder; default: `outputs/experiments/<name>`."""
    save_predictions: bool = True
    """Let `eval` write the predicted masks."""


class Run(ConfigModel):
    """Describe one experiment."""

    name: str
    """Name of the run and of its folder."""
    dataset: DatasetSection
    """Path of a data-set file, or its keys in place."""
    data: DataSettings = DataSettings()
    """Settings of how images are cut into batches."""
    model: ModelSection
    """Network and its keys."""
    training: Training = Training()
    """Settings of the training."""
    inference: Inference = Inference()
    """Settings of how whole images are predicted."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Checkpoints that are kept."""
    logging: Logging = Logging()
    """Records besides the metrics history."""
    debug: Debug = Debug()
    """Options for finding problems."""
    output: Output = Output()
    """Place where the run is written."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seed that all randomness follows from."""
    device: str = "auto"
    """Device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    _readings: tuple[str, ...] = PrivateAttr(())
    _left_out: frozenset[str] = PrivateAttr(frozenset())

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if name != safe_name(name):
            raise ValueError(f"must be usable as a folder's name, got `{printable(name)}`")
        return name

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError(f"must be auto, cpu, cuda, cuda:N or mps, got `{device}`")
        return device

    @property
    def readings(self) -> tuple[str, ...]:
        """Sentences for the user about names that are not ours; empty for a config that segcli wrote."""
        return self._readings

    def with_readings(self, readings: Sequence[str]) -> "Run":
        """Copy the run with sentences about names that are not ours."""
        run = self.model_copy()
        run._readings = tuple(dict.fromkeys(readings))
        return run

    @property
    def folder(self) -> Path:
        """Folder that the run is written to."""
        return self.output.dir or EXPERIMENTS / self.name

    @property
    def task_name(self) -> str:
        """Task of the data set."""
        return self.dataset.task_name

    def without(self, left_out: Iterable[str]) -> "Run":
        """Copy the run for a command that does not import these components of the user's own."""
        changed = self.model_copy()
        changed._left_out = frozenset(left_out)
        return changed

    @property
    def leaves_out(self) -> bool:
        """Tell whether components of the user's own are left out."""
        return bool(self._left_out)

    @property
    def losses(self) -> dict[str, tuple[LossPart, Any]]:
        """Parts of the loss and their classes by the names under which they are logged; none if one is left out."""
        parts = self.training.loss
        if self._left_out & parts.keys():
            return {}
        return {label(name): (part, part.kind(name)) for name, part in parts.items()}

    @property
    def metrics(self) -> dict[str, MetricSection]:
        """Metrics that are not left out by the names under which they are logged."""
        return {label(each.type): each for each in self.training.metrics if each.type not in self._left_out}

    @property
    def trackers(self) -> list[TrackerSection]:
        """Trackers that are not left out."""
        return [each for each in self.logging.trackers if each.type not in self._left_out]

    @property
    def class_offsets(self) -> list[float]:
        """Numbers to subtract from the logits of the classes; empty if none, or if weights are not computed yet."""
        share = self.inference.undo_class_weights
        given = [part.class_weights for part in self.training.loss.values()]
        weights = next((weights for weights in given if isinstance(weights, list)), [])
        return [share * math.log(weight) if weight else 0.0 for weight in weights] if share else []

    def predicting(self, *, threshold: float | None = None, tta: bool | None = None, tile: int | None = None) -> "Run":
        """Copy the run with other keys of `inference`; None keeps what it has.

        There is no augmentation in it, whose packages take a second to import.
        """
        ndim: int = self.dataset.kind.ndim
        augmentation = self.data.augmentation.model_copy(update={"enabled": False})
        data = self.data.model_copy(update={"augmentation": augmentation})
        return self.model_copy(update={"inference": self.inference.changed(ndim, threshold, tta, tile), "data": data})

    def on(self, device: str | None) -> "Run":
        """Copy the run with another device; None keeps what it has."""
        return self if device is None else self.model_copy(update={"device": device})

    def resolved(self) -> dict[str, Any]:
        """Write every key with its value, which is enough to repeat the run."""
        return self.model_dump(mode="python")
