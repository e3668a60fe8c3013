"""Evaluation, prediction and folds on two processes: the files and words of one, and one sentence on an error."""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import psutil
import pytest
import tifffile
from conftest import made_once, make_exports, make_tiny_run
from factories import (
    blobs,
    nuclei_experiment,
    volumes_experiment,
    write_experiment,
    write_folders,
    write_hdf5,
    write_nuclei,
)
from processes import together

from segcli import files
from segcli.cli.main import run
from segcli.commands.answers import Cost, PredictOptions
from segcli.commands.answers.sharing import plan_of
from segcli.commands.crossval import cross_validate
from segcli.commands.evaluate import evaluate_run
from segcli.commands.locate import locate_run
from segcli.commands.predict import predict
from segcli.config.load import load_run
from segcli.engine.events import Relay, Silent
from segcli.engine.inference import scores
from segcli.engine.inference.checkpoint_predictor import trained
from segcli.engine.inference.exported_predictor import exported
from segcli.engine.inference.predictor import Overrides
from segcli.engine.world import World

pytestmark = pytest.mark.posix


class Heard(Silent):
    """What a command tells, and how far its bar has come."""

    def __init__(self):
        self.words, self.done = [], {}

    def notice(self, text):
        self.words.append(re.sub(r"[\d,]+ MiB free", "memory free", text))

    def warn(self, text):
        self.words.append(text)

    def stage(self, text, total=None):
        self.name = text
        self.done[text] = (0, total)

    def advance(self, count=1):
        done, total = self.done[self.name]
        self.done[self.name] = (done + count, total)

    def epoch(self, event):
        self.words.append(f"{event.name} epoch {event.epoch}")


def told(heard, done):
    return {"words": heard.words, "done": heard.done, "result": None if done is None else done.as_dict()}


def evaluated(name, world, **options):
    heard = Heard()
    return told(heard, evaluate_run(locate_run(name), split=None, listener=heard, world=world, **options))


def predicted(inputs, networks, world, overrides=None, **options):
    heard, overrides = Heard(), overrides or Overrides()
    found = [
        exported(Path(path), overrides) if path.endswith(".onnx") else trained(Path(path), overrides)
        for path in networks
    ]
    return told(heard, predict(inputs, found, overrides, PredictOptions(**options), listener=heard, world=world))


@contextmanager
def large(size):
    """Read images in parts if they have this number of pixels."""
    before, files.LARGE = files.LARGE, size
    try:
        yield
    finally:
        files.LARGE = before


def in_parts(name, world):
    """One file, so that both processes compute tiles of it."""
    with large(10000):
        return predicted(
            [f"slides/{name}.tif"],
            [BEST, LAST],
            world,
            Overrides(tile=64),
            out=Path("slides_out"),
            uncertainty=True,
            overlays=True,
        )


BEST, LAST = (f"outputs/experiments/tiny/checkpoints/{name}.safetensors" for name in ("best", "last"))
WORKS = {
    "masks": lambda world: evaluated("tiny", world, data=Path("other"), threshold="best-on-val", tta=True),
    "volumes": lambda world: evaluated("v", world),
    "crops": lambda world: evaluated("n", world),
    "photos": lambda world: predicted(
        ["photos"], [BEST], world, out=Path("photos_out"), overlays=True, probabilities=True, video=Path("photos.avi")
    ),
    "tiles": lambda world: predicted(
        ["wide"], ["tiny.onnx"], world, Overrides(tile=64), out=Path("wide_out"), probabilities=True
    ),
    "parts": lambda world: in_parts("a", world),
    "damaged": lambda world: in_parts("damaged", world),
    "hdf5": lambda world: predicted(
        ["vol/test.h5"],
        ["outputs/experiments/v/checkpoints/best.safetensors"],
        world,
        out=Path("hdf5_out"),
        uncertainty=True,
    ),
    "samples": lambda world: predicted(
        ["nuc"], ["outputs/experiments/n/checkpoints/best.safetensors"], world, out=Path("samples_out")
    ),
}


