"""Volumes in HDF5 files: what is read, what is found wrong, and that workers of any kind read the same."""

import json
import pickle
import re

import h5py
import numpy as np
import pytest
import yaml
from factories import bodies, volumes_experiment, write_experiment, write_hdf5

from segcli.config.load import load_dataset, load_run
from segcli.core.errors import DataError
from segcli.files.hdf5 import HDF5


@pytest.fixture
def make(workplace):
    """Write a data set and give its layout; keys are those of the data-set file."""

    def call(**keys):
        if not (workplace / "data").exists():
            write_hdf5(workplace / "data")
        file = workplace / "set.yaml"
        file.write_text(yaml.safe_dump({"format": "hdf5_volumes", "paths": {"root": "data"}, **keys}))
        return load_dataset(file, whole_run=False).build()

    return call


def change(workplace, split="train", **datasets):
    with h5py.File(workplace / f"data/{split}.h5", "a") as file:
        for key, value in datasets.items():
            if key in file:
                del file[key]
            if value is not None:
                file[key] = value


def errors(layout, split="train"):
    return [finding.message for finding in layout.inspect(split) if finding.severity == "error"]


def test_a_case_has_the_voxels_masks_and_scenario_that_were_written(make):
    layout = make()
    case = layout.cases("train")[1]
    image, masks, scenario = bodies(1)
    layout.read(layout.cases("train")[0])  # the file is opened in another way from the second time on
    sample = layout.read(case)
    np.testing.assert_array_equal(sample.image[..., 0], image)
    np.testing.assert_array_equal(sample.maps["mask"], np.moveaxis(masks, 0, -1))
    assert case.group == scenario == "ball_only"
    assert layout.spacing(case) == (2.0, 1.0, 3.0)
    assert layout.names == ["ball", "box"]


def test_names_come_from_the_file_where_each_case_has_its_own(make, workplace):
    layout = make()
    assert [case.id for case in layout.cases("train")][:2] == ["0000", "0001"]
    change(workplace, case_ids=[f"patient_{index}" for index in range(6)])
    assert [case.id for case in make().cases("train")][:2] == ["patient_0", "patient_1"]
    change(workplace, case_ids=["the same"] * 6)
    assert make().cases("train")[1].id == "0001"


def test_channels_are_read_from_the_file_and_go_last(workplace, make):
    write_hdf5(workplace / "data", channels=2)
    layout = make()
    assert layout.spec.num_channels == 2
    assert layout.read(layout.cases("val")[0]).image.shape == (16, 16, 8, 2)


def test_an_intensity_range_becomes_0_to_1_and_cuts_the_rest_off(make):
    layout = make(intensity_range=[0.4, 0.6])
    image = layout.read(layout.cases("train")[0]).image
    assert (image.min(), image.max()) == (0.0, 1.0)
    expected = np.clip((bodies(0)[0] - 0.4) / 0.2, 0, 1)
    np.testing.assert_allclose(image[..., 0], expected, atol=1e-6)


