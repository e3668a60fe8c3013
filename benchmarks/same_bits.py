"""Proof that a change of the code kept every bit: tiny trainings of each kind of work, before and after.

python benchmarks/same_bits.py record FOLDER --code CHECKOUT_BEFORE
python benchmarks/same_bits.py compare FOLDER

`record` trains each work of `_same_bits_works.py` with the code before, then resumes, evaluates, predicts and exports,
and keeps all files and their digests. `compare` uses the recorded checkpoints and exported files in the same way with
the code after, repeats the trainings from the start, and prints what differs; the exit code is 1 then. Tensors, arrays
and pictures are compared by their values, YAML and JSON key by key; times and versions are left out. With `--recipes`
the first epoch of each shipped recipe whose data lie in DATA takes the place of the tiny works.

Bits depend on the processor, on the libraries and on the number of threads: record and compare on one machine. FOLDER
stays where it is, for checkpoints remember the path of their data.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import _same_bits_works as works
import numpy as np
import yaml
from _same_bits_files import Leaf, digest, found

LIBRARIES = ("torch", "numpy", "opencv-python-headless", "albumentations", "onnxruntime", "scipy")
LINES = 40
"""Files with differences that are printed at most."""
ROOT = Path(__file__).resolve().parents[1]


def recipes(code: Path, data: Path) -> dict[str, works.Work]:
    """Train each shipped experiment for an epoch, where its data are at hand or can be generated."""
    chosen = {}
    for path in sorted((code / "configs/experiments").glob("*.yaml")):
        dataset = yaml.safe_load(path.read_text())["dataset"]
        values = yaml.safe_load((code / dataset).read_text())
        root, sample = values["paths"]["root"], values.get("sample")
        place = root if sample else data / Path(root).name
        if not sample and not place.is_dir():
            print(f"{path.stem}: left out, no data in `{place}`")
            continue
        words = f"name=run training.epochs=1 device=cpu dataset={{code}}/{dataset} dataset.paths.root={place}"
        train = f"train {{code}}/configs/experiments/{path.name} {words} {works.LONG.get(path.stem, '')} --json"
        chosen[path.stem] = works.Work(train=(*([f"data sample {sample} {root} --json"] if sample else []), train))
    return chosen


def filled(value: Any, places: dict[str, str]) -> Any:
    """Put the folders in the place of their names in braces."""
    if isinstance(value, dict):
        return {key: filled(item, places) for key, item in value.items()}
    return value.format(**places) if isinstance(value, str) else value


def work(folder: Path, side: str, name: str, code: Path) -> None:
    """Train, and use what was trained with the code before; in a process of its own."""
    here, trained = folder / side / name, folder / "before" / name / "train"
    job = json.loads((folder / side / f"{name}.job.json").read_text())
    samples = folder / "before/samples/train"
    places = {"data": str(samples), "extras": str(folder / "extras"), "trained": str(trained), "code": str(code)}
    asked = any("--model-file" in path.read_text() for path in (code / "segcli/cli").glob("*.py"))
    places["own"] = f"--model-file {folder / 'extras/own.py'}" if asked else ""  # not asked for before it was an option
    shutil.rmtree(here, ignore_errors=True)
    codes: dict[str, int] = {}
    for phase in ("train", "use"):
        place = here / phase
        place.mkdir(parents=True)
        os.chdir(place)
        os.environ["SAME_BITS_STOP_AFTER"] = str(job["stop_after"] or 0) if phase == "train" else "0"
        if phase == "train":
            Path("config.yaml").write_text(yaml.safe_dump(filled(job["config"], places), sort_keys=False))
        elif job["use"] and (trained / "outputs").is_dir():
            for copy in ("outputs", "later"):
                shutil.copytree(trained / "outputs", copy)
        for number, command in enumerate(job[phase]):
            arguments = shlex.split(command.format(**places))
            verb = "_".join(word for word in arguments[:2] if word.replace("-", "").isalpha())
            codes[f"{phase}/{number:02d} {command}"] = segcli(arguments, place / f"{number:02d}_{verb}.json")
    if name == "samples" and side == "before":
        shutil.rmtree(folder / "extras", ignore_errors=True)
        works.write_extras(samples, folder / "extras")
    items = {f"exit code: {command}": str(code) for command, code in codes.items()}
    for path_name, path, reader in found(here):
        items |= {f"{path_name}: {key}": digest(leaf, folder) for key, leaf in reader(path)}
    (folder / side / f"{name}.json").write_text(json.dumps(items, indent=0))


def segcli(arguments: list[str], output: Path) -> int:
    """Exit code of a command whose results go to a file, in this process, which spares the imports."""
    from segcli.__main__ import main

    sys.argv = ["segcli", *arguments]
    with output.open("w") as results, Path("log.txt").open("a") as log:
        log.write(f"$ {shlex.join(sys.argv)}\n")
        try:
            with contextlib.redirect_stdout(results), contextlib.redirect_stderr(log):
                main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
        except Exception:
            traceback.print_exc(file=log)
            return 1
    return 0


def carried_out(options: argparse.Namespace, side: str) -> dict[str, dict[str, str]]:
    """Digests of each chosen work, done one after the other with one thread each."""
    chosen = recipes(options.code, options.data.resolve()) if options.recipes else works.WORKS
    environment = os.environ | {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "PYTHONPATH": str(options.code),
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    digests = {}
    for name, job in chosen.items():
        if options.only and name not in options.only:
            continue
        started = time.perf_counter()
        (options.folder / side).mkdir(parents=True, exist_ok=True)
        (options.folder / side / f"{name}.job.json").write_text(json.dumps(dataclasses.asdict(job)))
        call = [sys.executable, __file__, "work", str(options.folder), "--side", side, "--only", name]
        call += ["--code", str(options.code)]
        subprocess.run(call, env=environment, check=True)
        digests[name] = json.loads((options.folder / side / f"{name}.json").read_text())
        print(f"{name}: {len(digests[name])} values, {time.perf_counter() - started:.0f} s", flush=True)
        for item, code in digests[name].items():
            if item.startswith("exit code") and int(code) not in job.codes:
                print(f"  {item} {code}, see {options.folder / side / name}/*/log.txt")
    return digests


def machine() -> dict[str, str]:
    """Tell what bits depend on beside the code."""
    known = {library: importlib.metadata.version(library) for library in LIBRARIES}
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {"python": platform.python_version(), "cpu": cpu.partition(": ")[2] or platform.processor(), **known}


def record(options: argparse.Namespace) -> int:
    """Write `record.json`, keeping the works in it that are not done anew."""
    path = options.folder / "record.json"
    kept = json.loads(path.read_text())["works"] if path.exists() else {}
    digests = carried_out(options, "before")
    path.write_text(json.dumps({"machine": machine(), "works": kept | digests}, indent=0))
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print a row for each work, and a line for each file that differs; the exit code is 1 where there is one."""
    recorded = json.loads((options.folder / "record.json").read_text())
    for key, value in machine().items():
        if recorded["machine"].get(key) != value:
            print(f"warning: recorded with {key} {recorded['machine'].get(key)}, here it is {value}")
    digests, different = carried_out(options, "after"), 0
    print("| work | equal | different | missing | new |\n|---|---|---|---|---|")
    lines = []
    for name, after in digests.items():
        before = recorded["works"].get(name, {})
        changed = [item for item in before if item in after and before[item] != after[item]]
        missing, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
        equal = len(before) - len(changed) - len(missing)
        print(f"| {name} | {equal} | {len(changed)} | {len(missing)} | {len(new)} |")
        different += len(changed) + len(missing) + (not before)
        by_file: dict[str, list[str]] = {}
        for item in (*changed, *missing, *new):
            by_file.setdefault(item.partition(": ")[0], []).append(item)
        for items in by_file.values():
            first = told(options.folder, name, items[0], before, after)
            lines.append(f"{name}/{items[0]}: {first}" + (f"; {len(items) - 1} more of it" if len(items) > 1 else ""))
    print("\n".join(["", *lines[:LINES], *([f"... and {len(lines) - LINES} more"] if len(lines) > LINES else [])]))
    print("not the same bits" if different else "the same bits")
    return 1 if different else 0


