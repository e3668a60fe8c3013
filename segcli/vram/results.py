"""Results of a memory forecast, for tables and JSON. Sizes are bytes."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "CONTEXT",
    "LIBRARIES",
    "NCCL",
    "OUTSIDE",
    "Forecast",
    "LayerUse",
    "Lever",
    "Limits",
    "Measured",
    "StageUse",
    "SweepRow",
    "Timeline",
    "Traced",
    "allowance",
    "parse_size",
]

CONTEXT = 512 * 2**20
"""Allowance for the CUDA context and kernel code, which the allocator does not count."""
LIBRARIES = 64 * 2**20
"""Allowance for cuDNN workspaces, which depend on the algorithm that cuDNN chooses on the GPU."""
NCCL = 256 * 2**20
"""Allowance for the buffers of NCCL, which moves tensors between GPUs; their size depends on GPUs and links."""
OUTSIDE = "(loss, metrics, optimizer)"
"""Name of the row for memory that belongs to no layer."""
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def allowance(gpus: int) -> int:
    """Return the bytes on a GPU that are not forecast: context, cuDNN and, with several GPUs, NCCL."""
    return CONTEXT + LIBRARIES + (NCCL if gpus > 1 else 0)


def parse_size(text: str) -> int:
    """Convert a size with a unit to bytes.

    Raises:
        ValueError: The text is not a size.

    Example:
        >>> parse_size("24GiB"), parse_size("512 MB")
        (25769803776, 512000000)
    """
    for unit, factor in UNITS.items():
        number = text.strip().removesuffix(unit)
        if number != text.strip():
            size = int(float(number) * factor) if math.isfinite(float(number) * factor) else 0
            if size > 0:
                return size
    raise ValueError(text)


@dataclass(frozen=True)
class StageUse:
    """Memory of one stage of training, validation or prediction."""

    phase: str
    stage: str
    peak: int
    """Peak bytes of tensors in this stage, rounded as the allocator does."""
    reserved: int
    """Largest number of bytes reserved by the allocator up to the end of this stage."""


@dataclass(frozen=True)
class LayerUse:
    """Memory of one layer in a training step."""

    name: str
    parameters: int
    """Number of parameters."""
    weights: int
    """Bytes of parameters and buffers."""
    activations: int
    """Bytes kept for the backward pass."""
    peak: int
    """Peak bytes of the whole process while this layer runs, forward or backward."""


@dataclass(frozen=True)
class Limits:
    """Largest batch and image that fit a GPU."""

    vram: int
    max_batch_size: int
    """Largest batch with the run's own precision; 0 if not even one image fits."""
    by_precision: dict[str, int]
    max_image_size: tuple[int, ...] | None
    """Largest image, or patch, at the run's batch size; None if none fits."""


@dataclass(frozen=True)
class Lever:
    """Overrides that lower the memory of a run."""

    overrides: str
    device: int | None
    """Forecast of the bytes on the GPU with them; None where it was not made."""


@dataclass(frozen=True)
class SweepRow:
    """Forecast for one value of a sweep."""

    key: str
    value: str
    peak: int
    reserved: int
    fits: bool | None
    """True if the value fits the GPU; None without a limit."""


@dataclass(frozen=True)
class Measured:
    """Measurement of the forecast step on a GPU."""

    peak: int
    """`torch.cuda.max_memory_allocated`."""
    reserved: int
    """`torch.cuda.max_memory_reserved`."""
    device: int
    """Decrease of the free memory on the GPU."""
    gpu: str


@dataclass(frozen=True)
class Traced:
    """Trace of the forecast step."""

    device: str
    files: list[Path]
    elapsed_s: float
    peak: int
    """Peak of allocated bytes on the GPU; on the CPU the memory of the process at the end."""


