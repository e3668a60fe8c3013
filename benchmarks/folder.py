# python benchmarks/folder.py ../shared/data em_membrane dsb2018_nuclei --seeds 42 43 44
"""Compares `segcli train FOLDER --minutes M` with the hand-made recipe of the same data.

DATA holds the folders of the data sets. Of each, a part that both trainings never see is set aside as a test. First
the clock is read, for which the machine has to be quiet: how many minutes the recipe takes, and how many epochs of the
plan fit into them, both timed by `segcli` itself. Then both are trained, with these numbers of epochs, so that a
machine that is busy by then changes nothing but the waiting. Prints the test score of both for each seed, the ratio
of their means, and the processor time of both.
"""

import argparse
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import yaml

ROOT = Path(__file__).resolve().parents[1]
SEGCLI = [sys.executable, "-m", "segcli"]


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
    "hippocampus_hdf5": Case("hippocampus_sadaan", "dice", lambda path: path.stem.startswith("val")),
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
    """Read the clock for all data sets, then train both, score both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42], help="both are trained with each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        trials = [Trial(name, Path(work) / name, options.data.resolve() / name) for name in options.names or CASES]
        for trial in trials:
            trial.read_clock()
        lines = []
        for trial in trials:
            lines.append(trial.compare(options.seeds))
            print("data set: hand-made, planned (of each seed), ratio of the means, goal, processor s of both, minutes")
            print("\n".join(lines), flush=True)


class Trial:
    """Compares the recipe and the plan of one data set.

    Args:
        name: The data set.
        place: Folder to work in.
        data: Folder of the data.
    """

    def __init__(self, name: str, place: Path, data: Path) -> None:
        self._name, self._case, self._place = name, CASES[name], place
        self._learnt, self._test = place / "data" / name, place / "test" / name
        part(data, self._learnt, self._test, self._case.is_test)
        recipe = ROOT / f"configs/experiments/{self._case.recipe}.yaml"
        keys = yaml.safe_load(recipe.read_text())
        self._epochs = keys["training"]["epochs"]
        stated = [f"dataset={ROOT / keys['dataset']}", f"dataset.paths.root={self._learnt}"]
        self._recipe = [str(recipe), *stated, *self._case.overrides]
        self._minutes = 0.0

    def read_clock(self) -> None:
        """Time the recipe, and let the plan be made for its minutes."""
        half, whole = (epochs_that_fit(self._place, minutes, *self._recipe) for minutes in (30, 60))
        self._minutes = 30.0 + 30.0 * (self._epochs - half) / (whole - half)
        minutes = f"{self._minutes:.3f}"
        subprocess.run(
            [*SEGCLI, "init", str(self._learnt), "planned", "--yes", "--minutes", minutes], cwd=self._place, check=True
        )

    def compare(self, seeds: Sequence[int]) -> str:
        """Train and score both with each seed; return a row of the table."""
        hand, hand_s = self._scores("handmade", self._recipe, seeds)
        plan, plan_s = self._scores("planned", ["configs/experiments/planned.yaml"], seeds)
        scores = ", ".join(f"{mean(each):.4f} ({' '.join(f'{score:.4f}' for score in each)})" for each in (hand, plan))
        ratio = f"{mean(plan) / mean(hand):.3f}, {self._case.goal:.2f}"
        return f"{self._name}: {scores}, {ratio}, {hand_s:.0f} and {plan_s:.0f}, {self._minutes:.1f}"

    def _scores(self, run: str, words: Sequence[str], seeds: Sequence[int]) -> tuple[list[float], float]:
        """Train with each seed; return the scores, and the seconds of all processors a training."""
        scores, used_s = [], 0.0
        for seed in seeds:
            used_s += timed(self._place, "train", *words, f"seed={seed}", f"name={run}_{seed}")
            scores.append(scored(self._place, f"{run}_{seed}", self._test, self._case.metric))
        return scores, used_s / len(seeds)


def epochs_that_fit(place: Path, minutes: int, *words: str) -> int:
    """Return the epochs of a recipe that fit into some minutes here; the training is stopped once it has told them."""
    command = [*SEGCLI, "train", *words, "name=clocked", "--overwrite", "--minutes", str(minutes)]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        told = ""
        for line in process.stdout or []:
            told += line
            if found := re.search(r"(\d+) epochs? fit", told):
                process.send_signal(signal.SIGINT)
                return int(found[1])
    raise SystemExit(told)


def part(data: Path, learnt: Path, test: Path, is_test: Callable[[Path], bool]) -> None:
    """Copy a data set into a part to learn from and a part to score."""
    for file in sorted(data.rglob("*")):
        below = file.relative_to(data)
        if file.is_file() and "2ndHO" not in below.parts and "instances" not in below.parts:
            both = file.suffix in SHARED
            for folder in [learnt, test] if both else [test if is_test(below) else learnt]:
                (folder / below).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / below)


def timed(place: Path, *arguments: str) -> float:
    """Run a command; return its seconds on all processors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*SEGCLI, *arguments], cwd=place, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def scored(place: Path, run: str, test: Path, metric: str) -> float:
    """Score a run on the part that was set aside."""
    out = place / f"scores_{run}"
    command = ["eval", f"outputs/experiments/{run}", "--data", str(test), "--out", str(out), "--quiet"]
    subprocess.run([*SEGCLI, *command], cwd=place, check=True)
    values = yaml.safe_load((out / "test_metrics.yaml").read_text())
    return float(values["average_metrics"][metric])


if __name__ == "__main__":
    main()
