"""No command opens a connection that its user did not ask for, and no library behind it either."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import network
import nibabel
import numpy as np
import pytest
import tifffile
import typer
import zarr
from factories import experiment, write_experiment, write_folders, write_nifti

from segcli.cli.app import app
from segcli.core.onnx_runtime import load_onnxruntime
from segcli.files import open_picture

ROOT = Path(__file__).parents[2]
HOMES = {
    "onnxruntime": ("segcli/core/onnx_runtime.py", "ORT_DISABLE_TELEMETRY"),
    "albumentations": ("segcli/data/transforms.py", "NO_ALBUMENTATIONS_UPDATE"),
    "segmentation_models_pytorch": ("segcli/nn/zoo.py", "HF_HUB_OFFLINE"),
    "timm": ("segcli/nn/zoo.py", "HF_HUB_OFFLINE"),
    "huggingface_hub": ("segcli/nn/zoo.py", "HF_HUB_OFFLINE"),
}
"""The only file that imports a package which would call home, and the variable that keeps it quiet."""
SWITCHES = [switch for _, switch in HOMES.values()]
"""Taken out of the environment that the commands begin with."""
CASES: list[tuple[str, str, int]] = [  # in this order: onnxruntime reports some seconds after its import
    ("data sample", "vessels made --size 64", 0),
    ("init", "made planned --yes", 0),
    ("train", "tiny.yaml --overwrite", 0),
    ("export", "tiny", 0),
    ("predict", "data/test/image/00.png --model outputs/exports/tiny/tiny.onnx --out exported", 0),
    ("export", "tiny --int8 --max-dice-loss 1", 0),
    ("predict", "data/test/image --run tiny --overlay", 0),
    ("resume", "tiny training.epochs=2", 0),
    ("eval", "tiny", 0),
    ("profile-memory", "tiny.yaml", 0),
    ("data check", "tiny.yaml", 0),
    ("data stats", "tiny.yaml", 0),
    ("data split", "split.yaml", 0),
    ("config translate", "old.yaml --from cells", 0),
    ("data convert", "data/train converted --images image --labels label", 0),
    ("predict", "foreign.ome.tif foreign.zarr --run tiny --out foreign", 0),
    ("data convert", "volumes converted_volumes", 0),
    ("predict", "https://example.invalid/a.png --run tiny", 2),
    ("predict", "data/test/image/00.png --model=https://example.invalid/a.onnx", 2),
    ("train", "tiny.yaml dataset.paths.root=https://example.invalid/data", 2),
    ("train", "pretrained.yaml", 2),
    ("train", "zoo.yaml", 2),
    ("train", "zoo.yaml model.encoder=tu-resnet18", 2),
    ("models", "", 0),
    ("losses", "dice", 0),
    ("metrics", "", 0),
    ("formats", "", 0),
    ("configs list", "", 0),
    ("configs show", "exp", 0),
    ("configs copy", "exp", 0),
    ("config keys", "data", 0),
    ("config schema", "", 0),
]
ADDRESS = "http://example.invalid/a.tif"
DRIVER = """
import json, sys, time
asked, attempts = [], []

def watch(event, arguments):
    if event == "socket.connect" or event.startswith(("socket.getaddrinfo", "socket.gethostby", "socket.send")):
        where = str(arguments[:-1] if event == "socket.getaddrinfo" else arguments[1:])
        if "127.0.0.1" not in where and "::1" not in where and "/" not in where:
            attempts.append(f"{asked[-1]}: {event} {where}")

sys.addaudithook(watch)
from segcli.cli.main import run

codes, imported = [], time.monotonic()
for words in json.loads(sys.argv[1]):
    asked.append(" ".join(words))
    codes.append(run(words))
    if "--model" in words:
        imported = time.monotonic()
