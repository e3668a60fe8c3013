"""A forecast of GPU memory, as commands hand it to tables. Sizes are bytes."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "CONTEXT",
    "LIBRARIES",
    "Forecast",
    "LayerUse",
    "Limits",
    "Measured",
    "StageUse",
    "SweepRow",
    "Timeline",
    "Traced",
    "parse_size",
]

CONTEXT = 512 * 2**20
"""Allowance for CUDA's context and the code of its kernels, which no allocator counts."""
LIBRARIES = 64 * 2**20
"""Allowance for the workspaces of cuDNN, which depend on the algorithm that it chooses on the GPU at hand."""
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(text: str) -> int:
    """Bytes of a size with its unit.

    Raises:
        ValueError: It is none.

    Example:
        >>> parse_size("24GiB"), parse_size("512 MB")
        (25769803776, 512000000)
    """
    for unit, factor in UNITS.items():
        number = text.strip().removesuffix(unit)
        if number != text.strip():
            size = int(float(number) * factor)
            if size > 0:
                return size
    raise ValueError(text)


@dataclass(frozen=True)
class StageUse:
    """A stage of training, validation or prediction."""

    phase: str
    stage: str
    peak: int
    """Most that tensors take in it, rounded as the allocator does."""
    reserved: int
    """Most that the allocator holds by then."""


@dataclass(frozen=True)
class LayerUse:
    """One layer in a training step."""

    name: str
    parameters: int
    """Number of values."""
    weights: int
    """Bytes of its parameters and buffers."""
    activations: int
    """Bytes that it keeps for the backward pass."""
    peak: int
    """Most that the whole process has allocated while it runs, forward or backward."""


@dataclass(frozen=True)
class Limits:
    """What fits a GPU."""

    vram: int
    max_batch_size: int
    """Largest batch with the run's own precision; 0 where not even one image fits."""
    by_precision: dict[str, int]
    max_image_size: tuple[int, ...] | None
    """Largest image, or patch, at the run's batch size; None where none fits."""


@dataclass(frozen=True)
class SweepRow:
    """One value of a sweep."""

    key: str
    value: str
    peak: int
    reserved: int
    fits: bool | None
    """None without a limit."""


@dataclass(frozen=True)
class Measured:
    """The same step on a GPU."""

    peak: int
    """`torch.cuda.max_memory_allocated`."""
    reserved: int
    """`torch.cuda.max_memory_reserved`."""
    device: int
    """What became less free on the GPU."""
    gpu: str


@dataclass(frozen=True)
class Traced:
    """A trace of the same step."""

    device: str
    files: list[Path]
    elapsed_s: float
    peak: int
    """Most that was allocated on the GPU; on the CPU what the process held at the end."""


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
        """For a page."""
        return asdict(self)


@dataclass(frozen=True)
class Forecast:
    """What a run will take."""

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
    """Most bytes of each kind that live at one time during training, before rounding."""
    at_peak: dict[str, int]
    """Bytes of each kind at the peak of training; with `rounding` they add up to `peak`."""
    activations: int
    """Bytes kept for the backward pass when it begins."""
    peak: int
    """Most that tensors take during training and validation: `torch.cuda.max_memory_allocated`."""
    reserved: int
    """Most that the allocator holds: `torch.cuda.max_memory_reserved`."""
    stages: list[StageUse]
    layers: list[LayerUse]
    """In the order in which they stand in the network."""
    limits: Limits | None = None
    sweep: list[SweepRow] = field(default_factory=list)
    measured: Measured | None = None
    traced: Traced | None = None
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> int:
        """Bytes on the GPU as `nvidia-smi` shows them: reserved, with the allowances for context and libraries."""
        return self.reserved + CONTEXT + LIBRARIES

    def phase(self, name: str) -> tuple[int, int]:
        """Peak and reserved bytes of training, validation or prediction."""
        stages = [stage for stage in self.stages if stage.phase == name]
        return max(stage.peak for stage in stages), max(stage.reserved for stage in stages)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        phases: dict[str, dict[str, Any]] = {}
        for stage in self.stages:
            sizes = {"peak_bytes": stage.peak, "reserved_bytes": stage.reserved}
            phases.setdefault(stage.phase, {})[stage.stage] = sizes
        limits = self.limits
        return {
            "run": self.run,
            "model": self.model,
            "precision": self.precision,
            "batch_size": self.batch_size,
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
            "allowances": {"context_bytes": CONTEXT, "cudnn_bytes": LIBRARIES},
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


def _measured_as_dict(forecast: Forecast, measured: Measured) -> dict[str, Any]:
    return {
        "gpu": measured.gpu,
        "peak_bytes": measured.peak,
        "reserved_bytes": measured.reserved,
        "device_bytes": measured.device,
        "peak_error": forecast.peak / measured.peak - 1.0,
        "reserved_error": forecast.reserved / measured.reserved - 1.0,
    }