def told(folder: Path, name: str, item: str, before: dict[str, str], after: dict[str, str]) -> str:
    """Say how far two arrays are apart, both texts, or on which side a value is."""
    if item not in before or item not in after:
        return "missing" if item in before else "new"
    if item.startswith("exit code"):
        return f"{before[item]} before, {after[item]} after"
    file, _, key = item.partition(": ")
    sides: list[Leaf] = []
    for side in ("before", "after"):
        files = [(path, reader) for known, path, reader in found(folder / side / name) if known == file]
        sides += [leaf for path, reader in files for known, leaf in reader(path) if known == key][:1]
    first, second = sides
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and first.shape == second.shape:
        apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
        return f"{np.count_nonzero(apart)} of {apart.size} numbers differ, by up to {apart.max(initial=0):.3g}"
    texts = [leaf if isinstance(leaf, str) else f"shape {leaf.shape}" for leaf in sides]
    return f"{texts[0][:80]} before, {texts[1][:80]} after"


def main() -> int:
    """Record, or compare with what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("record", "compare", "work"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout whose segcli is run; this one when left out")
    parser.add_argument("--recipes", action="store_true", help="shipped recipes instead of tiny works")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with the data sets of recipes")
    parser.add_argument("--only", nargs="*", help="names of works or recipes")
    parser.add_argument("--side", choices=("before", "after"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder, options.code = options.folder.resolve(), options.code.resolve()
    if options.verb == "work":
        work(options.folder, options.side, options.only[0], options.code)
        return 0
    return (record if options.verb == "record" else compare)(options)


if __name__ == "__main__":
    sys.exit(main())
