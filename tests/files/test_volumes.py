"""Volumes read by window, and written plane by plane."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from segcli import files
from segcli.core.errors import DataError
from segcli.data.images import read_voxels
from segcli.files import create, is_picture_folder, nifti, open_picture, read_header

OBLIQUE = np.array([[0.0, -1.5, 0.0, 10.0], [-2.0, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
"""Axes that are exchanged and reversed."""
VOXELS = np.random.default_rng(0).integers(0, 60000, (9, 21, 33)).astype(np.uint16)
CHANNELS = np.random.default_rng(1).integers(0, 255, (9, 21, 33, 3)).astype(np.uint8)


def check(path, expected, index=None):
    """Windows have the voxels and the type of the whole."""
    volume = open_picture(Path(path), 3, index)
    assert volume is not None
    assert (volume.size, volume.channels) == (expected.shape[:3], expected.shape[3])
    length, *rest = volume.size
    for window in (
        tuple(slice(0, length) for length in volume.size),
        (slice(2, 7), slice(5, 6), slice(8, rest[1])),
        (slice(length - 1, length), slice(0, rest[0]), slice(0, 1)),
    ):
        part = volume.read(window)
        np.testing.assert_array_equal(part, expected[window])
        assert part.dtype == expected.dtype
    np.testing.assert_array_equal(volume.read(), expected)
    volume.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "tile": (16, 16), "bigtiff": True, "predictor": True},
        {"compression": "lzw", "rowsperstrip": 5},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
    ],
)
def test_windows_of_a_tiff_stack_are_its_voxels(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, **options)
    check(tmp_path / "a.tif", VOXELS[..., None])


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "ZYXS"])
def test_channels_of_a_tiff_stack_are_found_wherever_they_are(tmp_path, axes):
    stored = CHANNELS.transpose(["ZYXC".index(letter) for letter in axes.replace("S", "C")])
    kind = "rgb" if axes == "ZYXS" else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=kind, compression="zlib", metadata={"axes": axes})
    check(tmp_path / "a.tif", CHANNELS)
    np.testing.assert_array_equal(read_voxels(tmp_path / "a.tif"), CHANNELS)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_windows_of_nifti_are_those_of_nibabel_in_the_canonical_order(tmp_path, name):
    nibabel.save(nibabel.Nifti1Image(VOXELS, OBLIQUE), tmp_path / name)
    turned = nibabel.as_closest_canonical(nibabel.load(tmp_path / name))
    expected = np.asarray(turned.dataobj)[..., None]
    check(tmp_path / name, expected)
    np.testing.assert_array_equal(read_voxels(tmp_path / name), expected)
    header = read_header(tmp_path / name, 3)
    assert (header.size, header.spacing) == (turned.shape, pytest.approx(turned.header.get_zooms()))


def test_scaled_and_big_endian_values_of_nifti_are_those_of_nibabel(tmp_path):
    image = nibabel.Nifti1Image(VOXELS.astype(np.float32) / 7, OBLIQUE, nibabel.Nifti1Header(endianness=">"))
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    loaded = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii"))
    expected = np.asarray(loaded.dataobj, dtype=np.float32)[..., None]
    volume = open_picture(tmp_path / "a.nii", 3)
    np.testing.assert_allclose(volume.read(tuple(slice(0, length) for length in volume.size)), expected, rtol=1e-6)
    volume.close()


def test_a_packed_nifti_file_that_is_cut_off_is_told(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VOXELS, OBLIQUE), tmp_path / "a.nii.gz")
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: len(content) // 2])
    with open_picture(tmp_path / "a.nii.gz", 3) as volume:
        with pytest.raises(DataError, match=r"cannot read volume `.*a.nii.gz`"):
            volume.read()
        with pytest.raises(DataError, match=r"cannot read volume `.*a.nii.gz`"):
            volume.read((slice(0, 1),) * 3)


def test_windows_of_hdf5_are_those_of_the_case(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=np.stack([VOXELS, VOXELS[::-1]]), chunks=(1, 4, 8, 8), compression="gzip")
    check(tmp_path / "a.h5", VOXELS[::-1, ..., None], index=1)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"] = np.moveaxis(CHANNELS, -1, 0)[None]
    check(tmp_path / "b.h5", CHANNELS, index=0)


def test_windows_of_zarr_volumes_are_their_voxels_whatever_the_order_of_axes(tmp_path):
    for name, stored in (("zyx", VOXELS), ("czyx", np.moveaxis(CHANNELS, -1, 0)), ("zyxc", CHANNELS)):
        path = tmp_path / f"{name}.zarr"
        array = zarr.create_array(str(path), shape=stored.shape, dtype=stored.dtype, chunks=(4,) * stored.ndim)
        array[:] = stored
        assert is_picture_folder(path, 3)
        check(path, VOXELS[..., None] if name == "zyx" else CHANNELS)
    array = zarr.create_array(str(tmp_path / "flat.zarr"), shape=(50, 60), dtype="u1")
    with pytest.raises(DataError, match="one volume was expected"):
        open_picture(tmp_path / "flat.zarr", 3)


def test_small_volumes_are_left_to_be_read_as_a_whole(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, compression="zlib")
    nibabel.save(nibabel.Nifti1Image(VOXELS, OBLIQUE), tmp_path / "a.nii.gz")
    for name in ("a.tif", "a.nii.gz"):
        for least in (VOXELS.size, VOXELS.size + 1):
            monkeypatch.setattr(files, "LARGE", least)
            with open_picture(tmp_path / name, 3) as volume:
                assert volume.is_large == (least == VOXELS.size)


# ---- writing


def write(path, voxels, like, channels=0):
    with create(path, voxels.shape[:3], voxels.dtype, like=like, channels=channels) as add:
        for start in range(0, len(voxels), 4):
            add(voxels[start : start + 4])


@pytest.mark.parametrize("at_once", [2**26, 1000, 1])
@pytest.mark.parametrize("name", ["b.nii", "b.nii.gz"])
def test_nifti_that_is_written_plane_by_plane_has_the_geometry_of_its_input(tmp_path, monkeypatch, name, at_once):
    monkeypatch.setattr(nifti, "AT_ONCE", at_once)
    nibabel.save(nibabel.Nifti1Image(VOXELS, OBLIQUE), tmp_path / "a.nii")
    write(tmp_path / name, read_voxels(tmp_path / "a.nii")[..., 0], tmp_path / "a.nii")
    back = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(back.dataobj), VOXELS)
    np.testing.assert_allclose(back.affine, OBLIQUE)
    assert int(back.header["sform_code"]) == 2
    values = np.random.default_rng(0).random((*back.shape, 2)).astype(np.float32).transpose(1, 0, 2, 3)
    write(tmp_path / name, values, tmp_path / "a.nii", channels=2)
    np.testing.assert_array_equal(read_voxels(tmp_path / name), values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", name]


def test_a_stack_that_is_written_plane_by_plane_is_tiled_and_keeps_its_spacing(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (9, 600, 530)).astype(np.uint8)
    about = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", voxels, imagej=True, resolution=(4, 2), metadata=about)
    write(tmp_path / "b.tif", voxels, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert (tiff.pages[0].is_tiled, len(tiff.pages), tiff.series[0].axes) == (True, 9, "ZYX")
        assert tiff.pages[0].compression != 1
    check(tmp_path / "b.tif", voxels[..., None])
    assert read_header(tmp_path / "b.tif", 3).spacing == pytest.approx((2e-3, 0.5e-3, 0.25e-3))


def test_zarr_keeps_the_axes_and_the_scale_of_its_group(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.create_array("s0", shape=(1, *VOXELS.shape), dtype=VOXELS.dtype)[:] = VOXELS[None]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = {"type": "scale", "scale": [1.0, 2.0, 0.5, 0.25]}
    told = {"axes": [{"name": "c"}, *axes], "datasets": [{"path": "s0", "coordinateTransformations": [scale]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [told]}
    write(tmp_path / "b.zarr", VOXELS, tmp_path / "a.zarr")
    check(tmp_path / "b.zarr", VOXELS[..., None])
    found = zarr.open(str(tmp_path / "b.zarr"), mode="r").attrs["ome"]["multiscales"][0]
    assert found["axes"] == axes
    assert found["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
    write(tmp_path / "b.zarr", VOXELS + np.uint16(1), tmp_path / "a.zarr")  # one that is there is replaced
    check(tmp_path / "b.zarr", VOXELS[..., None] + np.uint16(1))


def test_numpy_files_have_their_channels_first(tmp_path):
    write(tmp_path / "a.npy", CHANNELS, None, channels=3)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.moveaxis(CHANNELS, -1, 0))


@pytest.mark.parametrize("name", ["b.tif", "b.nii.gz", "b.npy", "b.zarr"])
def test_a_volume_whose_writing_failed_is_not_there(tmp_path, name):
    def fail():
        with create(tmp_path / name, VOXELS.shape, np.uint16, like=None) as add:
            add(VOXELS[:4])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