def prepare(folder, exports):
    """Three trained runs, and images of all kinds, some of them damaged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_tiny_run(folder)
        write_experiment(
            Path("v.yaml"),
            volumes_experiment(
                write_hdf5(Path("vol"), {"train": 3, "val": 2, "test": 3}),
                name="v",
                training__epochs=1,
                inference__tile=[8, 8, 8],
            ),
        )
        write_experiment(
            Path("n.yaml"),
            nuclei_experiment(write_nuclei(Path("nuc"), 8, size=(8, 16, 32)), name="n", training__epochs=1),
        )
        assert run(["train", "v.yaml", "--quiet"]) == run(["train", "n.yaml", "--quiet"]) == 0
    shutil.copy(exports / "work/outputs/exports/tiny/tiny.onnx", folder / "tiny.onnx")
    write_folders(folder / "other", {"test": 9})
    for name in ("02", "07"):
        image, mask = blobs(7, (40, 72))
        cv2.imwrite(str(folder / f"other/test/image/{name}.png"), image)
        cv2.imwrite(str(folder / f"other/test/label/{name}.png"), mask)
    for place in ("photos", "wide", "slides"):
        (folder / place).mkdir()
    for number in range(5):
        cv2.imwrite(str(folder / f"photos/{number}.png"), blobs(number, (48, 64))[0])
    (folder / "photos/3b.png").write_bytes(b"nothing")
    cv2.imwrite(str(folder / "wide/a.png"), blobs(1, (300, 200))[0])
    cv2.imwrite(str(folder / "wide/b.png"), blobs(2, (64, 64))[0])
    slide = cv2.resize(blobs(1)[0], (330, 250))
    for name in ("a", "damaged"):
        tifffile.imwrite(folder / f"slides/{name}.tif", slide, photometric="rgb", tile=(64, 64), compression="deflate")
    whole = (folder / "slides/damaged.tif").read_bytes()
    with tifffile.TiffFile(folder / "slides/damaged.tif") as file:
        start, count = (file.pages[0].tags[name].value[-4] for name in ("TileOffsets", "TileByteCounts"))
    (folder / "slides/damaged.tif").write_bytes(whole[:start] + b"\xff" * count + whole[start + count :])


def make(folder, exports):
    one, two = folder / "one", folder / "two"
    one.mkdir()
    prepare(one, exports)
    shutil.copytree(one, two)

    def folds(world):
        heard = Heard()
        stated = load_run(Path("tiny.yaml"), ["name=folds", "training.epochs=1"])
        return told(heard, cross_validate(stated, 3, overwrite=False, listener=heard, world=world))

    works = {**WORKS, "folds": folds}

    def work(world):
        os.chdir(two)
        shared = {name: each(world) for name, each in works.items()}
        os.chdir(one)
        return {"shared": shared, "alone": {name: works[name](None) for name in list(works)[world.rank :: 2]}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "RESAMPLES", 30)
        (folder / "done").write_bytes(pickle.dumps(together(2, work, folder / "processes")))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    exports = made_once(tmp_path_factory, "exports", make_exports)
    folder = made_once(tmp_path_factory, "shared_work", lambda folder: make(folder, exports))
    first, second = pickle.loads((folder / "done").read_bytes())
    return SimpleNamespace(folder=folder, alone={**first["alone"], **second["alone"]}, shared=first["shared"])


def contents(folder, which, place):
    """All files below a place, without the name of their copy and the time at which a report was written."""
    differs = re.compile(
        rb"<time .*?</time>|" + b"|".join(re.escape(str(folder / each).encode()) for each in ("one", "two"))
    )
    paths = [path for path in (folder / which / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder / which)): differs.sub(b"", path.read_bytes()) for path in paths}


@pytest.mark.parametrize("work", WORKS)
def test_two_processes_tell_what_one_tells(done, work):
    alone, shared = done.alone[work], done.shared[work]
    assert repr(shared["result"]) == repr(alone["result"])  # NaN is no reason to differ
    assert sorted(shared["words"]) == sorted(alone["words"])
    assert shared["done"] == alone["done"]


@pytest.mark.parametrize("place", ["outputs/tests", "photos_out", "wide_out", "slides_out", "hdf5_out", "samples_out"])
def test_two_processes_write_the_bytes_that_one_writes(done, place):
    alone, shared = (contents(done.folder, which, place) for which in ("one", "two"))
    assert len(alone) > 0
    assert sorted(shared) == sorted(alone)
    assert [name for name, content in shared.items() if content != alone[name]] == []


def test_the_video_of_two_processes_has_the_frames_in_order(done):
    assert (done.folder / "two/photos.avi").read_bytes() == (done.folder / "one/photos.avi").read_bytes()


def test_what_cannot_be_read_is_told_once_and_the_rest_is_predicted(done):
    for work, name in (("photos", "3b.png"), ("damaged", "damaged.tif")):
        result, words = done.shared[work]["result"], done.shared[work]["words"]
        assert [Path(entry["file"]).name for entry in result["failed"]] == [name]
        assert len([text for text in words if name in text and "cannot read" in text]) == 1
    assert [Path(entry["image"]).name for entry in done.shared["photos"]["result"]["written"]] == [
        f"{number}.png" for number in range(5)
    ]


def test_folds_on_two_processes_have_the_scores_of_one_and_name_their_lines(done):
    alone, shared = done.alone["folds"], done.shared["folds"]
    assert shared["result"] == alone["result"]
    for fold in (1, 2, 3):
        histories = [
            (done.folder / which / f"outputs/experiments/folds/fold_{fold}/metrics_history.yaml").read_bytes()
            for which in ("one", "two")
        ]
        assert histories[0] == histories[1]
        assert f"fold {fold} epoch 1" in shared["words"]
    assert {text.rpartition(": ")[2] for text in shared["words"] if "begins" in text} == {
        "process 0 begins",
        "process 1 begins",
    }


# ---- who does what


class Stub:
    """Jobs of some pixels and calls of the network; jobs of one letter go into one file."""

    def __init__(self, costs):
        self.costs = costs

    def cost(self, job):
        return Cost(*self.costs[job])

    def block(self, job):
        return job[0]


@pytest.mark.parametrize(
    ("costs", "together_", "shares"),
    [
        ({"a": (10, 4), "b": (10, 4)}, [], [[0], [1]]),
        ({"a": (90, 9), "b": (10, 1)}, [0], [[1], []]),
        ({"a": (90, 1), "b": (10, 1)}, [], [[0], [1]]),  # a single call of the network cannot be shared out
        ({"a1": (5, 1), "b": (5, 1), "a2": (5, 1), "c": (5, 1)}, [], [[0, 2], [1, 3]]),
        ({"a1": (50, 5), "a2": (50, 5), "b": (10, 1)}, [0, 1], [[2], []]),
        ({}, [], [[], []]),
    ],
)
def test_tiles_are_shared_out_only_where_whole_files_would_leave_a_process_idle(costs, together_, shares):
    plan = plan_of(Stub(costs), list(costs), World(0, 2, 0))
    assert (plan.together, plan.shares) == (together_, shares)


def test_a_process_alone_passes_messages_on_at_once():
    heard = Heard()
    heard.stage("prediction", 2)
    relay = Relay(None, heard)
    relay.warn("careful")
    relay.advance(2)
    relay.wait()
    assert (heard.words, heard.done) == (["careful"], {"prediction": (2, 2)})


# ---- the command line


def command(folder, *words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(files.__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-m", "segcli", *map(str, words)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(process):
    return [child for child in psutil.Process(process.pid).children(recursive=True) if "segcli" in child.cmdline()]


def test_ctrl_c_ends_both_and_leaves_only_whole_masks(tiny_run, workplace):
    image = cv2.imencode(".png", blobs(0, (900, 900))[0])[1].tobytes()
    for number in range(40):
        (workplace / f"{number:02d}.png").write_bytes(image)
    process = command(workplace, "predict", *(f"{n:02d}.png" for n in range(40)), "--processes", 2, "--tta")
    out = workplace / "outputs/predictions/tiny"
    while not list(out.glob("*.png")) and process.poll() is None:
        time.sleep(0.05)
    both, began = members(process), time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert err.splitlines()[-1] == "stopped"
    assert len(both) == 2
    assert not [each for each in both if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert [path.name for path in out.iterdir() if path.suffix != ".png"] == []
    for path in out.glob("*.png"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (900, 900)
