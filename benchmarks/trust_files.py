"""Damaged configs, data files, checkpoints, weights and exports: how many end in anything but an answer or a sentence.

    python benchmarks/trust_files.py [--configs 2000] [--overrides 2000] [--files 2000] [--checkpoints 600] [--seed 1]

Needs no data: it makes small files, trains a run for one epoch, and changes bytes at random. A fault is
whatever is raised and is no error in words, more than 10 s of the processor, more than 2 GiB beyond the memory of the
program, and a checkpoint or a network that is read with another content. Each batch is read in its own process.
"""

import argparse
import json
import os
import pickle
import random
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import yaml
from _trust_damage import damaged, damaged_text, damaged_words, nasty
from _trust_samples import refused, samples

from segcli.cli.main import run
from segcli.config.load import load_run
from segcli.core.errors import SegcliError
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.export.portable import open_portable
from segcli.nn.state_dict import read_state_dict, read_tensors

LONGEST_S, MOST_BYTES, BATCH = 10.0, 2**31, 25
DEFAULTS = {
    "configs": 2000, "overrides": 2000, "files": 2000, "checkpoints": 600, "weights": 600, "exports": 150, "seed": 1,
}  # fmt: skip
Case = tuple[str, Callable[[], bytes], Callable[[Path], object]]
"""Name of the file, its damaged content, and the call that reads it."""


