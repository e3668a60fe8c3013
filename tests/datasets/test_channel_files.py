"""Images whose channels are files of their own: stacked in the stated order, checked, trained on and predicted."""

import json
from functools import partial

import nibabel
import numpy as np
import pytest
from factories import bodies, volumes_experiment, write_experiment
from layouts import built

from segcli.core.errors import ConfigError, DataError
from segcli.data.fingerprint import fingerprint

AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])
KEYS = {"format": "nifti_volumes", "classes": ["ball"], "channel_suffixes": ["_t2", "_t1"], "other_labels": "ignore"}


def save(path, voxels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def write(root, count=3):
    """`imagesTr/p0_t1.nii.gz` and `_t2` with different voxels, and `labelsTr/p0.nii.gz`."""
    for index in range(count):
        image, masks, _ = bodies(index)
        save(root / f"imagesTr/p{index}_t1.nii.gz", image)
        save(root / f"imagesTr/p{index}_t2.nii.gz", (100 * image).astype(np.int16))
        save(root / f"labelsTr/p{index}.nii.gz", masks[0].astype(np.uint8))
    return root


@pytest.fixture
def layout(workplace):
    """Make the layout of the volumes anew."""
    write(workplace / "data")
    return partial(built, workplace, **KEYS, split={"val": ["p2"]})


def test_channels_are_stacked_in_the_order_of_their_suffixes(layout, workplace):
    made = layout()
    case = made.cases("train")[1]
    assert (made.spec.num_channels, case.id, case.image.name) == (2, "p1", "p1_t2.nii.gz")
    files = [workplace / f"data/imagesTr/p1_{kind}.nii.gz" for kind in ("t2", "t1")]
    expected = np.stack([np.asarray(nibabel.load(file).dataobj) for file in files], axis=-1)
    np.testing.assert_array_equal(made.read(case).image, expected.astype(np.float32))
    with made.opened(files[1]) as picture:  # whichever of them is named
        np.testing.assert_array_equal(picture.read(), expected)
        window = (slice(2, 9), slice(0, 5), slice(3, 4))
        picture.prepare(workplace)
        np.testing.assert_array_equal(picture.read(window), expected[window])


def test_a_missing_channel_is_one_finding_and_stops_training_in_the_same_words(layout, workplace):
    (workplace / "data/imagesTr/p1_t1.nii.gz").unlink()
    (finding,) = layout().inspect("train")
    assert (finding.code, finding.severity, finding.file.name) == ("missing_channel", "error", "p1_t2.nii.gz")
    assert finding.message.endswith("has no file `p1_t1.nii.gz` (channel 2 of 2)")
    assert [case.id for case in layout().all_cases("train")] == ["p0"]  # so no second finding tells of its channels
    with pytest.raises(DataError, match=r"has no file `p1_t1\.nii\.gz`"):
        layout().cases("train")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda voxels: (voxels[:-2], AFFINE), "size_mismatch", "has 14x16x8 voxels, but the first channel"),
        (lambda voxels: (voxels, AFFINE + np.eye(4, k=3) * 8), "geometry_differs", "but the first channel `"),
    ],
)
def test_a_channel_of_another_size_or_place_is_found(layout, workplace, change, code, message):
    path = workplace / "data/imagesTr/p0_t1.nii.gz"
    save(path, *change(np.asarray(nibabel.load(path).dataobj)))
    (finding,) = layout().inspect("train")
    assert (finding.code, finding.severity, finding.file.name) == (code, "error", path.name)
    assert message in finding.message
    with pytest.raises(DataError):
        layout().cases("train")


def test_the_fingerprint_of_the_data_depends_on_every_channel(layout, workplace):
    before = fingerprint(layout().cases("train"))["digest"]
    save(workplace / "data/imagesTr/p0_t1.nii.gz", bodies(7)[0])
    assert fingerprint(layout().cases("train"))["digest"] != before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_suffix": "_x"}, "is for images of one file, and `channel_suffixes` names several"),
        ({"extensions": ["png"]}, "`.png` is no extension of a volume"),
        ({"exclude": ["q*"]}, "`exclude` names `q*`, which fits no case"),
    ],
)
def test_keys_that_do_not_fit_are_named(layout, keys, message):
    with pytest.raises((ConfigError, DataError)) as raised:
        layout(**keys).cases("train")
    assert message in str(raised.value)


def test_excluded_cases_are_left_out_with_their_faults(layout, workplace):
    (workplace / "data/imagesTr/p1_t1.nii.gz").unlink()
    save(workplace / "data/imagesTr/p9_t1.nii.gz", bodies(9)[0])
    save(workplace / "data/imagesTr/p9_t2.nii.gz", bodies(9)[0])
    (workplace / "data/labelsTr/p1.nii.gz").unlink()
    with pytest.raises(DataError):
        layout(exclude=["p9"]).cases("train")
    (workplace / "data/imagesTr/p1_t2.nii.gz").unlink()
    assert [case.id for case in layout(exclude=["p9"]).cases("train")] == ["p0"]


def test_predict_reads_the_channels_of_a_case_together_and_names_it_once(run_cli, workplace):
    write(workplace / "data")
    own = {f"dataset__{key}": value for key, value in KEYS.items()}
    values = volumes_experiment(
        workplace / "data", training__epochs=1, data__patch_size=[8, 8, 8], dataset__split={"val": ["p2"]}, **own
    )
    trained = run_cli("train", write_experiment(workplace / "tiny.yaml", values))
    assert trained.code == 0, trained.err
    image = bodies(5)[0]
    save(workplace / "new/q_t1.nii.gz", image)
    save(workplace / "new/q_t2.nii.gz", (100 * image).astype(np.int16))
    save(workplace / "whole.nii.gz", np.stack([(100 * image).astype(np.int16).astype(np.float32), image], axis=-1))
    made = run_cli("predict", "new", "--run", "tiny", "--out", "found", "--json", "--probabilities")
    assert made.code == 0, made.err
    (row,) = json.loads(made.out)["written"]
    assert row["mask"] == "found/q.nii.gz"
    assert run_cli("predict", "whole.nii.gz", "--run", "tiny", "--out", "found", "--probabilities").code == 0
    one, other = (nibabel.load(workplace / f"found/{name}_probabilities.nii.gz") for name in ("q", "whole"))
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    (workplace / "new/q_t2.nii.gz").unlink()
    lacking = run_cli("predict", "new/q_t1.nii.gz", "--run", "tiny", "--out", "more")
    assert lacking.code == 3
    assert "has no file `q_t2.nii.gz` (channel 1 of 2)" in lacking.err
