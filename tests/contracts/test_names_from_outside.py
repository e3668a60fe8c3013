"""A name in a file never decides where something is written: every command that writes, on files with hostile names."""

import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import onnx
import pytest
import yaml
from factories import (
    blobs,
    experiment,
    scenes_experiment,
    volumes_experiment,
    write_experiment,
    write_hdf5,
    write_nifti,
    write_sequences,
)

from segcli.cli.main import run
from segcli.config.schema import DatasetSection
from segcli.core.names import safe_name
from segcli.data.samples import Case
from segcli.engine.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from segcli.engine.export.seal import seal

HOSTILE = ["../../x", "ABSOLUTE/x", "..", "x\0y", "y" * 300, "\x1b[2Jx"]
KINDRED = ["a/b", "a\\b", ".x", "x\ny", "CON", " "]
"""Names that take the same way through every command as those above; `tests/core/test_names.py` has all of them."""
"""Names that lead elsewhere, or that are no names; `ABSOLUTE` becomes a folder outside."""
LAST = "outputs/experiments/tiny/checkpoints/last.safetensors"


@pytest.fixture
def place(run_cli, tiny_exports, tmp_path, monkeypatch):
    """A working folder deep below the one that is watched, with the run `tiny` in it."""
    folder = tmp_path / "a" / "b" / "place"
    shutil.copytree(tiny_exports.folder, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def guarded(run_cli, tmp_path, place):
    """Runs a command that may write below some folders of the working folder alone, and must not break down."""

    def state(allowed):
        kept = [place / folder for folder in allowed]
        return {
            path: path.read_bytes() if path.is_file() else None
            for path in tmp_path.rglob("*")
            if not any(path == folder or folder in path.parents for folder in kept)
        }

    def call(*words, allowed=(), codes=(0,)):
        parents = {place / parent for folder in allowed for parent in Path(folder).parents} - {place}
        before = state(allowed)
        result = run_cli(*words)
        after = {path: content for path, content in state(allowed).items() if path in before or path not in parents}
        assert after == before, f"{words} wrote {sorted(map(str, after.keys() ^ before.keys()))}"
        assert result.code in codes, f"{words}: exit {result.code}: {result.err}"
        assert "Traceback" not in result.err
        return result

    return call


@pytest.fixture(params=[*HOSTILE, *(pytest.param(name, marks=pytest.mark.slow) for name in KINDRED)], ids=ascii)
def hostile(request, tmp_path):
    """A name."""
    return request.param.replace("ABSOLUTE", str(tmp_path / "abs"))


def forged(source, target, **config):
    """A checkpoint like `source` whose config says something else."""
    checkpoint = read_checkpoint(Path(source))
    header = {**checkpoint.header, "config": {**checkpoint.header["config"], **config}}
    target.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(target, Checkpoint(header, checkpoint.tensors))
    return target


# ---- checkpoints


def test_a_checkpoint_chooses_no_folder(guarded, place, hostile):
    config = read_checkpoint(Path(LAST)).header["config"]
    elsewhere = {"data": {**config["data"], "cache": "disk", "cache_dir": hostile}, "output": {"dir": hostile}}
    if "\0" in hostile or len(hostile) > 255:
        elsewhere = {}  # no path at all, which is told as such
    path = forged(LAST, place / "given.safetensors", name=hostile, **elsewhere)
    name = safe_name(hostile)
    guarded("eval", path, allowed=[f"outputs/tests/{name}", "outputs/cache"])
    assert (place / "outputs/tests" / name / "predictions/00.png").is_file()
    guarded("predict", "data/test/image", "--run", path, allowed=[f"outputs/predictions/{name}"])
    guarded("export", path, "--format", "torchscript", "--half", allowed=[f"outputs/exports/{name}"])
    assert "is not in a run folder" in guarded("resume", path, codes=(4,)).err


def test_a_run_from_elsewhere_goes_on_in_its_own_folder(guarded, place, tmp_path):
    data = {**read_checkpoint(Path(LAST)).header["config"]["data"], "cache": "disk", "cache_dir": str(tmp_path / "x")}
    trackers = [{"type": "sacred", "folder": str(tmp_path / "y")}]
    forged(
        LAST, place / "given/checkpoints/last.safetensors", name="../../x", data=data, logging={"trackers": trackers}
    )
    (place / "given/config.yaml").write_text("name: ../../x\n")
    words = ["resume", "given", "training.epochs=3"]
    told = guarded(*words, allowed=["given", "outputs/cache"]).err
    assert f"`data.cache_dir: {tmp_path / 'x'}` in `given` is ignored" in told
    assert (place / "given/sacred/1").is_dir()
    guarded(*words[:2], "training.epochs=4", "data.cache_dir=mine", allowed=["given", "mine"])
    assert any((place / "mine").iterdir())  # the user's own word counts


def test_a_resumed_run_writes_no_split_file(guarded, place):
    root = write_sequences(place / "scenes")
    config = scenes_experiment(root, name="scenes", dataset__split={"val": 0.25})
    write_experiment(place / "scenes.yaml", config)
    assert run(["train", "scenes.yaml"]) == 0
    (root / "split.yaml").unlink()
    guarded("resume", "scenes", "training.epochs=3", allowed=["outputs/experiments/scenes"])


# ---- exported files


def described(path, **changes):
    """The ONNX file `tiny` with another description."""
    model = onnx.load("outputs/exports/tiny/tiny.onnx")
    for entry in model.metadata_props:
        if entry.key == "segcli":
            entry.value = json.dumps({**json.loads(entry.value), **changes})
    onnx.save(model, str(path))
    seal(path)
    return path


def test_an_onnx_file_chooses_no_folder(guarded, place, hostile):
    path = described(place / "given.onnx", run=hostile)
    guarded(
        "predict",
        "data/test/image",
        "--model",
        path,
        "--overlay",
        allowed=[f"outputs/predictions/{safe_name(hostile)}"],
    )
    assert (place / "outputs/predictions" / safe_name(hostile) / "00.png").is_file()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"run": 5}, "`run` must be a valid string"),
        ({"tile": [0, 0]}, "`tile.0` must be greater"),
        ({"scales": []}, "`scales` list should have"),
        ({"dataset": {}}, "`dataset.mean` is not `mean`"),
        ({"ndim": 3, "input_axes": "BCDHW", "tile": None}, "`ndim` is 3, but `dataset.format` has 2 axes"),
        ({"classes": [{"name": "a"}, {"name": "b"}]}, "`classes` are not those of `dataset`"),
        ({"outputs": ["other"]}, "`outputs` lack `mask`"),
        ({"postprocess": {"min_size": -1}}, "`postprocess.min_size` must be greater"),
        ({"preprocessing": {"image_size": None, "preprocessing": {"evil": 1}}}, "evil` is an unknown key"),
        ({"input_name": "other"}, "fails on float32 of shape"),
        ({"stride": 1, "multiple": 1}, None),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_right_is_refused_in_words(guarded, place, changes, text):
    path = described(place / "given.onnx", **changes)
    result = guarded("predict", "data/test/image", "--model", path, allowed=["outputs"], codes=(0, 4))
    if text is not None:
        assert result.code == 4, result.err
        assert text in result.err