def judged(case: Case, folder: Path) -> tuple[str, str, float]:
    """Read one damaged file; return the verdict, the place of a fault, and the seconds."""
    name, make, read = case
    path = folder / name
    path.write_bytes(make())
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    refused.clear()
    try:
        read(path)
        verdict, place = "refused" if refused else "read", ""
    except SegcliError:
        verdict, place = "refused", ""
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/segcli/" in frame.filename]
        verdict, place = (
            "FAULT",
            f"{type(error).__name__} in {Path(frames[-1].filename).name if frames else '?'}: {str(error)[:80]}",
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return verdict, place, time.process_time() - begun


def batch(cases: list[Case], folder: Path) -> tuple[list[tuple[str, str, float]], float]:
    """Judge cases in a process with bounds; return the verdicts and its peak of memory in MiB."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(
                resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, resource.RLIM_INFINITY)
            )
            # a library that hears no signal is ended with its batch
            resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST_S) * 3, resource.RLIM_INFINITY))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with os.fdopen(write, "wb") as stream:
                pickle.dump([judged(case, folder) for case in cases], stream)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        content = stream.read()
    _, status, usage = os.wait4(child, 0)
    if status or not content:
        return [("FAULT", f"the process died ({status})", 0.0)], usage.ru_maxrss / 1024
    return pickle.loads(content), usage.ru_maxrss / 1024


def tried(what: str, count: int, make: Callable[[], Case], folder: Path) -> int:
    """Try cases, print their row and the kinds of their faults; return the number of faults."""
    verdicts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    longest = most = 0.0
    for start in range(0, count, BATCH):
        found, peak = batch([make() for _ in range(min(BATCH, count - start))], folder)
        most = max(most, peak)
        for verdict, place, seconds in found:
            verdicts[verdict] += 1
            longest = max(longest, seconds)
            faults.update([place] if place else [])
    numbers = [count, *(verdicts[word] for word in ("refused", "read", "FAULT"))]
    cells = [what, *(f"{number:,}" for number in numbers), f"{longest:.1f}", f"{most:,.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    for place, number in faults.most_common():
        print(f"    {number} times: {place}", flush=True)
    return verdicts["FAULT"]


class Other(Exception):  # noqa: N818 - a fault of the program under test
    """A file was read with another content."""


CONFIG = {
    "name": "base",
    "dataset": "vessels/dataset.yaml",
    "data": {"batch_size": 2, "num_workers": 0, "patch_size": [32, 32], "limit_batches": 1},
    "model": {"type": "unet", "depths": [2, 4]},
    "training": {"epochs": 1, "loss": {"bce": 1.0, "dice": {"weight": 2.0}}, "metrics": ["dice"]},
    "logging": {"tensorboard": False, "visualization_interval": None},
    "inference": {"tile": [64, 64], "overlap": 0.25},
    "seed": 1,
    "device": "cpu",
}
RUN, EXPORT = "outputs/experiments/base/checkpoints/last.safetensors", "outputs/exports/base/base.onnx"


class Tries:
    """Makes damaged cases of everything that is read, from a run of one epoch and small files of every kind."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self.rng = rng
        Path("base.yaml").write_text(yaml.safe_dump(CONFIG))
        for words in (
            ["data", "sample", "vessels", "vessels", "--size", "64"],
            ["train", "base.yaml"],
            ["export", "base"],
        ):
            if run(words):
                raise SystemExit("the run could not be made")
        self.text, self.network = Path("base.yaml").read_text(), Path(EXPORT).read_bytes()
        self.right, self.files = read_checkpoint(Path(RUN)), samples(folder / "whole")
        self.weights, self.expected = {"m.safetensors": Path(RUN).read_bytes()}, {}
        for name, content in (
            ("m.pth", self.right.tensors), ("w.pth", {"state_dict": self.right.tensors, "epoch": 3}),
        ):  # fmt: skip
            torch.save(content, name)
            self.weights[name] = Path(name).read_bytes()
        for name, written in self.weights.items():
            Path(name).write_bytes(written)
            self.expected[name] = read_state_dict(Path(name))

    def config(self) -> Case:
        """Damage a config."""
        content = damaged_text(self.rng, self.text)
        return "m.yaml", lambda: content, lambda path: load_run(path, [])

    def override(self) -> Case:
        """Give a whole config overrides that cannot be."""
        words = damaged_words(self.rng, self.text)
        return "m.yaml", self.text.encode, lambda path: load_run(path, words)

    def file(self) -> Case:
        """Damage a data file."""
        name = self.rng.choice(list(self.files))
        content, read, is_text = self.files[name]
        changed = (nasty if is_text and self.rng.random() < 0.7 else damaged)(self.rng, content)
        return name, lambda: changed, read

    def checkpoint(self) -> Case:
        """Damage a checkpoint, which is read whole or for its tensors alone."""
        content = damaged(self.rng, self.weights["m.safetensors"])
        whole, right = self.rng.random() < 0.5, self.right

        def same(path: Path) -> None:
            found = read_checkpoint(path) if whole else None
            refuse_others(read_tensors(path, hint="") if found is None else found.tensors, right.tensors)
            if found is not None and json.dumps(found.header) != json.dumps(right.header):
                raise Other("another header")

        return "m.safetensors", lambda: content, same

    def pretrained(self) -> Case:
        """Damage a file of pretrained weights, of PyTorch or of segcli."""
        name = self.rng.choice(list(self.weights))
        content = damaged(self.rng, self.weights[name])
        return name, lambda: content, lambda path: refuse_others(read_state_dict(path), self.expected[name])

    def export(self) -> Case:
        """Damage an exported network."""
        content = damaged(self.rng, self.network)

        def same(path: Path) -> None:
            open_portable(path)
            if content != self.network:
                raise Other("another content")

        return "m.onnx", lambda: content, same


def refuse_others(tensors: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    """Raise an error if a damaged file was read with other tensors."""
    if tensors.keys() != whole.keys() or not all(torch.equal(tensors[key], whole[key]) for key in whole):
        raise Other("other tensors")


def main() -> None:
    """Make the files, try them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    counts, rng = parser.parse_args(), random.Random()
    rng.seed(counts.seed)
    signal.signal(signal.SIGPROF, lambda *_: (_ for _ in ()).throw(TimeoutError(f"more than {LONGEST_S:g} s")))
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        tries = Tries(rng, folder)
        print(
            "| what | tried | refused in words | read | faults | longest s | most MiB |\n|---|---|---|---|---|---|---|"
        )
        faults = 0
        for what, count, make in (
            ("configs", counts.configs, tries.config),
            ("overrides", counts.overrides, tries.override),
            (f"data files of {len(tries.files)} kinds", counts.files, tries.file),
            ("checkpoints", counts.checkpoints, tries.checkpoint),
            ("pretrained weights", counts.weights, tries.pretrained),
            ("exported files", counts.exports, tries.export),
        ):
            faults += tried(what, count, make, folder)
        os.chdir("/")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
