"""A folder for each case, in which files may all have one name; masks of single objects; TIFF stacks as volumes."""

import numpy as np
import pytest
import tifffile
from factories import blobs, bodies, volumes_experiment, write_experiment
from PIL import Image
from public_forms import bowl, cases, organs, stack, volume

from segcli.config.load import dataset_from_values
from segcli.core.errors import DataError
from segcli.files import open_picture


def made(root, **keys):
    values = {"name": "x", "paths": {"root": str(root)}, "split": {"by": "lists", "train": ["*"]}, **keys}
    return dataset_from_values(values, source="a test").build()


CASES = {"image_folder": "*", "label_folder": "*", "image_suffix": "image", "label_suffix": "mask"}


def test_an_image_and_its_mask_in_the_folder_of_their_case_have_its_name(tmp_path):
    cases(tmp_path)
    layout = made(tmp_path, **CASES)
    found = layout.cases("train")
    assert [case.id for case in found] == [f"case_{number:02d}" for number in range(6)]
    assert layout.shown(found[2]) == "case_02"
    sample = layout.read(found[2])
    np.testing.assert_array_equal(sample.image, np.array(Image.open(tmp_path / "case_02/image.png")))
    np.testing.assert_array_equal(sample.maps["mask"], np.array(Image.open(tmp_path / "case_02/mask.png")) > 0)


def test_a_case_without_a_mask_is_named_by_its_folder(tmp_path):
    cases(tmp_path)
    (tmp_path / "case_03/mask.png").unlink()
    (finding,) = made(tmp_path, **CASES).inspect("train")
    assert finding.code == "missing_label"
    assert "case_03/image.png` has no mask" in finding.message


def test_masks_of_single_objects_are_read_as_one_mask(tmp_path):
    bowl(tmp_path)
    layout = made(tmp_path, image_folder="*/images", label_folder="*", label_suffix="masks")
    case = layout.cases("train")[2]
    files = sorted((tmp_path / case.id / "masks").iterdir())
    assert len(files) == 4
    expected = np.any([np.array(Image.open(file)) > 0 for file in files], axis=0)
    np.testing.assert_array_equal(layout.read(case).maps["mask"], expected)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(files[-1])
    with pytest.raises(DataError, match=r"is 9x9, but `0b72\.png` beside it is 48x48"):
        layout.read(case)


def test_a_corrected_copy_keeps_the_masks_of_single_objects(run_cli, workplace):
    bowl(workplace / "data")
    assert run_cli("init", "data", "--quiet").code == 0
    assert run_cli("data", "check", "configs/experiments/data.yaml", "--fix", "mended").code == 0
    copied = sorted(path.relative_to(workplace / "mended") for path in (workplace / "mended").rglob("masks/*"))
    assert copied == sorted(path.relative_to(workplace / "data") for path in (workplace / "data").rglob("masks/*"))


def test_only_a_folder_of_masks_beside_that_of_a_single_image_is_one_mask(tmp_path):
    bowl(tmp_path)
    masks = tmp_path / "00f3a9/masks"
    with open_picture(masks, 2) as picture:
        assert picture.size == (48, 48)
    Image.fromarray(blobs(0)[0]).save(tmp_path / "00f3a9/images/more.png")
    with pytest.raises(DataError):
        open_picture(masks, 2)


def test_predictions_of_cases_whose_files_have_one_name_are_kept_apart(run_cli, workplace):
    for number in range(4):
        image, labels = organs(number)
        volume(workplace / f"data/c{number}/scan.nii.gz", image)
        volume(workplace / f"data/c{number}/truth.nii.gz", labels)
    keys = {"format": "nifti_volumes", "classes": ["ball", "box"], "split": {"val": ["c1"], "test": ["c2", "c3"]}}
    keys |= {"image_folder": "*", "label_folder": "*", "image_suffix": "scan", "label_suffix": "truth"}
    own = {f"dataset__{key}": value for key, value in keys.items()}
    values = volumes_experiment(workplace / "data", training__epochs=1, data__patch_size=[8, 8, 8], **own)
    values["output"] = {"save_predictions": True}
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0
    scored = run_cli("eval", "tiny", "--split", "test")
    assert scored.code == 0, scored.err
    assert {path.name for path in workplace.rglob("predictions/*.nii.gz")} == {"c2.nii.gz", "c3.nii.gz"}
    found = run_cli("predict", "data/c2/scan.nii.gz", "data/c3/scan.nii.gz", "--run", "tiny", "--out", "found")
    assert found.code == 0, found.err
    assert {path.name for path in (workplace / "found").glob("*.nii.gz")} == {"c2.nii.gz", "c3.nii.gz"}


def test_tiff_stacks_are_volumes_where_their_extension_is_stated(tmp_path):
    image, masks, _ = bodies(0)
    stack(tmp_path / "a.tif", (image * 99).clip(0, 255).astype(np.uint8))
    stack(tmp_path / "a_mask.tif", masks[1].astype(np.uint8))
    keys = {"format": "nifti_volumes", "extensions": ["tif"], "classes": ["box"], "label_suffix": "_mask"}
    layout = made(tmp_path, image_folder=".", label_folder=".", **{**keys, "split": {"train": ["a"]}})
    (case,) = layout.cases("train")
    sample = layout.read(case)
    np.testing.assert_array_equal(sample.image[..., 0], tifffile.imread(tmp_path / "a.tif"))
    np.testing.assert_array_equal(sample.maps["mask"][..., 0], tifffile.imread(tmp_path / "a_mask.tif"))
