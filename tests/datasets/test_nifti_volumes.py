"""Volumes in NIfTI files: a label map belongs to its image only where both lie at one place."""

import json
import re

import nibabel
import numpy as np
import pytest
import yaml
from factories import bodies, experiment, write_experiment, write_nifti

from segcli.config.load import load_dataset
from segcli.core.errors import DataError

LPS = np.diag([-1.0, -2.0, 3.0, 1.0])
SIZE = (16, 16, 8)


def rotated(degrees, affine=LPS):
    """The affine after a turn about the vertical axis of the body."""
    turn, angle = np.eye(4), np.radians(degrees)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


def moved(voxels, affine=LPS):
    """The affine of a file whose first voxel lies elsewhere, by so many of its own voxels."""
    return affine @ np.array([[1, 0, 0, voxels[0]], [0, 1, 0, voxels[1]], [0, 0, 1, voxels[2]], [0, 0, 0, 1.0]])


@pytest.fixture
def make(workplace):
    """Write volumes with a matrix for images and one for label maps; give their layout."""

    def call(image=LPS, label=LPS, *, turn=lambda voxels: voxels, **keys):
        root = write_nifti(workplace / "data", 2, affine=image)
        for path in (root / "labelsTr").iterdir():
            stored = np.asarray(nibabel.load(path).dataobj)
            voxels = np.ascontiguousarray(turn(stored).astype(stored.dtype))
            nibabel.save(nibabel.Nifti1Image(voxels, label), path)
        file = workplace / "set.yaml"
        keys = {"classes": ["ball", "box"], "split": {"val": ["case_01"]}, **keys}
        file.write_text(yaml.safe_dump({"format": "nifti_volumes", "paths": {"root": "data"}, **keys}))
        return load_dataset(file, whole_run=False).build()

    return call


def found(layout):
    return [(each.severity, each.code, each.message) for each in layout.inspect("train")]


WRONG = [
    (np.diag([1.0, 2.0, 3.0, 1.0]), "geometry_differs", "has axes RAS, .* they lie 15x15x0 voxels apart"),
    (np.diag([-1.0, -2.0, 3.01, 1.0]), "spacing_differs", "spacing 1x2x3.01 mm .* spacing 1x2x3 mm .* differ in size"),
    (moved((0, 0, 1)), "geometry_differs", r"origin \(0, 0, 3\) mm.* they lie 0x0x1 voxels apart"),
    (moved((0, -40, 0)), "geometry_differs", r"they lie 0x40x0 voxels apart"),
    (rotated(1), "geometry_differs", "they are turned by 1 degrees against each other"),
]


@pytest.mark.parametrize(("label", "code", "text"), WRONG)
def test_a_label_map_in_another_place_is_an_error_in_checks_training_and_evaluation_alike(make, label, code, text):
    layout = make(label=label)
    ((severity, told, message),) = found(layout)
    assert (severity, told) == ("error", code)
    case = layout.all_cases("train")[0]
    for use in (lambda: layout.cases("train"), lambda: layout.read(case)):
        with pytest.raises(DataError, match=text) as caught:
            use()
        assert caught.value.message == message
        assert "nibabel.Nifti1Image(labels, image.affine)" in caught.value.hint
    assert "case_00.nii.gz` has axes" in message
    assert "axes LPS, spacing 1x2x3 mm and origin (0, 0, 0) mm" in message


def test_every_command_tells_it_in_the_same_words_and_once(make, run_cli, workplace):
    make(label=np.diag([1.0, 2.0, 3.0, 1.0]))
    values = experiment(workplace / "data", training__loss={"bce": 0.5, "dice": 0.5})
    write_experiment(workplace / "run.yaml", {**values, "dataset": "set.yaml"})
    checked = json.loads(run_cli("data", "check", "set.yaml", "--json").out)
    messages = [each["message"] for each in checked["findings"] if each["severity"] == "error"]
    assert len(messages) == 2
    assert {each["code"] for each in checked["findings"] if each["severity"] == "error"} == {"geometry_differs"}
    trained = run_cli("train", "run.yaml")
    assert trained.code == 3
    assert messages[0] in trained.err
    converted = run_cli("data", "convert", "data", "to", "--structures", "ball=1,box=2")
    assert converted.code == 3
    assert any(message in converted.err for message in messages)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
