"""Abilities of the processor."""

import platform
from pathlib import Path

from segcli.core.platform import CPUINFO, usable_processors

__all__ = ["has_fast_bf16", "processor_flags", "processor_kind", "usable_processors"]

FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of processors that multiply numbers in bf16: of x86 the first two, of ARM the last."""


def processor_flags(cpuinfo: Path = CPUINFO) -> frozenset[str] | None:
    """Read the flags of the first processor; None if the system does not list them.

    Example:
        >>> processor_flags(Path("no such file")) is None
        True
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    listed = (line.partition(":") for line in lines)
    return next((frozenset(flags.split()) for key, _, flags in listed if key.strip() in ("flags", "Features")), None)


def processor_kind(cpuinfo: Path = CPUINFO) -> str:
    """Name the architecture of the processor and, where Linux lists it, its maker."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    listed = (line.partition(":") for line in lines)
    makers = (value.strip() for key, _, value in listed if key.strip() in ("vendor_id", "CPU implementer"))
    return " ".join([platform.machine(), *list(makers)[:1]])


def has_fast_bf16() -> bool | None:
    """Tell whether the processor computes in bf16 itself, instead of emulating it; None if unknown."""
    flags = processor_flags()
    return None if flags is None else bool(flags & FAST_BF16)