@dataclass(frozen=True)
class Timeline:
    """Memory after each allocation and release; `stage`, `layer` and `kind` are positions in the lists of names."""

    used: list[int]
    reserved: list[int]
    change: list[int]
    stage: list[int]
    layer: list[int]
    kind: list[int]
    stages: list[str]
    layers: list[str]
    kinds: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values for an HTML page."""
        return asdict(self)


@dataclass(frozen=True)
class Forecast:
    """Forecast of the GPU memory of a run."""

    run: str
    model: str
    precision: str
    batch_size: int
    image_size: tuple[int, ...]
    accumulation: int
    optimizer: str
    parameters: int
    trainable: int
    kinds: dict[str, int]
    """Largest number of bytes of each kind at one time during training, before rounding."""
    at_peak: dict[str, int]
    """Bytes of each kind at the peak of training; with `rounding` they add up to `peak`."""
    activations: int
    """Bytes kept for the backward pass when it begins."""
    peak: int
    """Peak bytes of tensors during training and validation: `torch.cuda.max_memory_allocated`."""
    reserved: int
    """Largest number of bytes reserved by the allocator: `torch.cuda.max_memory_reserved`."""
    stages: list[StageUse]
    layers: list[LayerUse]
    """Layers in the order of the network."""
    limits: Limits | None = None
    sweep: list[SweepRow] = field(default_factory=list)
    measured: Measured | None = None
    traced: Traced | None = None
    notes: tuple[str, ...] = ()
    gpus: int = 1
    """GPUs that share each batch; the forecast is for one of them."""
    strategy: str = "ddp"
    """What each of several GPUs keeps, as `training.strategy`."""
    batch_per_gpu: int = 0
    """Most images of a batch on one GPU."""
    levers: tuple[Lever, ...] = ()
    """What lowers the memory; not in `--json`."""

    @property
    def peak_stage(self) -> StageUse:
        """Find the stage of training or validation with the peak."""
        return max((stage for stage in self.stages if stage.phase != "prediction"), key=lambda stage: stage.peak)

    @property
    def device(self) -> int:
        """Bytes on the GPU as shown by `nvidia-smi`: reserved plus the allowances for context and libraries."""
        return self.reserved + allowance(self.gpus)

    def phase(self, name: str) -> tuple[int, int]:
        """Return peak and reserved bytes of training, validation or prediction."""
        stages = [stage for stage in self.stages if stage.phase == name]
        return max(stage.peak for stage in stages), max(stage.reserved for stage in stages)

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values for `--json`."""
        phases: dict[str, dict[str, Any]] = {}
        for stage in self.stages:
            sizes = {"peak_bytes": stage.peak, "reserved_bytes": stage.reserved}
            phases.setdefault(stage.phase, {})[stage.stage] = sizes
        limits = self.limits
        return {
            "run": self.run,
            "model": self.model,
            "precision": self.precision,
            "gpus": self.gpus,
            "strategy": self.strategy if self.gpus > 1 else None,
            "batch_size": self.batch_size,
            "batch_size_per_gpu": self.batch_per_gpu,
            "image_size": list(self.image_size),
            "gradient_accumulation_steps": self.accumulation,
            "optimizer": self.optimizer,
            "parameters": {
                "total": self.parameters,
                "trainable": self.trainable,
                "bytes": self.kinds.get("parameters", 0),
            },
            "peak_bytes": self.peak,
            "reserved_bytes": self.reserved,
            "device_bytes": self.device,
            "allowances": _allowances(self.gpus),
            "bytes_by_kind": self.kinds,
            "bytes_at_peak": self.at_peak,
            "activations_bytes": self.activations,
            "stages": phases,
            "layers": [
                {
                    "name": layer.name,
                    "parameters": layer.parameters,
                    "weights_bytes": layer.weights,
                    "activations_bytes": layer.activations,
                    "peak_bytes": layer.peak,
                }
                for layer in self.layers
            ],
            "vram_bytes": limits.vram if limits else None,
            "max_batch_size": limits.max_batch_size if limits else None,
            "max_batch_size_by_precision": limits.by_precision if limits else None,
            "max_image_size": list(limits.max_image_size) if limits and limits.max_image_size else None,
            "sweep": [
                {
                    row.key: row.value,
                    "peak_bytes": row.peak,
                    "reserved_bytes": row.reserved,
                    "fits": row.fits,
                }
                for row in self.sweep
            ],
            "measured": _measured_as_dict(self, self.measured) if self.measured else None,
            "trace": [str(path) for path in self.traced.files] if self.traced else None,
            "notes": list(self.notes),
        }


def _allowances(gpus: int) -> dict[str, int]:
    return {"context_bytes": CONTEXT, "cudnn_bytes": LIBRARIES, "nccl_bytes": allowance(gpus) - CONTEXT - LIBRARIES}


def _measured_as_dict(forecast: Forecast, measured: Measured) -> dict[str, Any]:
    return {
        "gpu": measured.gpu,
        "peak_bytes": measured.peak,
        "reserved_bytes": measured.reserved,
        "device_bytes": measured.device,
        "peak_error": forecast.peak / measured.peak - 1.0,
        "reserved_error": forecast.reserved / measured.reserved - 1.0,
    }