def test_a_network_with_other_channels_than_its_classes_is_refused_in_words(guarded, place):
    spec = json.loads(
        next(e.value for e in onnx.load("outputs/exports/tiny/tiny.onnx").metadata_props if e.key == "segcli")
    )
    classes = [{"name": "a"}, {"name": "b"}]
    dataset = {**spec["dataset"], "num_classes": 2, "classes": classes}
    path = described(place / "given.onnx", classes=classes, dataset=dataset, task="multiclass")
    result = guarded("predict", "data/test/image", "--model", path, allowed=["outputs"], codes=(4,))
    assert "its network gives 1 channels of `mask` for 2" in result.err


# ---- data


def test_names_in_volumes_choose_no_file(guarded, place):
    root = write_hdf5(place / "volumes", structure_names=["../../x", "/abs\x1b[2J"])
    for split in ("train", "val", "test"):
        with h5py.File(root / f"{split}.h5", "a") as file:
            count = len(file["images"])
            del file["scenarios"]
            file["scenarios"] = [f"../../s{index}" for index in range(count)]
            file["case_ids"] = [f"../../c{index}" for index in range(count)]
    logging = {"tensorboard": True, "log_images": True, "visualization_interval": 1, "trackers": ["sacred"]}
    config = volumes_experiment(root, name="vol", training__epochs=1, logging=logging)
    write_experiment(place / "vol.yaml", config)
    guarded("train", "vol.yaml", allowed=["outputs/experiments/vol"])
    guarded("eval", "vol", allowed=["outputs/experiments/vol", "outputs/tests/vol"])
    options = ["--overlay", "--probabilities", "--uncertainty"]
    long = shutil.copy(root / "test.h5", place / f"{'y' * 230}.h5")
    guarded("predict", root / "test.h5", long, "--run", "vol", *options, allowed=["outputs/predictions/vol"])
    assert len(list((place / "outputs/predictions/vol").glob("y*.png"))) == 2
    assert sorted(path.name for path in (place / "outputs/predictions/vol").glob("test*.png")) == [
        "test_0000_overlay.png", "test_0001_overlay.png"]  # fmt: skip


@pytest.mark.parametrize(
    "names", [["x ", "y"], ["x\ny", "y"], ["CON", "y"], ["x" * 300, "y"], ["x", "x"], ["Übung", "case 7"]]
)
def test_case_ids_are_names_of_files_only_where_they_can_be(tmp_path, names):
    root = write_hdf5(tmp_path / "volumes")
    with h5py.File(root / "test.h5", "a") as file:
        file["case_ids"] = names
    layout = DatasetSection(format="hdf5_volumes", paths={"root": str(root)}, num_classes=2).build()
    wanted = names if names[0] == "Übung" else ["0000", "0001"]
    assert [case.id for case in layout.inputs(root / "test.h5")] == wanted


