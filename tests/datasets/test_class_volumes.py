"""Volumes of which each class is a file of its own, as TotalSegmentator writes them."""

import json
from functools import partial

import nibabel
import numpy as np
import pytest
from factories import bodies, volumes_experiment, write_experiment
from layouts import built, findings_of

from segcli.core.errors import ConfigError, DataError
from segcli.datasets._class_files import ClassFiles

AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])
ORGANS = ["liver", "spleen"]
KEYS = {
    "format": "nifti_volumes",
    "image_folder": "*",
    "image_suffix": "ct",
    "label_folder": "*/segmentations",
    "class_suffixes": ORGANS,
}


def save(path, voxels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def write(root, count=4, label="{}/segmentations/{}.nii.gz", image="{}/ct.nii.gz"):
    """Write `s0/ct.nii.gz` with `s0/segmentations/liver.nii.gz` and `spleen.nii.gz`; some are empty."""
    for index in range(count):
        voxels, masks, _ = bodies(index)
        save(root / image.format(f"s{index}"), voxels)
        for organ, mask in zip(ORGANS, masks, strict=True):
            save(root / label.format(f"s{index}", organ), mask)
    return root


@pytest.fixture
def layout(workplace):
    """Make the layout of the volumes anew."""
    write(workplace / "data")
    return partial(built, workplace, **KEYS, split={"val": ["s3"]})


def voxels(path):
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("task", ["structures", "multiclass"])
@pytest.mark.parametrize(
    ("label", "image", "keys"),
    [
        ("{}/segmentations/{}.nii.gz", "{}/ct.nii.gz", {}),
        ("{}/{}.nii.gz", "{}/ct.nii.gz", {"label_folder": "*"}),
        (
            "labels/{}_{}.nii.gz",
            "images/{}.nii.gz",
            {
                "image_folder": "images",
                "image_suffix": "",
                "label_folder": "labels",
                "class_suffixes": ["_liver", "_spleen"],
            },
        ),
        (
            "labels/{1}/{0}.nii.gz",
            "images/{}.nii.gz",
            {
                "image_folder": "images",
                "image_suffix": "",
                "label_folder": "labels",
                "class_suffixes": ["liver/", "spleen/"],
            },
        ),
    ],
)
def test_the_files_of_the_classes_are_joined_in_the_stated_order(layout, workplace, task, label, image, keys):
    root = write(workplace / "other", label=label, image=image)
    made = layout(**keys, task=task, paths={"root": "other"})
    names = [each.name for each in made.spec.classes]
    assert names == (ORGANS if task == "structures" else ["background", *ORGANS])
    assert findings_of(made) == []
    cases = made.cases("train")
    assert [case.id for case in cases] == ["s0", "s1", "s2"]
    for case in cases:
        masks = [voxels(root / label.format(case.id, organ)) for organ in ORGANS]
        found = made.read(case).maps["mask"]
        expected = np.stack(masks, axis=-1) if task == "structures" else masks[0] + 2 * masks[1]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(made.as_stored(found), masks[0] + 2 * masks[1])
        assert case.files == [root.relative_to(workplace) / image.format(case.id), *case.labels]


def test_a_folder_with_the_name_of_a_class_file_is_told(layout, workplace):
    path = workplace / "data/s0/segmentations/spleen.nii.gz"
    path.unlink()
    path.mkdir()
    made = layout()
    with pytest.raises(
        DataError, match=r"`data/s0/segmentations/spleen.nii.gz` is a folder, but it must be a file"
    ) as told:
        made.read(next(case for case in made.all_cases("train") if case.id == "s0"))
    assert told.value.hint == "replace the file, or remove it from the data set"


def test_a_class_that_is_not_named_is_told_and_a_missing_file_is_refused(layout, workplace):
    save(workplace / "data/s0/segmentations/kidney.nii.gz", np.zeros((16, 16, 8), np.uint8))
    (finding,) = findings_of(layout())
    assert (finding.code, finding.severity) == ("unread_files", "warning")
    assert "holds 1 file that no suffix of `class_suffixes` fits: `kidney.nii.gz`" in finding.message
    (workplace / "data/s0/segmentations/kidney.nii.gz").unlink()
    write(workplace / "data", label="{}/{}.nii.gz")
    save(workplace / "data/s0/part_of_liver.nii.gz", np.zeros((16, 16, 8), np.uint8))
    (finding,) = findings_of(layout(label_folder="*"))
    assert (finding.code, finding.file.name) == ("extra_label", "part_of_liver.nii.gz")
    (workplace / "data/s1/segmentations/spleen.nii.gz").unlink()
    (finding,) = findings_of(layout())
    assert finding.code == "missing_class"
    assert "has no mask of class `spleen` (2 of 2) beside" in finding.message
    assert findings_of(layout(exclude=["s1"])) == []
    with pytest.raises(DataError) as raised:
        layout().cases("train")
    assert raised.value.message == finding.message
    made = layout(missing_class_files="empty")
    case = made.cases("train")[1]
    expected = [voxels(workplace / "data/s1/segmentations/liver.nii.gz"), np.zeros((16, 16, 8))]
    np.testing.assert_array_equal(made.read(case).maps["mask"], np.stack(expected, axis=-1))


def test_names_of_files_are_looked_at_as_often_for_many_classes_as_for_few(layout, monkeypatch):
    looked = []
    key = ClassFiles.key
    monkeypatch.setattr(ClassFiles, "key", lambda self, path: looked.append(path) or key(self, path))
    counts = []
    for more in (0, 100):
        looked.clear()
        suffixes = ORGANS + [f"vessel_{number}" for number in range(more)]
        made = layout(class_suffixes=suffixes, missing_class_files="empty")
        assert findings_of(made) == []
        counts.append(len(looked))
    assert 0 < counts[0] == counts[1]


MASK = np.zeros((16, 16, 8), np.uint8)
MASK[2:6, 2:6, 2:6] = 1


@pytest.mark.parametrize(
    ("mask", "affine", "code", "message"),
    [
        (MASK[:-1], AFFINE, "size_mismatch", "has 15x16x8 voxels, but its image"),
        (MASK, AFFINE @ np.diag([2, 1, 1, 1]), "spacing_differs", "their voxels differ in size"),
        (MASK + MASK[::-1] * 2, AFFINE, "unreadable_case", "of one class holds 3 values, 0 and one other are expected"),
        (np.ones_like(MASK), AFFINE, "unreadable_case", "voxels ("),
    ],
)
def test_a_file_that_fits_neither_image_nor_class_is_one_error(layout, workplace, run_cli, mask, affine, code, message):
    save(workplace / "data/s0/segmentations/spleen.nii.gz", mask, affine)
    made = layout()
    with pytest.raises(DataError) as raised:
        made.read(made.all_cases("train")[0])
    assert message in raised.value.message
    checked = run_cli("data", "check", "set.yaml", "--json")
    (told,) = (each for each in json.loads(checked.out)["findings"] if each["severity"] == "error")
    assert (told["code"], told["message"], told["hint"]) == (code, raised.value.message, raised.value.hint)
    assert any(path.endswith("spleen.nii.gz") for path in told["files"])


def test_the_class_above_is_chosen_where_files_overlap(layout, workplace):
    save(workplace / "data/s0/segmentations/liver.nii.gz", MASK)
    save(workplace / "data/s0/segmentations/spleen.nii.gz", MASK)
    for which, expected in (("first", 1), ("last", 2)):
        made = layout(class_overlap=which, task="multiclass")
        np.testing.assert_array_equal(made.read(made.all_cases("train")[0]).maps["mask"], MASK * expected)
    with pytest.raises(DataError, match=r"both mark 64 voxels \(100.00% of the smaller of both, 3.12% of the image\)"):
        layout().read(made.all_cases("train")[0])


def test_numbers_of_a_label_map_do_not_go_with_files_of_classes(layout):
    with pytest.raises(ConfigError, match=r"numbers.*is for masks of one file"):
        layout(numbers=[1, 2])


def test_training_scores_and_prediction_see_the_joined_map(run_cli, workplace):
    write(workplace / "data")
    values = volumes_experiment(workplace / "data", training__epochs=1)
    values["dataset"] = {**KEYS, "paths": {"root": "data"}, "split": {"val": ["s3"]}}
    trained = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert trained.code == 0, trained.err
    scored = run_cli("eval", "tiny", "--split", "val", "--json")
    assert scored.code == 0, scored.err
    made = run_cli("predict", "data/s3/ct.nii.gz", "--run", "tiny", "--out", "found", "--json")
    assert made.code == 0, made.err
    (row,) = json.loads(made.out)["written"]
    found = voxels(workplace / row["mask"])
    assert found.shape == (16, 16, 8)
    assert set(np.unique(found)) <= {0, 1, 2}