time.sleep(max(0.0, 12.0 - (time.monotonic() - imported)))
print(json.dumps({"codes": codes, "attempts": attempts}))
"""
LOOK_UP_IN_C = (
    "import ctypes; ctypes.CDLL(None).getaddrinfo(b'example.invalid', b'443', None, ctypes.byref(ctypes.c_void_p()))"
)
CONNECTION = "import socket; socket.socket().connect_ex(('192.0.2.1', 443))"
AT_HOME = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.socket().connect_ex(s.getsockname())"


def walk(command, *before):
    """Names of all commands."""
    if not hasattr(command, "commands"):
        return [" ".join(before)]
    return [name for word, below in command.commands.items() for name in walk(below, *before, word)]


def test_every_command_has_a_case():
    assert {name for name, _, _ in CASES} == set(walk(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where libraries keep what they remember of this machine."""
    return tmp_path_factory.mktemp("cache")


def write_foreign(folder):
    """Files whose metadata hold addresses where readers might follow them."""
    image = np.full((48, 48, 3), 90, np.uint8)
    description = (
        f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY e SYSTEM "{ADDRESS}">]>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" xmlns:xsi="{ADDRESS}"><Image ID="Image:0">'
        '<Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="3" SizeT="1" SizeX="48" SizeY="48" SizeZ="1" Type="uint8">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"><UUID FileName="{ADDRESS}">'
        "urn:uuid:0</UUID></TiffData></Pixels></Image></OME>"
    )
    tifffile.imwrite(folder / "foreign.ome.tif", image, photometric="rgb", description=description, metadata=None)
    array = zarr.create_array(zarr.storage.LocalStore(folder / "foreign.zarr"), shape=(48, 48, 3), dtype="uint8")
    array[:] = image
    array.attrs.update({"url": ADDRESS, "store": ADDRESS, "path": ADDRESS, "ome": {"source": ADDRESS}})
    for path in write_nifti(folder / "volumes").rglob("*.nii*"):
        volume = nibabel.load(path)
        copy = nibabel.Nifti1Image(np.asanyarray(volume.dataobj), volume.affine, volume.header)
        copy.header["descrip"], copy.header["aux_file"] = ADDRESS.encode(), ADDRESS.encode()[:24]
        copy.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", ADDRESS.encode()))
        nibabel.save(copy, path)


def prepare(folder):
    """Write what the commands of `CASES` work on."""
    values = experiment(write_folders(folder / "data"), training__epochs=1, data__num_workers=1)
    values["logging"] = {"tensorboard": True, "trackers": ["sacred"]}
    values["data"]["augmentation"] = {"preset": "light"}
    write_experiment(folder / "tiny.yaml", values)
    pretrained = {"type": "deeplabv3_plus", "backbone": "resnet18", "weights": "imagenet"}
    write_experiment(folder / "pretrained.yaml", {**values, "name": "pretrained", "model": pretrained})
    zoo = {"type": "smp", "encoder": "resnet18", "weights": "imagenet"}
    write_experiment(folder / "zoo.yaml", {**values, "name": "zoo", "model": zoo})
    split = {"paths": {"root": "data/train"}, "split": {"by": "fraction", "val": 0.3}}
    write_experiment(folder / "split.yaml", {**values["dataset"], **split})
    old = {"dataset": {"root": "data"}, "model": "unet", "epochs": 3, "lr": 0.001, "loss": "bce_dice"}
    write_experiment(folder / "old.yaml", old)
    write_foreign(folder)