def test_a_label_map_less_than_a_voxel_away_is_a_warning(make, part):
    layout = make(label=moved((0, part, 0)))
    ((severity, code, message),) = found(layout)
    assert (severity, code) == ("warning", "geometry_differs")
    assert f"they lie 0x{part:.3g}x0 voxels apart" in message
    assert layout.read(layout.cases("train")[0]).maps["mask"].any()


def quaternions(affine):
    """The affine that a file has which states a qform alone, in 32 bits."""
    image = nibabel.Nifti1Image(np.zeros(SIZE, np.uint8), None)
    image.set_qform(affine, code=1)
    return image.affine


FAR = LPS + np.array([[0, 0, 0, 123.456], [0, 0, 0, -777.123], [0, 0, 0, -1e3 / 3], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    "label",
    [
        rotated(0.03, FAR).astype(np.float32).astype(float),
        rotated(0.03, FAR).round(4),
        quaternions(rotated(0.03, FAR)),
    ],
)
def test_rounding_of_headers_is_no_difference(make, label):
    layout = make(image=rotated(0.03, FAR), label=label)
    assert np.abs(label - rotated(0.03, FAR)).max() > 0
    assert found(layout) == []


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_label_map_stored_in_another_orientation_at_the_same_place_is_turned(make, exchanged):
    label = np.diag([1.0, 2.0, 3.0, 1.0])
    label[:2, 3] = -15.0, -30.0
    if exchanged:
        label = label[:, [1, 0, 2, 3]]

    def turn(voxels):
        return voxels[::-1, ::-1].transpose(1, 0, 2) if exchanged else voxels[::-1, ::-1]

    layout = make(label=label, turn=turn)
    assert found(layout) == []
    sample = layout.read(layout.cases("train")[0])
    image, masks, _ = bodies(0, SIZE)
    np.testing.assert_array_equal(sample.image[..., 0], image[::-1, ::-1])
    np.testing.assert_array_equal(sample.maps["mask"], np.moveaxis(masks, 0, -1)[::-1, ::-1])


@pytest.mark.parametrize("noise", [1e-7, -1e-7, 1e-5, -1e-5])
def test_axes_halfway_between_two_directions_are_read_alike_in_both_files(make, noise):
    # at 45 degrees, rounding alone would decide which stored axis is read as left to right
    layout = make(image=rotated(45), label=rotated(45 + np.degrees(noise)))
    assert found(layout) == []
    sample = layout.read(layout.cases("train")[0])
    image, masks, _ = bodies(0, SIZE)
    unlike = [np.abs(turned - sample.image[..., 0]).max() > 0 for turned in turns(image)]
    assert unlike.count(False) == 1
    np.testing.assert_array_equal(sample.maps["mask"][..., 0], list(turns(masks[0]))[unlike.index(False)])


def turns(voxels):
    """All ways to exchange and reverse the first two axes."""
    for exchanged in (voxels, voxels.transpose(1, 0, 2)):
        for first in (1, -1):
            for second in (1, -1):
                yield exchanged[::first, ::second]


def test_units_are_compared_in_millimetres(make, workplace):
    layout = make()
    for path in (workplace / "data/labelsTr").iterdir():
        image = nibabel.load(path)
        made = nibabel.Nifti1Image(np.asarray(image.dataobj), np.diag([1e-3, 1e-3, 1e-3, 1]) @ LPS)
        made.header.set_xyzt_units("meter")
        nibabel.save(made, path)
    assert found(layout) == []


def test_a_qform_taken_for_an_unusable_sform_is_a_warning(make, workplace):
    layout = make()
    path = workplace / "data/imagesTr/case_00.nii"
    image = nibabel.load(path.with_suffix(".nii.gz"))
    image.set_qform(LPS, code=1)
    nibabel.save(image, path)
    path.with_suffix(".nii.gz").unlink()
    content = path.read_bytes()
    path.write_bytes(content[:280] + bytes(48) + content[328:])
    ((severity, code, message),) = found(layout)
    assert (severity, code) == ("warning", "unusable_sform")
    assert "so its qform is taken" in message
    assert layout.read(layout.cases("train")[0]).image.shape == (*SIZE, 1)


# ---- labels


@pytest.mark.parametrize("stored", [np.float32(1.0000001), np.float64(0.9995)])
def test_almost_whole_labels_are_taken(make, workplace, stored):
    layout = make()
    path = workplace / "data/labelsTr/case_00.nii.gz"
    labels = np.asarray(nibabel.load(path).dataobj)
    before = layout.read(layout.cases("train")[0]).maps["mask"]
    nibabel.save(nibabel.Nifti1Image(labels * stored, LPS), path)
    np.testing.assert_array_equal(layout.read(layout.cases("train")[0]).maps["mask"], before)


def test_labels_that_a_scale_factor_makes_fractions_are_refused_with_the_value(make, workplace, run_cli):
    layout = make()
    path = workplace / "data/labelsTr/case_00.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj) * np.float32(0.75), LPS), path)
    text = (
        r"label map `.*case_00.nii.gz` holds 0.75 \(\d+ times\) and 1 other such values, but a label is a whole number"
    )
    with pytest.raises(DataError, match=text):
        layout.read(layout.cases("train")[0])
    converted = run_cli("data", "convert", "data", "to")
    assert converted.code == 3
    assert re.search(text, converted.err)


def advice_on(layout):
    with pytest.raises(DataError) as caught:
        layout.read(layout.cases("train")[0])
    return caught.value.hint


def test_the_way_out_of_numbers_of_no_class_never_drops_the_only_foreground(make, workplace):
    before = make().read(make().cases("train")[0]).maps["mask"]
    scaled = make(turn=lambda labels: labels * np.uint8(100))
    assert "set `numbers: [100, 200]`" in advice_on(scaled)
    again = make(turn=lambda labels: labels * np.uint8(100), numbers=[100, 200])
    np.testing.assert_array_equal(again.read(again.cases("train")[0]).maps["mask"], before)
    several = advice_on(make(turn=lambda labels: np.where(labels, labels + 7 + np.indices(labels.shape)[0] % 2, 0)))
    assert (
        several == "numbers of the classes: 1, 2, of which it holds none: state the number of each class with `numbers`"
    )
    third = advice_on(make(turn=lambda labels: np.where(np.indices(labels.shape)[0] == 0, 3, labels)))
    assert third.endswith("add the class, or set `other_labels: ignore`")


# ---- files that are passed over


def test_volumes_that_are_passed_over_are_told(make, workplace):
    layout = make()
    (workplace / "data/imagesTr/case_09.nrrd").write_bytes(b"")
    ((severity, code, message),) = found(layout.__class__(layout.config, layout.spec))
    assert (severity, code) == ("warning", "unread_files")
    assert "holds 1 files of a format that is not read, such as `case_09.nrrd`" in message


def test_further_channels_in_files_of_their_own_are_told(make, workplace):
    layout = make(image_suffix="_0000")
    folder = workplace / "data/imagesTr"
    for path in list(folder.iterdir()):
        content = path.read_bytes()
        for channel in ("0000", "0001"):
            path.with_name(path.name.replace(".nii.gz", f"_{channel}.nii.gz")).write_bytes(content)
        path.unlink()
    ((severity, code, message),) = found(layout)
    assert (severity, code) == ("warning", "unread_files")
    assert "holds 2 files without the suffix `_0000`, such as `case_00_0001.nii.gz`" in message
