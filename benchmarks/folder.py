# python benchmarks/folder.py ../shared/data em_membrane dsb2018_nuclei --minutes 5
"""Compares `segcli train FOLDER --minutes M` with the hand-made recipe of the same data.

DATA holds the folders of the data sets. Of each, a part that both trainings never see is set aside as a test. The
recipe is trained first, and the plan gets the minutes that it took; with `--minutes` both get these minutes. Prints the
test score of both, their ratio, and the processor time of both.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    """Describes one data set, its recipe, and the part that is set aside."""

    recipe: str
    metric: str
    is_test: Callable[[Path], bool]
    """Tells whether a file, by its path below the data set, is set aside."""
    overrides: list[str] = field(default_factory=list)
    """Split of the recipe without the test."""
    goal: float = 0.98


def _numbered(path: Path, every: int) -> bool:
    """Set aside every few of the numbered names, the same for images and masks."""
    return sum(path.stem.encode()) % every == 0


CASES = {
    "chase_db1": Case(
        "chase_unet_small",
        "dice",
        lambda path: "_09" in path.stem or "_10" in path.stem,
        [r"dataset.split={by: lists, val: [Image_08L, Image_08R], group: 'Image_(\d+)'}"],
    ),
    "dsb2018_nuclei": Case(
        "dsb2018_nuclei", "dice", lambda path: _numbered(path, 3), ["dataset.split={by: fraction, val: 0.1}"]
    ),
    "em_membrane": Case("em_membrane", "dice", lambda path: path.parts[0] == "test"),
    "hippocampus_hdf5": Case(
        "hippocampus_sadaan", "dice", lambda path: path.stem.startswith("val"), ["dataset.split={val: 0.1}"]
    ),
    "nuclei_tiff": Case("nuclei_vgg3d", "accuracy", lambda path: len(path.parts) > 1 and int(path.parts[0]) % 4 == 0),
    "camvid_sequences": Case(
        "camvid_unet_small",
        "mean_iou",
        lambda path: "Video_0006R0" in path.parts,
        ["dataset.split={train: [Video_0001TP, Video_0016E5]}"],
        goal=0.95,
    ),
}
SHARED = (".md", ".txt", ".csv", ".json")
"""Endings of files that both parts get."""


def main() -> None:
    """Train both, score both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--minutes", type=float, help="minutes of both; default: what the recipe takes")
    options = parser.parse_args()
    lines = []
    for name in options.names or CASES:
        with tempfile.TemporaryDirectory() as place:
            lines.append(compared(Path(place), options.data.resolve() / name, CASES[name], options.minutes))
        print("data set          hand-made  planned  ratio  goal   processor s, hand-made and planned   minutes")
        print("\n".join(lines), flush=True)


def compared(place: Path, data: Path, case: Case, minutes: float | None) -> str:
    """Train and score both on one data set; return a row of the table."""
    learnt, test = place / "data" / data.name, place / "test" / data.name
    part(data, learnt, test, case.is_test)
    recipe = ROOT / f"configs/experiments/{case.recipe}.yaml"
    stated = ROOT / yaml.safe_load(recipe.read_text())["dataset"]
    words = [f"dataset={stated}", f"dataset.paths.root={learnt}", "name=handmade", *case.overrides]
    limit = [] if minutes is None else ["--minutes", f"{minutes:g}"]
    hand_s, elapsed_s = timed(place, "train", str(recipe), *words, *limit)
    hand = scored(place, "handmade", test, case.metric)
    given = elapsed_s / 60.0 if minutes is None else minutes
    plan_s, _ = timed(place, "train", str(learnt), "name=planned", "--minutes", f"{given:.2f}", "--yes")
    plan = scored(place, "planned", test, case.metric)
    ratio = f"{plan / hand:5.3f}  {case.goal:4.2f}"
    return f"{data.name:17} {hand:9.4f} {plan:8.4f}  {ratio}   {hand_s:10.0f} {plan_s:10.0f} {given:24.1f}"


def part(data: Path, learnt: Path, test: Path, is_test: Callable[[Path], bool]) -> None:
    """Copy a data set into a part to learn from and a part to score."""
    for file in sorted(data.rglob("*")):
        below = file.relative_to(data)
        if file.is_file() and "2ndHO" not in below.parts and "instances" not in below.parts:
            both = file.suffix in SHARED
            for folder in [learnt, test] if both else [test if is_test(below) else learnt]:
                (folder / below).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / below)


def timed(place: Path, *arguments: str) -> tuple[float, float]:
    """Run a command; return its seconds on all processors, and by the clock."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "segcli", *arguments], cwd=place, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - began


def scored(place: Path, run: str, test: Path, metric: str) -> float:
    """Score a run on the part that was set aside."""
    out = place / f"scores_{run}"
    command = ["eval", f"outputs/experiments/{run}", "--data", str(test), "--out", str(out), "--quiet"]
    subprocess.run([sys.executable, "-m", "segcli", *command], cwd=place, check=True)
    values = yaml.safe_load((out / "test_metrics.yaml").read_text())
    return float(values["average_metrics"][metric])


if __name__ == "__main__":
    main()
