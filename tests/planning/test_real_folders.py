"""What is recognised in copies of real data sets whose folders and files have neutral names.

`SEGCLI_DATA` names the folder that holds the data sets; a data set that is not there is skipped.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

DATA = Path(os.environ.get("SEGCLI_DATA", "data"))
MOST_S = 20.0
"""Processor seconds that `init` may take."""
VESSELS = {"format": "image_folders", "num_channels": 3, "num_classes": 1, "image_folder": "a", "label_folder": "b"}
CLASSES = {
    *("sky", "building", "pole", "road", "sidewalk", "tree", "sign_symbol", "fence", "car", "pedestrian"),
    *("bicyclist", "void"),
}


def folders(source: Path, names: list[str], rename: Callable[[int, int, str], str]) -> Iterator[tuple[Path, str]]:
    """Each file of some folders with its new name; folders are `a`, `b` and so on."""
    for number, name in enumerate(names):
        for index, file in enumerate(sorted((source / name).iterdir())):
            yield file, f"{'abcd'[number]}/{rename(index, number, file.stem)}{''.join(file.suffixes)}"


def chase(root: Path) -> Iterator[tuple[Path, str]]:
    """Left and right eye keep one name of their person."""
    names = ["images", "1stHO", "2ndHO", "fov"]
    return folders(
        root, names, lambda index, number, _: f"{index // 2}{'LR'[index % 2]}{['', '_x', '_y', '_z'][number]}"
    )


def membrane(root: Path) -> Iterator[tuple[Path, str]]:
    """Images and masks have different prefixes, and the splits are `a`, `b`, `c`."""
    for split, folder in (("train", "a"), ("val", "b"), ("test", "c")):
        for file, name in folders(root / split, ["image", "label"], lambda _, number, stem: f"{'pq'[number]}_{stem}"):
            yield file, f"{folder}/{name}"


def clips(root: Path) -> Iterator[tuple[Path, str]]:
    """The table of the classes is left out."""
    for number, top in enumerate(("Images", "Labels")):
        for clip, folder in enumerate(sorted((root / top).iterdir())):
            for index, file in enumerate(sorted(folder.iterdir())):
                yield file, f"{'ab'[number]}/c{clip}/{index:03d}{file.suffix}"


def windows(root: Path) -> Iterator[tuple[Path, str]]:
    """The JSON file is left out."""
    for name, new in (("train", "a"), ("val", "b"), ("test", "c")):
        if (root / f"{name}.h5").exists():
            yield root / f"{name}.h5", f"{new}.h5"


def nuclei(root: Path) -> Iterator[tuple[Path, str]]:
    """The folders keep their numbers, which the table names."""
    yield root / "classes.csv", "t.csv"
    for sample in sorted(path for path in root.iterdir() if path.is_dir()):
        for number, inner in enumerate(("raw", "mask")):
            for file in sorted((sample / inner).iterdir()):
                yield file, f"{sample.name}/{'ab'[number]}/{file.name}"


def numbered(*names: str) -> Callable[[Path], Iterator[tuple[Path, str]]]:
    """Folders whose files are numbered."""
    return lambda root: folders(root, list(names), lambda index, *_: f"{index:03d}")


def organs(root: Path) -> Iterator[tuple[Path, str]]:
    """One image and one label map in one folder."""
    yield root / "example_ct_sm.nii.gz", "q_1.nii.gz"
    yield root / "example_seg_fast.nii.gz", "q_2.nii.gz"


TRUTH: dict[str, tuple[Callable[[Path], Iterator[tuple[Path, str]]], dict[str, object], dict[str, int]]] = {
    "chase_db1": (
        chase,
        VESSELS | {"fov_folder": "d", "label_suffix": "_x", "fov_suffix": "_z"},
        {"train": 16, "val": 4},
    ),
    "hrf": (numbered("images", "manual1", "mask"), VESSELS | {"fov_folder": "c"}, {"train": 4, "val": 1}),
    "em_membrane": (
        membrane,
        VESSELS | {"num_channels": 1, "image_prefix": "p_", "label_prefix": "q_"},
        {"train": 20, "val": 5, "test": 5},
    ),
    "dsb2018_nuclei": (
        numbered("images", "instances", "masks"),
        VESSELS | {"num_channels": 1, "label_folder": "c", "color": "grey"},
        {"train": 72, "val": 9, "test": 9},
    ),
    "camvid_sequences": (
        clips,
        {"format": "sequences", "images": "a", "labels": "b", "mask_format": "rgb", "ignore": ["void"]},
        {"train": 115, "val": 34},
    ),
    "hippocampus": (
        numbered("imagesTr", "labelsTr"),
        {"format": "nifti_volumes", "image_folder": "a", "label_folder": "b", "numbers": [1, 2]},
        {"train": 80, "val": 10, "test": 10},
    ),
    "ct_organs_nifti": (
        organs,
        {"format": "nifti_volumes", "image_suffix": "_1", "label_suffix": "_2", "intensity_range": [-200, 300]},
        {"train": 1},
    ),
    "hippocampus_hdf5": (
        windows,
        {"format": "hdf5_volumes", "num_channels": 1, "classes": ["structure_1", "structure_2"]},
        {"train": 160, "val": 40},
    ),
    "brain_structures_hdf5": (
        windows,
        {"format": "hdf5_volumes", "num_channels": 1, "classes": [f"structure_{n}" for n in range(1, 6)]},
        {"train": 40, "val": 10, "test": 10},
    ),
    "nuclei_tiff": (
        nuclei,
        {
            "format": "tiff_volumes",
            "raw_folder": "a",
            "mask_folder": "b",
            "classes_csv": "t.csv",
            "crop_size": [16, 24, 24],
            "classes": ["large", "small"],
        },
        {"train": 41, "val": 10},
    ),
}
"""Names of a neutral copy, keys that must be recognised, and the samples of each split."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTH)
def test_a_neutral_copy_of_a_real_data_set_is_recognised_checked_and_trained_on(run_cli, workplace, name):
    source = (DATA / name).absolute()
    if not source.is_dir():
        pytest.skip(f"no data set {name}")
    files, truth, counts = TRUTH[name]
    for file, new in files(source):
        (workplace / "copy" / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, workplace / "copy" / new)
    began = time.process_time()
    made = run_cli("init", "copy", "--json")
    assert made.code == 0, made.err
    assert time.process_time() - began < MOST_S
    keys = yaml.safe_load(Path("configs/datasets/copy.yaml").read_text())
    assert {key: keys.get(key) for key in truth} == truth
    assert json.loads(made.out)["counts"] == counts
    if name == "camvid_sequences":
        assert {each["name"] for each in keys["classes"]} == CLASSES
    checked = run_cli("data", "check", "configs/experiments/copy.yaml", "--json")
    assert [each for each in json.loads(checked.out)["findings"] if each["severity"] == "error"] == []
    tried = run_cli("train", "configs/experiments/copy.yaml", "--dry-run", "device=cpu")
    assert tried.code == 0, tried.err
