"""Whole trainings beside those of others: segcli, bare PyTorch, segmentation-models-pytorch (SMP) and MONAI.

Run: python benchmarks/peers/run.py --python smp=/path/to/python monai=/path/to/python [--quick] [--rounds 3]
     [--only pictures-small/1 ...] [--json FILE] [--markdown FILE]
     [--device cuda [--rows] [--tiny]]

Each training is a process of its own, and trains whole epochs as a user does: reading, augmentation, validation with a
metric, checkpoints of the last and the best epoch, a log. All trainings of a case have the same network, number of
steps, batches, learning rate, losses in kind, augmentation in kind and held-out images. The trainings of a case take
turns, so that a busy machine hits all alike.

What is compared is the time of an epoch after the first one (processor time, which other work on the machine disturbs
least; with two threads also time by the clock, because idle threads wait busily), and the processor time of the whole
process. A ratio of 1.5 means that segcli takes two thirds of the time. In brackets stands the spread: the smallest and
the largest ratio of single epochs. About 10 minutes in all on two cores, with `--quick` 3.

With `--device cuda`, other cases are trained, of sizes that fit a GPU. An epoch ends when the GPU has computed all that
was asked of it, and its time is that by the clock; the peak is that of the tensors on the GPU, beside that of the
process. Each training is one row of a table, and a peer that is not installed is a row that says so. All use PyTorch's
own settings of cuDNN; segcli uses TF32 in matrix products, too, of which its U-Nets have none. `--tiny` takes the same
cases so small that they only show that they run, also on a CPU.

Environments: `--python` names one for each peer. In a new one: `pip install torch segmentation-models-pytorch
albumentations opencv-python-headless` for smp, `pip install torch monai nibabel pillow` for monai; take the same
version of PyTorch as segcli has. segcli and the bare loop run in the environment of this command, which needs the
extras `smp` and `medical`. A peer that cannot be imported is left out, and the report says so.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import data
from cases import CASES, KINDS, Case
from machine import has_bf16, processor
from on_device import rows as rows_on
from training import FailedError, Trained, joined, train

PACKAGES = {"smp": "segmentation-models-pytorch", "monai": "monai", "here": "segcli"}


def usable(pythons: dict[str, str]) -> dict[str, str]:
    """Ask each environment for its versions; one that lacks its library is left out."""
    found = {}
    for name, python in pythons.items():
        code = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
        words = [python, "-c", code, "torch", PACKAGES[name]]
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            found[name] = " ".join(asked.stdout.split())
    return found


def ratio(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Return the ratio of medians, and the smallest and the largest ratio of single values."""
    return statistics.median(theirs) / statistics.median(ours), min(theirs) / max(ours), max(theirs) / min(ours)