FAULTS = {
    "missing dataset": ({"masks": None}, "has no dataset `masks`; it has images, presence_labels, scenarios"),
    "flag of what is not there": (
        {"presence_labels": np.ones((6, 2), np.uint8)},
        r"train.h5\[1\]` \(0001\): the presence flag of `box` is 1, but its mask is empty",
    ),
    "other structures": (
        {"masks": np.zeros((6, 3, 16, 16, 8), np.uint8), "presence_labels": np.zeros((6, 3), np.uint8)},
        r"metadata.json` says `num_structures: 2`, but `.*train.h5` has 3 masks per case",
    ),
    "other size": (
        {"masks": np.zeros((6, 2, 16, 16, 9), np.uint8)},
        "`images` are 6x16x16x8, `masks` 6x2x16x16x9: their sizes differ",
    ),
    "other count": ({"presence_labels": np.zeros((5, 2), np.uint8)}, "has 6 images, 6 masks and 5 presence flags"),
    "other count than scenarios": ({"images": np.zeros((5, 16, 16, 8))}, "has 5 images, 6 masks and 6 presence flags"),
    "negative masks": (
        {"masks": np.full((6, 2, 16, 16, 8), -1, np.int8)},
        r"the masks of `.*train.h5\[0\]` hold -1, but a mask holds 0 and 1",
    ),
    "channels last": ({"images": np.zeros((6, 16, 16, 8, 1))}, "`images` have their channels last"),
    "structures last": ({"masks": np.zeros((6, 16, 16, 8, 2))}, "`masks` have their structures last"),
    "axes": ({"images": np.zeros((6, 16, 16))}, "`images` are 6x16x16, `masks`"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_one_sentence_in_the_check_and_at_the_start_of_a_training(fault, make, workplace, run_cli):
    datasets, sentence = FAULTS[fault]
    make()
    change(workplace, **datasets)
    (first, *_) = errors(make())
    assert re.search(sentence, first), first
    checked = run_cli("data", "check", "set.yaml", "--json")
    assert checked.code == 1
    assert first in [finding["message"] for finding in json.loads(checked.out)["findings"]]
    config = write_experiment(workplace / "tiny.yaml", volumes_experiment(workplace / "data"))
    trained = run_cli("train", config)
    assert trained.code == 3
    assert first in " ".join(trained.err.split())
    assert "Traceback" not in trained.err


def test_a_file_that_is_cut_off_is_told(make, workplace):
    make()
    path = workplace / "data/train.h5"
    path.write_bytes(path.read_bytes()[:3000])
    assert errors(make()) == ["`data/train.h5` is truncated: it ends before its data"]
    path.write_bytes(b"something else")
    assert errors(make()) == ["`data/train.h5` is not an HDF5 file"]
    path.unlink()
    assert errors(make()) == ["no file `data/train.h5`"]


def test_metadata_that_contradict_themselves_or_the_files_are_told(make, workplace):
    write_hdf5(workplace / "data", num_structures=3)
    assert "says `num_structures: 3`, but `data/train.h5` has 2 masks" in errors(make())[0]
    write_hdf5(workplace / "data", image_size=[32, 32, 32])
    (warning,) = make().inspect("val")
    assert (warning.severity, warning.code) == ("warning", "wrong_image_size")
    (workplace / "data/metadata.json").write_text("{")
    layout = make(classes=["ball", "box"])
    assert [finding.code for finding in layout.inspect("val")] == ["no_metadata"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_metadata_may_begin_with_a_byte_order_mark(make, workplace, encoding):
    make()
    path = workplace / "data/metadata.json"
    path.write_text(path.read_text(), encoding=encoding)
    layout = make()
    assert layout.names == ["ball", "box"]
    assert list(layout.inspect("train")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"structure_names": ["ball", "box"]\n"x": 1}', "metadata.json:3` is not valid JSON"),
        ("[]", "metadata.json` holds no keys"),
        ('{"structure_names": "ball, box"}', 'says `structure_names: "ball, box"`, but it must be a list of'),
        (
            '{"structure_names": ["ball", "box"], "spacing_mm": ["1 mm", 1, 1]}',
            'says `spacing_mm: ["1 mm", 1, 1]`, but it must be three positive numbers',
        ),
        ('{"structure_names": ["ball", "box"], "spacing_mm": [1, 1, NaN]}', "must be three positive numbers"),
        ('{"structure_names": ["ball", "ball"]}', "but it must be a list of different names"),
        (
            '{"structure_names": ["ball", "box"], "num_structures": "2"}',
            '`num_structures: "2"`, but it must be a whole',
        ),
    ],
)
def test_metadata_that_cannot_be_used_are_blamed_and_no_other_key(make, workplace, run_cli, text, message):
    make()
    (workplace / "data/metadata.json").write_text(text)
    config = write_experiment(workplace / "tiny.yaml", volumes_experiment(workplace / "data"))
    for arguments in (("data", "check", "set.yaml"), ("train", config, "--dry-run")):
        told = run_cli(*arguments)
        assert told.code == 2
        assert message in " ".join(told.err.split())
        assert "1 problem in" in told.err
        assert "num_classes" not in told.err


def test_each_kind_of_fault_has_a_name_of_its_own(make, workplace):
    make()
    change(workplace, masks=np.zeros((6, 3, 16, 16, 8), np.uint8))
    assert [finding.code for finding in make().inspect("train")] == ["wrong_num_structures"]
    change(workplace, masks=None)
    assert [finding.code for finding in make().inspect("train")] == ["unreadable_file"]


def test_masks_that_hold_more_than_0_and_1_are_refused(make, workplace):
    make()
    masks = np.zeros((6, 2, 16, 16, 8), np.uint8)
    masks[:, :, 3] = 1
    masks[2, 0, 5] = 7
    change(workplace, masks=masks, presence_labels=np.ones((6, 2), np.uint8))
    layout = make()
    with pytest.raises(DataError, match=r"the masks of `data/train.h5\[2\]` hold 0, 1, 7, but a mask holds 0 and 1"):
        layout.read(layout.cases("train")[2])


def test_masks_in_floating_point_are_taken_where_they_are_whole_within_a_thousandth(make, workplace):
    layout = make()
    case = layout.cases("train")[0]
    before = layout.read(case).maps["mask"]
    masks = np.moveaxis(before, -1, 0)[None].repeat(6, axis=0).astype(np.float32) + np.float32(2e-4)
    flags = masks.reshape(6, 2, -1).max(axis=2) > 0.5
    change(workplace, masks=masks, presence_labels=flags.astype(np.uint8))
    layout = make()
    assert errors(layout) == []
    np.testing.assert_array_equal(layout.read(layout.cases("train")[0]).maps["mask"], before)
    masks[1, 0, 3, 3, 3] = 0.25
    change(workplace, masks=masks)
    text = r"mask of `data/train.h5\[1\]` holds 0.25 \(1 times\), but a label is a whole number"
    assert re.search(text, errors(make())[0])
    with pytest.raises(DataError, match=text):
        layout.read(layout.cases("train")[1])


def test_cases_on_scales_of_their_own_are_told_with_the_setting_that_helps(make, workplace, run_cli):
    make()
    images = np.stack([bodies(index)[0] for index in range(6)]) * np.array([1, 10, 1e3, 1, 1e4, 5])[:, None, None, None]
    change(workplace, images=images.astype(np.float32))
    config = write_experiment(workplace / "tiny.yaml", volumes_experiment(workplace / "data"))
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    (told,) = [finding for finding in found if finding["code"] == "intensities_differ"]
    assert told["severity"] == "info"
    assert load_run(config).data.preprocessing.normalize == "per_image"
    stated = volumes_experiment(workplace / "data", dataset__mean=[0.5], dataset__std=[0.1])
    found = json.loads(run_cli("data", "check", write_experiment(config, stated), "--json").out)["findings"]
    (told,) = [finding for finding in found if finding["code"] == "intensities_differ"]
    assert told["severity"] == "warning"
    assert "data.preprocessing.normalize=per_image" in told["hint"]


def test_the_check_counts_in_how_many_cases_a_structure_is_present(make, run_cli):
    make()
    splits = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["splits"]
    assert splits[0]["present"] == {"ball": 5, "box": 4}
    assert splits[0]["groups"] == {"both": 3, "ball_only": 2, "box_only": 1}


def test_nothing_open_is_pickled_and_the_main_process_keeps_no_handle(make):
    layout = make()
    case = layout.cases("train")[0]
    first, second = layout.read(case), layout.read(case)  # opened by h5py, then in the same way without its objects
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.maps["mask"], second.maps["mask"])
    again = pickle.loads(pickle.dumps(layout.files["train"]))
    assert isinstance(again, HDF5)
    assert layout.files["train"]._kept is None
    h5py.File(case.image, "a").close()  # which HDF5 refuses while it is open elsewhere