@pytest.mark.parametrize("kind", ["image_folders", "sequences", "hdf5_volumes", "nifti_volumes"])
def test_no_layout_writes_an_answer_elsewhere(tmp_path, hostile, kind):
    """Whatever a format takes for the name of a case."""
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    folder, size = place / "answers", (4, 4, 4) if "volumes" in kind else (4, 4)
    classes = [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [9, 9, 9]}]
    more = {"classes": classes} if kind == "sequences" else {}
    layout = DatasetSection(format=kind, paths={"root": str(place)}, num_classes=2, **more).build()
    before = set(tmp_path.rglob("*"))
    if "volumes" in kind:
        for image, index in (("t.h5", 0), ("t.nii.gz", None), ("t.tif", None)):
            for channels in (0, 2):
                path = layout.values_path(folder, Case(hostile, place / image, index=index), "kind", channels)
                assert path.parent == folder
                assert len(path.name.encode()) < 230
        assert layout.answer_path(folder, Path(hostile.replace("\0", "")[:99]) / "..").parent == folder
    else:
        layout.save_answer(folder, Case(hostile, place / "t.png"), np.zeros(size, np.uint8))
        written = set(tmp_path.rglob("*")) - before
        assert written
        assert all(path == folder or folder in path.parents for path in written)


def test_names_of_files_stay_below_the_folder_of_results(guarded, place):
    inputs = place / "inputs"
    inputs.mkdir()
    names = ["CON.png", "a\\b.png", "x\ny.png", "\x1b[2J.png", "...png", "y" * 250 + ".png", "Übung 1.png"]
    for number, name in enumerate(names):
        cv2.imwrite("one.png", blobs(number)[0])
        shutil.move("one.png", inputs / name)
    guarded("predict", "inputs", "--run", "tiny", "--overlay", "--probabilities", allowed=["outputs/predictions/tiny"])
    found = [path.name for path in (place / "outputs/predictions/tiny").iterdir()]
    assert "Übung 1.png" in found
    assert len(found) == 3 * len([name for name in names if name[0] != "."])


def test_pictures_of_a_training_have_names_that_can_be_written(guarded, place):
    for path in (place / "data/val").rglob("00.png"):
        path.rename(path.with_name(f"{'y' * 240}.png"))
    write_experiment(
        place / "long.yaml", experiment(place / "data", name="long", logging={"visualization_interval": 1})
    )
    guarded("train", "long.yaml", allowed=["outputs/experiments/long"])
    assert len(list((place / "outputs/experiments/long/visualizations/epoch_001").iterdir())) == 2


def test_no_split_file_is_written_outside_the_data_set(guarded, place, hostile):
    values = experiment(place / "data")["dataset"]
    split = {"by": "folders", "val": 0.5, "split_file": hostile}
    (place / "ds.yaml").write_text(yaml.safe_dump({**values, "split": split}))
    leads_out = hostile not in ("a/b", ".x")
    result = guarded("data", "split", "ds.yaml", allowed=["data"], codes=(2,) if leads_out else (0,))
    told = ("`split_file` must be a file within `root`", "cannot be the name of a file")
    assert not leads_out or any(text in result.err for text in told)


def test_no_split_file_takes_the_place_of_another_file(guarded, place):
    (place / "data/.bashrc").write_text("alias ll='ls -l'\n")
    values = {**experiment(place / "data")["dataset"], "split": {"val": 0.5, "split_file": ".bashrc"}}
    (place / "ds.yaml").write_text(yaml.safe_dump(values))
    assert "exists and is not a split file" in guarded("data", "split", "ds.yaml", codes=(3,)).err


def test_converting_writes_below_its_target_alone(guarded, place):
    root = write_nifti(place / "nifti", 3)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder / "case_00.nii.gz").rename(root / folder / "x\x1b[2J\ny.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"labels": {"0": "no", "1": "../../x", "2": "/abs\0"}}))
    guarded("data", "convert", root, "made", allowed=["made"])
    guarded("predict", "made/train.h5", "--run", "tiny", codes=(3,))
    config = volumes_experiment(place / "made", name="vol", training__epochs=1, logging={"visualization_interval": 1})
    write_experiment(place / "vol.yaml", config)
    guarded("train", "vol.yaml", allowed=["outputs/experiments/vol"])


def test_a_sample_has_a_name_of_ours(guarded, hostile):
    guarded("data", "sample", hostile.replace("\0", ""), codes=(2,))


def test_a_run_has_a_name_that_is_one(guarded, place, hostile):
    write_experiment(place / "run.yaml", experiment(place / "data", name=hostile))
    result = guarded("train", "run.yaml", codes=(2,))
    assert "must be usable as a folder's name" in result.err
    assert "\x1b" not in result.err
    assert "must be usable as a folder's name" in guarded("eval", "tiny", f"name={json.dumps(hostile)}", codes=(2,)).err


def test_fifty_problems_are_told_at_most(guarded, place):
    write_experiment(
        place / "run.yaml", {**experiment(place / "data"), **{f"key{number}": 1 for number in range(2000)}}
    )
    result = guarded("train", "run.yaml", codes=(2,))
    assert "2,000 problems in" in result.err
    assert "and 1,950 more" in result.err
    assert result.err.count("unknown key") == 50
