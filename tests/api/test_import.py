"""Importing and using segcli leaves the process of a program as it is."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import experiment, write_experiment, write_folders

import segcli

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, logging, multiprocessing, os, random, signal, sys, threading, warnings
from hashlib import sha256

def state():
    found = {
        # PyTorch sets the place of its compiler, and handles the death of its loaders' workers
        "environment": {key: value for key, value in os.environ.items() if not key.startswith("TORCHINDUCTOR")},
        "warnings": [str(each) for each in warnings.filters],
        "signals": {str(each): str(signal.getsignal(each)) for each in signal.valid_signals() - {signal.SIGCHLD}},
        "logging": {
            "root": str([logging.root.level, logging.root.handlers, logging.root.manager.disable]),
            **{name: logging.getLogger(name).getEffectiveLevel() for name in ("", "PIL", "nibabel", "matplotlib")},
        },
        "start method": multiprocessing.get_start_method(allow_none=True),
        "hooks": str([sys.excepthook, threading.excepthook, sys.displayhook]),
        "places": [os.getcwd(), *sys.path],
        "threads": [each.name for each in threading.enumerate()],
        "random": sha256(repr(random.getstate()).encode()).hexdigest(),
        "default type": "", "counts": [],
    }
    if "torch" in sys.modules:
        import cv2, numpy, torch
        found["counts"] = [cv2.getNumThreads(), torch.get_num_threads(), torch.get_num_interop_threads()]
        found["random"] += str([sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
                                sha256(str(numpy.random.get_state()).encode()).hexdigest()])
        found["default type"] = str([torch.get_default_dtype(), torch.is_grad_enabled()])
    return found

states = {"begin": state()}
before = set(sys.modules)
import segcli
imported = sorted(name for name in set(sys.modules) - before if name.split(".")[0] not in sys.stdlib_module_names)
states["import"] = state()
import cv2, h5py, numpy, PIL.Image, pydantic, scipy.ndimage, sympy, tifffile, torch, yaml
import matplotlib.figure
cv2.setNumThreads(2)
states["libraries"] = state()
run = segcli.load("tiny.yaml", "training.epochs=1")
states["load"] = state()
segcli.Predictor, segcli.train, segcli.export, segcli.Listener
segcli.check(run)
segcli.train(run)
segcli.evaluate(run)
image = numpy.zeros((40, 40, 3), numpy.uint8)
segcli.Predictor(run, tta=True).predict(image)
states["work"] = state()
print(json.dumps({"imported": imported, "states": states}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a program finds that does everything."""
    folder = tmp_path_factory.mktemp("program")
    augmented = {"data__num_workers": 1, "data__augmentation": {"preset": "light"}}
    write_experiment(folder / "tiny.yaml", experiment(write_folders(folder / "data"), **augmented))
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_import_loads_no_other_package_and_changes_nothing(told):
    assert told["imported"] == ["segcli"]
    assert told["states"]["import"] == told["states"]["begin"]


def test_loading_a_run_changes_nothing(told):
    assert told["states"]["load"] == told["states"]["libraries"]


def test_checking_training_scoring_and_predicting_change_nothing(told):
    assert told["states"]["work"] == told["states"]["load"]


def test_every_public_name_can_be_imported_and_others_are_refused():
    assert all(getattr(segcli, name) is not None for name in segcli.__all__)
    assert set(segcli.__all__) <= set(dir(segcli))
    with pytest.raises(AttributeError, match="module `segcli` has no attribute `trian`"):
        segcli.trian  # noqa: B018


def test_type_checkers_see_each_public_name_in_its_module():
    (block,) = (node for node in ast.parse(Path(segcli.__file__).read_text()).body if isinstance(node, ast.If))
    typed = {alias.name: line.module for line in block.body for alias in line.names}
    assert typed == {name: f"segcli.{home}" for name, home in segcli._HOME_OF.items()}
    assert sorted(typed) == sorted({*segcli.__all__} - {"__version__"})
    assert Path(segcli.__file__).with_name("py.typed").exists()
