"""Time of `segcli --help` and of one TAB against the imports that any Typer program pays for.

Run: python benchmarks/startup.py [--rounds 15]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

ASKING = {
    "_SEGCLI_COMPLETE": "complete_fish",
    "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    "_TYPER_COMPLETE_ARGS": "segcli train configs/exp.yaml model.type=",
}
COMMANDS = {
    "import typer, rich": (["-c", "import typer, rich"], {}),
    "segcli --help": (["-m", "segcli", "--help"], {}),
    "segcli train ... model.type=<TAB>": (["-m", "segcli"], ASKING),
}


def elapsed_s(arguments: list[str], extra: dict[str, str]) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env={**os.environ, **extra}, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print medians and ratios; the commands run in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, command in COMMANDS.items():
            times[name].append(elapsed_s(*command))
    base = statistics.median(times["import typer, rich"][1:])
    for name, values in times.items():
        median = statistics.median(values[1:])
        print(f"{name:36} {median * 1e3:7.1f} ms   ratio {median / base:.2f}")


if __name__ == "__main__":
    main()
