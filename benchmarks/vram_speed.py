"""Time and process memory of the forecast itself, beyond the import of PyTorch.

Run: python benchmarks/vram_speed.py [CONFIG ...]
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

CONFIGS = ["exp001_basic_unet", "exp002_roinet", "exp003_utrans", "exp004_transroinet", "exp005_sa_unet"]


def measure(config: Path) -> None:
    """One forecast in this process."""
    import torch  # noqa: F401

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter(), time.process_time()
    from segcli.config.load import load_run
    from segcli.vram.forecast import Forecaster

    forecast = Forecaster(load_run(config)).forecast()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    elapsed_s, used_s = time.perf_counter() - started[0], time.process_time() - started[1]
    print(
        f"{config.stem:24} {elapsed_s:5.1f} s ({used_s:.1f} s of processor), process {peak:,.0f} MiB "
        f"({imported:,.0f} with PyTorch alone); forecast {forecast.peak / 2**20:,.0f} MiB, "
        f"{forecast.parameters:,} parameters"
    )


def main() -> None:
    """Each config in a process of its own."""
    if sys.argv[1:2] == ["--here"]:
        measure(Path(sys.argv[2]))
        return
    shipped = Path(__file__).parents[1] / "configs" / "experiments"
    configs = sys.argv[1:] or [str(shipped / f"{name}.yaml") for name in CONFIGS]
    for config in configs:
        subprocess.run([sys.executable, __file__, "--here", config], check=True)


if __name__ == "__main__":
    main()