def told(values: tuple[float, float, float]) -> str:
    """Write a ratio with its spread."""
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def table(case: Case, threads: int, found: dict[str, Trained]) -> tuple[str, list[dict[str, Any]]]:
    """Make the Markdown table of a case, and its rows."""
    ours = found["segcli"]
    rows, lines = [], []
    for kind, each in found.items():
        epoch, whole = ratio(each.epochs_cpu_s, ours.epochs_cpu_s), ratio(each.whole_cpu_s, ours.whole_cpu_s)
        wall = ratio(each.epochs_wall_s, ours.epochs_wall_s)
        rows.append({"case": case.name, "threads": threads, "kind": kind, **each.__dict__} | {
            "epoch_cpu_ratio": epoch, "epoch_wall_ratio": wall, "whole_cpu_ratio": whole})  # fmt: skip
        cells = [
            kind, f"{statistics.median(each.epochs_cpu_s):.2f}", told(epoch), f"{wall[0]:.2f}",
            f"{statistics.median(each.whole_cpu_s):.1f}", f"{whole[0]:.2f}", f"{max(each.peak_mib):,.0f}",
            f"{statistics.mean(each.dice):.3f}", f"{statistics.mean(each.best_dice):.3f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    train_images = case.counts["train"] * case.patches
    steps = -(-train_images // case.batch) * case.epochs
    head = (
        f"**{case.title}**, {threads} thread{'s' * (threads > 1)}, {ours.parameters:,} parameters, "
        f"{case.epochs} epochs, {steps} steps of {case.batch}"
    )
    names = (
        "training", "epoch, s of processor", "its time to segcli's", "by the clock", "whole process, s of processor",
        "its time to segcli's", "peak MiB", "Dice", "best Dice",
    )  # fmt: skip
    return "\n".join([head, "", "| " + " | ".join(names) + " |", "|---" * len(names) + "|", *lines, ""]), rows


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Compare the ratios with the goals."""
    bound = 1.5 if has_bf16() else 1.2
    lines = []
    for row in rows:
        place = f"{row['case']}, {row['threads']} threads"
        epoch, whole = row["epoch_cpu_ratio"][0], row["whole_cpu_ratio"][0]
        if row["kind"] in ("SMP", "MONAI"):
            lines.append(
                f"- {place}: {row['kind']} takes {epoch:.2f} x an epoch of segcli: {_met(epoch >= bound)} {bound}"
            )
        if row["kind"] == "bare, same tricks":
            lines.append(
                f"- {place}: segcli takes {1 / epoch:.2f} x an epoch of the bare loop with the same tricks, "
                f"{1 / whole:.2f} x its whole process: {_met(1 / whole <= 1.1)} 1.10"
            )
    for case, threads in dict.fromkeys((row["case"], row["threads"]) for row in rows):
        own = {row["kind"]: row for row in rows if (row["case"], row["threads"]) == (case, threads)}
        for peer in ("SMP", "MONAI"):
            if peer in own:
                plain = own[peer]["epoch_cpu_ratio"][0] / own["segcli fp32"]["epoch_cpu_ratio"][0]
                lines.append(
                    f"- {case}, {threads} threads, both in fp32: {peer} takes {plain:.2f} x an epoch of segcli: "
                    f"{_met(plain >= 1.2)} 1.2"
                )
    return lines


def _met(is_met: bool) -> str:
    return "meets the goal of" if is_met else "MISSES the goal of"


def main() -> None:
    """Train in turns, and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=PYTHON")
    parser.add_argument("--quick", action="store_true", help="the small cases with one thread")
    parser.add_argument("--rounds", type=int, default=1, help="trainings of each kind, with other seeds")
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE[/THREADS]")
    parser.add_argument("--workers", type=int, default=0, help="loader processes of every training")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tiny", action="store_true", help="the cases of a GPU in small: shows only that they run")
    parser.add_argument("--rows", action="store_true", help="print rows of a table without its head")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    pythons = {"here": sys.executable, "smp": sys.executable, "monai": sys.executable}
    pythons |= dict(each.split("=", 1) for each in options.python)
    if options.device != "cpu" or options.tiny:
        print_rows(pythons, options)
        return
    versions = usable(pythons)
    report = [f"{processor()}; PyTorch and library: " + "; ".join(f"{name} {text}" for name, text in versions.items())]
    report += [f"{name} is left out: `{pythons[name]}` does not have it" for name in pythons if name not in versions]
    print("\n".join(report), flush=True)
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        for case, threads in chosen(options.only, quick=options.quick):
            folder = Path(made)
            if not (folder / case.name).exists():
                (data.pictures if case.ndim == 2 else data.volumes)(folder / case.name, case.side, case.counts)
            found: dict[str, Trained] = {}
            for seed in range(options.rounds):
                for kind in case.who:
                    if KINDS[kind][0] not in versions:
                        continue
                    python = pythons[KINDS[kind][0]]
                    try:
                        more = train(case, kind, python, threads, seed, folder, options.workers)
                    except FailedError as error:
                        sys.exit(str(error))
                    joined(found.setdefault(kind, Trained()), more)
            refuse_other_networks(case, found)
            text, own = table(case, threads, found)
            report.append(text)
            print(text, flush=True)
            rows += own
    report += verdicts(rows)
    print("\n".join(verdicts(rows)))
    print(f"{time.monotonic() - began:.0f} s in all", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps({"machine": processor(), "versions": versions, "rows": rows}, indent=1))
    if options.markdown:
        options.markdown.write_text("\n".join(report) + "\n")


def print_rows(pythons: dict[str, str], options: argparse.Namespace) -> None:
    """Print a row for each training on a GPU as soon as it is measured."""
    if not options.rows:
        print("| what | result |\n|---|---|")
    device, workers = options.device, options.workers
    for what, result in rows_on(pythons, options.only, device=device, workers=workers, small=options.tiny):
        print(f"| {what} | {result.replace('|', '/')} |", flush=True)


def chosen(only: list[str], *, quick: bool) -> list[tuple[Case, int]]:
    """List cases with their numbers of threads."""
    every = [(case, threads) for case in CASES for threads in case.threads]
    if quick:
        every = [(case, threads) for case, threads in every if case.quick and threads == 1]
    return [(case, n) for case, n in every if not only or case.name in only or f"{case.name}/{n}" in only]


def refuse_other_networks(case: Case, found: dict[str, Trained]) -> None:
    """End if the trainings of a case had networks of different sizes."""
    sizes = {kind: each.parameters for kind, each in found.items()}
    if len(set(sizes.values())) > 1:
        sys.exit(f"{case.name}: networks differ: {sizes}")


if __name__ == "__main__":
    main()
