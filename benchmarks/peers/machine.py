"""Describe the processor of the machine that measures."""

import os
from pathlib import Path

__all__ = ["has_bf16", "processor"]


def has_bf16() -> bool:
    """Tell whether the processor computes in bf16 (Linux only; elsewhere no)."""
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def processor() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{name}, {os.cpu_count()} cores, {'with' if has_bf16() else 'without'} bf16"
