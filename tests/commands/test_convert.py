"""`data convert`: what was in the folders is in the files, and trains."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tifffile
import yaml
from factories import blobs, bodies, volumes_experiment, write_experiment, write_folders, write_nifti

from segcli.config.load import load_dataset


def converted(run_cli, *arguments):
    result = run_cli("data", "convert", *arguments, "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_nifti_folders_become_files_with_every_voxel_in_its_place(run_cli, workplace):
    pytest.importorskip("nibabel")
    write_nifti(workplace / "from", 6, vary=True)
    made = converted(run_cli, "from", "to", "--structures", "ball=1,box=2", "--val", 0.34)
    assert made["images"] == {"train": 4, "val": 2}
    assert made["shape"] == [20, 16, 8]
    about = json.loads(Path("to/metadata.json").read_text())
    assert about["structure_names"] == ["ball", "box"]
    assert about["spacing_mm"] == [2.0, 1.0, 3.0]
    seen = set()
    for split in ("train", "val"):
        with h5py.File(f"to/{split}.h5") as file:
            for index, name in enumerate(file["case_ids"].asstr()[:]):
                number = int(name.removeprefix("case_"))
                seen.add(number)
                length = 16 + 2 * (number % 3)
                image, masks, scenario = bodies(number, (length, 16, 8))
                before = (20 - length) // 2
                window = slice(before, before + length)
                np.testing.assert_array_equal(file["images"][index][window], image)
                np.testing.assert_array_equal(file["masks"][index][:, window], masks)
                assert file["masks"][index].sum() == masks.sum()
                np.testing.assert_array_equal(file["presence_labels"][index], masks.any(axis=(1, 2, 3)))
                assert file["scenarios"].asstr()[index] == {"both": "all"}.get(scenario, scenario)
    assert seen == set(range(6))
    assert run_cli("data", "check", "to/dataset.yaml").code == 0


def test_volumes_can_be_resized_and_then_have_another_spacing(run_cli, workplace):
    pytest.importorskip("nibabel")
    write_nifti(workplace / "from", 5)
    made = converted(run_cli, "from", "to", "--size", "8,16,8", "--fit", "resize")
    assert made["structures"] == {"structure_1": 1, "structure_2": 2}
    assert json.loads(Path("to/metadata.json").read_text())["spacing_mm"] == [4.0, 1.0, 3.0]
    with h5py.File("to/train.h5") as file:
        assert file["images"].shape[1:] == (8, 16, 8)


def test_pictures_with_masks_become_volumes_of_one_slice_and_keep_their_split(run_cli, workplace):
    write_folders(workplace / "from")
    made = converted(run_cli, "from", "to")
    assert made["images"] == {"train": 6, "val": 2, "test": 2}
    assert made["structures"] == {"foreground": 255}
    with h5py.File("to/val.h5") as file:
        assert file["images"].shape == (2, 3, 48, 48, 1)
        image, mask = blobs(1000)
        np.testing.assert_array_equal(file["masks"][0, 0, :, :, 0], mask > 0)
        np.testing.assert_array_equal(file["images"][0, :, :, :, 0], image[:, :, ::-1].transpose(2, 0, 1))
    assert load_dataset(Path("to/dataset.yaml"), whole_run=False).num_channels == 3


def test_folders_of_slices_become_volumes_that_train(run_cli, workplace):
    for index in range(5):
        image, masks, _ = bodies(index)
        for kind, voxels in (("images", image * 255), ("labels", masks[0] + 2 * masks[1])):
            folder = workplace / f"from/{kind}/case{index}"
            folder.mkdir(parents=True)
            for depth in range(8):
                cv2.imwrite(str(folder / f"slice_{depth}.png"), voxels[:, :, depth].astype(np.uint8))
    made = converted(run_cli, "from", "to")
    assert made["shape"] == [16, 16, 8]
    with h5py.File("to/val.h5") as file:
        (name,) = file["case_ids"].asstr()[:]
        masks = bodies(int(name.removeprefix("case")))[1]
        np.testing.assert_array_equal(file["masks"][0], masks)
    values = volumes_experiment(workplace / "to", training__epochs=1)
    assert run_cli("train", write_experiment(workplace / "tiny.yaml", values)).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere", "to"], 3, "no folder `nowhere`"),
        (["from", "to", "--size", "3,4"], 2, "`3,4` is not three sizes such as 64,64,32"),
        (["from", "to", "--fit", "squeeze"], 2, "`squeeze` is neither pad nor resize"),
        (["from", "to", "--structures", "ball"], 2, "structure `ball` is not NAME=NUMBER"),
        (["from", "from"], 2, "folder `from` is not empty"),
        (["from", "to", "--images", "photos"], 3, "`from/train` has no folders of images and labels"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, code, told, run_cli, workplace):
    write_folders(workplace / "from", {"train": 2, "val": 1})
    result = run_cli("data", "convert", *arguments)
    assert result.code == code
    assert told in " ".join(result.err.replace("│", " ").split())
    assert "Traceback" not in result.err


def test_an_image_without_labels_is_named(run_cli, workplace):
    write_folders(workplace / "from", {"train": 2})
    (workplace / "from/train/label/01.png").unlink()
    result = run_cli("data", "convert", "from", "to")
    assert result.code == 3
    assert "image `from/train/image/01.png` has no labels" in " ".join(result.err.split())
    assert not list(Path("to").glob("*.h5")) if Path("to").exists() else True


def test_names_come_from_the_decathlons_own_file(run_cli, workplace):
    pytest.importorskip("nibabel")
    write_nifti(workplace / "from", 3)
    Path("from/dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "ball", "2": "box"}}))
    assert converted(run_cli, "from", "to")["structures"] == {"ball": 1, "box": 2}
    Path("set.yaml").write_text(yaml.safe_dump({"format": "nifti_volumes", "paths": {"root": "from"}}))
    assert load_dataset(Path("set.yaml"), whole_run=False).build().names == ["ball", "box"]


def slices_of_cases(root, raw, mask):
    for index in range(4):
        image, masks, _ = bodies(index)
        for kind, voxels, numbers in (("images", image * 255, raw), ("labels", masks[0] + 2 * masks[1], mask)):
            folder = root / kind / f"case{index}"
            folder.mkdir(parents=True)
            for depth in numbers:
                cv2.imwrite(str(folder / f"slice_{depth}.png"), voxels[:, :, depth].astype(np.uint8))


def test_slices_without_a_partner_are_refused_before_anything_is_written(run_cli, workplace):
    slices_of_cases(workplace / "from", [0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 7])
    result = run_cli("data", "convert", "from", "to")
    assert result.code == 3
    assert "slices 3 and 6 have no partner" in result.err
    assert not (workplace / "to").exists()


def test_slices_of_different_bits_or_size_are_refused_with_their_names(run_cli, workplace):
    slices_of_cases(workplace / "from", range(8), range(8))
    path = workplace / "from/images/case2/slice_3.png"
    for odd, said in ((np.zeros((16, 16), np.uint16), "of uint16, but"), (np.zeros((16, 15), np.uint8), "16x15x1 of")):
        cv2.imwrite(str(path), odd)
        result = run_cli("data", "convert", "from", "to")
        assert result.code == 3
        assert "from/images/case2/slice_3.png` is " in result.err
        assert said in result.err


def test_two_files_of_one_case_are_refused(run_cli, workplace):
    write_folders(workplace / "from")
    image = cv2.imread("from/train/image/01.png")
    cv2.imwrite("from/train/image/01.tif", image)
    result = run_cli("data", "convert", "from", "to")
    assert result.code == 3
    assert "in `from/train/image` are both case `01`" in result.err
    assert not (workplace / "to").exists()


@pytest.mark.parametrize("append", [False, True])
def test_a_tiff_stack_is_a_volume_with_its_pages_in_order(run_cli, workplace, append):
    for kind in ("images", "labels"):
        (workplace / "from" / kind).mkdir(parents=True)
    for index in range(3):
        image, masks, _ = bodies(index, (8, 16, 16))
        for kind, voxels in (("images", (image * 255).astype(np.uint8)), ("labels", masks[0].astype(np.uint8))):
            path = f"from/{kind}/case{index}.tif"
            if append:
                for z, plane in enumerate(voxels):
                    tifffile.imwrite(path, plane, append=z > 0)
            else:
                tifffile.imwrite(path, voxels)
    converted(run_cli, "from", "to", "--val", 0.34)
    with h5py.File("to/train.h5") as file:
        for index, name in enumerate(file["case_ids"].asstr()[:]):
            with tifffile.TiffFile(f"from/images/{name}.tif") as stack:
                planes = [page.asarray() for page in stack.pages]
            np.testing.assert_array_equal(file["images"][index], planes)
            np.testing.assert_array_equal(
                file["masks"][index, 0], tifffile.imread(f"from/labels/{name}.tif", key=slice(None))
            )


def test_a_zarr_folder_is_a_volume_as_image_and_as_label(run_cli, workplace):
    zarr = pytest.importorskip("zarr")
    for index in range(4):
        image, masks, _ = bodies(index)
        numbers = (masks[0] + 2 * masks[1]).astype(np.uint8)
        for kind, voxels in (("images", image), ("labels", numbers)):
            place = workplace / f"from/{kind}/case{index}.zarr"
            zarr.create_array(place, shape=voxels.shape, dtype=voxels.dtype)[...] = voxels
    made = converted(run_cli, "from", "to", "--val", 0.5)
    assert made["images"] == {"train": 2, "val": 2}
    for split in ("train", "val"):
        with h5py.File(f"to/{split}.h5") as file:
            for index, name in enumerate(file["case_ids"].asstr()[:]):
                image, masks, _ = bodies(int(name.removeprefix("case")))
                np.testing.assert_array_equal(file["images"][index], image)
                np.testing.assert_array_equal(file["masks"][index], masks)


def test_channels_in_files_of_their_own_become_the_channels_of_a_case(run_cli, workplace):
    nibabel = pytest.importorskip("nibabel")
    write_nifti(workplace / "from", 4)
    for path in sorted((workplace / "from/imagesTr").iterdir()):
        image = nibabel.load(path)
        for channel in range(2):
            other = nibabel.Nifti1Image(image.get_fdata() * (1 + channel), image.affine)
            nibabel.save(other, path.with_name(path.name.replace(".nii.gz", f"_{channel:04d}.nii.gz")))
        path.unlink()
    made = converted(run_cli, "from", "to", "--val", 0.25)
    assert made["images"] == {"train": 3, "val": 1}
    with h5py.File("to/train.h5") as file:
        assert file["images"].shape[1] == 2
        name = file["case_ids"].asstr()[0]
        expected = [nibabel.load(f"from/imagesTr/{name}_{each:04d}.nii.gz").get_fdata() for each in range(2)]
        np.testing.assert_allclose(file["images"][0], np.stack(expected), rtol=1e-6)
    assert run_cli("data", "check", "to/dataset.yaml").code == 0
    Path("from/imagesTr/case_02_0001.nii.gz").unlink()
    result = run_cli("data", "convert", "from", "again")
    assert result.code == 3
    assert "has no labels" in result.err
