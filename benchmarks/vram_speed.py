"""Time and process memory of the forecast itself, beyond the import of PyTorch.

Run: python benchmarks/vram_speed.py [--vram 24GiB] [CONFIG ...]

With `--vram`, the forecast looks for the largest batches and the largest image, too, as `profile-memory --vram` does.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

CONFIGS = ["exp001_basic_unet", "exp002_roinet", "exp003_utrans", "exp004_transroinet", "exp005_sa_unet"]


def measure(config: Path, vram: str | None) -> None:
    """One forecast in this process."""
    import torch  # noqa: F401

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter(), time.process_time()
    from segcli.config.load import load_run
    from segcli.vram.forecast import Forecaster
    from segcli.vram.results import parse_size

    played: list[float] = []
    forecaster = Forecaster(load_run(config), when_played=lambda: played.append(time.process_time()))
    forecast = forecaster.forecast()
    limits = forecaster.limits(parse_size(vram)) if vram else None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    elapsed_s, used_s = time.perf_counter() - started[0], time.process_time() - started[1]
    most = f", largest {limits.by_precision} and {limits.max_image_size}" if limits else ""
    print(
        f"{config.stem:24} {elapsed_s:5.1f} s ({used_s:.1f} s of processor, {len(played)} simulations), "
        f"process {peak:,.0f} MiB ({imported:,.0f} with PyTorch alone); forecast {forecast.peak / 2**20:,.0f} MiB, "
        f"{forecast.parameters:,} parameters{most}"
    )


def main() -> None:
    """Each config in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", type=Path)
    parser.add_argument("--vram", help="memory of a GPU")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure(options.configs[0], options.vram)
        return
    shipped = Path(__file__).parents[1] / "configs" / "experiments"
    for config in options.configs or [shipped / f"{name}.yaml" for name in CONFIGS]:
        more = ["--vram", options.vram] if options.vram else []
        subprocess.run([sys.executable, __file__, "--here", str(config), *more], check=True)


if __name__ == "__main__":
    main()