@pytest.fixture(scope="module")
def watched(tmp_path_factory, cache):
    """All commands in one process, which is watched from the outside where something can."""
    folder = tmp_path_factory.mktemp("commands") / "work"
    folder.mkdir()
    prepare(folder)
    words = json.dumps([[*name.split(), *options.split()] for name, options, _ in CASES])
    environment = {**dict.fromkeys(SWITCHES), "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DRIVER, words]
    return network.watch(command, folder, tool=network.TOOLS[0] if network.TOOLS else "none", **environment)


def test_no_command_reaches_for_another_machine_from_python(watched):
    assert watched.done.returncode == 0, watched.done.stderr
    told = json.loads(watched.done.stdout.splitlines()[-1])
    assert told["codes"] == [code for _, _, code in CASES], watched.done.stderr
    assert told["attempts"] == []


@pytest.mark.skipif(not network.TOOLS, reason="needs strace or a C compiler on Linux to see what C++ libraries do")
def test_no_command_reaches_for_another_machine_from_a_library(watched):
    assert watched.attempts == []


def test_no_library_keeps_an_identifier_of_this_machine(watched, cache):
    assert watched.done.returncode == 0
    assert [path for path in cache.rglob("*") if re.search(r"microsoft|onnxruntime|device.?id", path.name, re.I)] == []


def test_no_library_of_the_zoo_writes_a_cache(watched, cache):
    assert watched.done.stderr.count("and segcli downloads nothing") == 3
    assert [path for path in cache.rglob("*") if re.search(r"huggingface|timm|smp", path.name, re.I)] == []


@pytest.mark.parametrize("tool", network.TOOLS)
def test_the_watch_sees_look_ups_and_connections_and_lets_local_ones_pass(tmp_path, tool):
    folder = tmp_path / "work"
    folder.mkdir()
    for program in (LOOK_UP_IN_C, CONNECTION):
        nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
        assert network.watch([sys.executable, "-c", nested], folder, tool=tool).attempts, program
    assert network.watch([sys.executable, "-c", AT_HOME], folder, tool=tool).attempts == []


def imported(tree):
    """Modules that a file imports or asks for by name, late imports and programs in strings included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "optional",
            "import_module",
            "__import__",
            "importorskip",
        ):
            yield from (str(word.value) for word in node.args if isinstance(word, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"(?:^|[\n;] *)(?:import|from) (\w+)", node.value)


@pytest.mark.parametrize("package", HOMES)
def test_one_file_imports_what_would_call_home_and_it_turns_that_off(package):
    home, switch = HOMES[package]
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for room in ("segcli", "tests", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
    }
    importing = {
        name
        for name, text in texts.items()
        if package in text and any(found.split(".")[0] == package for found in imported(ast.parse(text)))
    }
    card = {name for name in importing if name.endswith("/model_card.py") and switch in texts[name]}  # a program shown
    turned_off = f'os.environ["{switch}"] = "1"'
    # loops of other programs run where segcli is not installed, so each of them has the switch itself, above the import
    first = re.compile(rf"\b(?:import|from) {package}\b")
    above = {name: first.split(texts[name])[0].splitlines() for name in importing}
    peers = {
        name
        for name, lines in above.items()
        if name.startswith("benchmarks/peers/") and any(line.strip().startswith(turned_off) for line in lines)
    }
    assert importing - card - peers - {home} == set()
    assert turned_off in texts[home]


def test_onnxruntime_is_quiet_as_soon_as_it_is_loaded_whatever_the_environment_says(tmp_path):
    program = "from segcli.core.onnx_runtime import load_onnxruntime as load; load(purpose='a test').SessionOptions()"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
    assert load_onnxruntime(purpose="a test").__name__ == "onnxruntime"


@pytest.mark.parametrize("name", ["http::a.zarr", "memory::a.zarr"])
def test_the_name_of_a_zarr_folder_is_never_an_address(workplace, name):
    zarr.create_array(zarr.storage.LocalStore(workplace / name), shape=(4, 5), dtype="uint8")[:] = 3
    with open_picture(Path(name), 2) as picture:
        assert picture.read((slice(0, 2), slice(0, 2))).max() == 3


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_state_of_a_partial_clone_is_told_without_fetching(workplace, run_cli, tiny, tmp_path_factory):
    origin = tmp_path_factory.mktemp("origin")
    asked = workplace / "asked"
    (origin / "inner").mkdir()
    (origin / "inner" / "file").write_text("1")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "uploadpack.allowFilter=true"]
    for words in (["init", "-q"], ["config", "uploadpack.allowFilter", "true"], ["add", "."], ["commit", "-qm", "1"]):
        subprocess.run([*git, *words], cwd=origin, check=True)
    clone = ["clone", "-q", "--no-checkout", "--filter=tree:0", origin.as_uri(), "clone"]
    subprocess.run([*git, *clone], cwd=workplace, check=True)
    fetching = f"ext::touch {asked}"  # what a fetch would run
    for words in (["remote", "set-url", "origin", fetching], ["config", "protocol.ext.allow", "always"]):
        subprocess.run([*git, *words], cwd=workplace / "clone", check=True)
    config = tiny(training__epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace / "clone")
        assert run_cli("train", config).code == 0
    assert not asked.exists()
    (written,) = (workplace / "clone").rglob("environment.yaml")
    assert "changed: null" in written.read_text()