def test_flags_that_are_whole_within_a_thousandth_count_as_0_and_1(make, workplace):
    make()
    with h5py.File(workplace / "data/train.h5") as file:
        flags = file["presence_labels"][:].astype(np.float32)
    change(workplace, presence_labels=np.abs(flags - np.float32(1e-6)))
    assert errors(make()) == []
    change(workplace, presence_labels=np.abs(flags - np.float32(0.01)))
    assert errors(make())[0].endswith("is 0.99, but a flag is 0 or 1 (and 11 more such flags)")


def test_channels_that_come_last_are_counted_as_channels_and_the_hint_gives_the_right_order(make, workplace):
    make()
    with h5py.File(workplace / "data/train.h5") as file:
        images = np.stack([file["images"][:]] * 2, -1)
    change(workplace, images=images)
    layout = make()
    assert layout.spec.num_channels == 2
    (told,) = [finding for finding in layout.inspect("train") if finding.severity == "error"]
    assert told.hint == "write them second, such as with `numpy.moveaxis(images, -1, 1)`"
    change(workplace, images=np.moveaxis(images, -1, 1))
    assert errors(make()) == []


def test_a_class_is_not_called_absent_where_no_mask_could_be_read(make, workplace, run_cli):
    make()
    change(workplace, images=np.full((6, 16, 16, 8), np.nan, np.float32))
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    assert "unreadable_case" in [each["code"] for each in found]
    assert [each["message"] for each in found if each["code"] == "absent_class"] == []


def test_a_damaged_case_is_told_with_its_dataset_and_its_number(make, workplace):
    make()
    with h5py.File(path := next(workplace.rglob("train.h5")), "r+") as file:
        shape = file["images"].shape
        images = file["images"][()]
        del file["images"]
        stored = file.create_dataset("images", data=images, chunks=(1, *shape[1:]), compression="gzip")
        stored.id.write_direct_chunk((1, *(0 for _ in shape[1:])), b"rubbish", 0)
    HDF5(path).rows(["images"], 0)
    with pytest.raises(DataError, match=r"cannot read `images` of `.*train\.h5\[1\]` \("):
        HDF5(path).rows(["images"], 1)
