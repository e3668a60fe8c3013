"""What headers of NIfTI files state, written with nibabel or by hand."""

import gzip

import nibabel
import numpy as np
import pytest

from segcli.core.errors import DataError
from segcli.data.images import read_voxels
from segcli.files import create, open_picture, read_header

VOXELS = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)
PLACED = np.array([[0.0, -1.5, 0.0, 10.0], [-2.0, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


def write(path, voxels=VOXELS, affine=PLACED, **fields):
    """A file with fields of its header replaced, whatever nibabel thinks of them."""
    header = nibabel.Nifti1Image(voxels, affine).header
    header["vox_offset"] = 352
    stored = header.structarr.copy()
    for name, value in fields.items():
        stored[name] = value
    content = stored.tobytes() + bytes(4) + voxels.tobytes("F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def predicted(path, target):
    """The file that a prediction for `path` is written to."""
    voxels = read_voxels(path)[..., 0]
    with create(target, voxels.shape, voxels.dtype, like=path) as add:
        add(voxels)
    return nibabel.load(target)


# ---- geometry


def test_a_stated_qform_replaces_an_sform_of_zeros(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, PLACED)
    image.set_qform(PLACED, code=1)
    stored = image.header.structarr
    fields = {name: stored[name] for name in stored.dtype.names if name != "vox_offset"}
    good = read_voxels(write(tmp_path / "a.nii", **fields))
    path = write(tmp_path / "b.nii", **fields | {"srow_x": 0, "srow_y": 0, "srow_z": 0})
    header = read_header(path, 3)
    assert header.spacing == pytest.approx((1.5, 2.0, 3.0))
    np.testing.assert_array_equal(read_voxels(path), good)
    assert "so its qform is taken" in header.grid.remark
    np.testing.assert_allclose(predicted(path, tmp_path / "c.nii").affine, PLACED, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"srow_x": 0, "srow_y": 0, "srow_z": 0}, r"the sform of `.*a.nii` gives its voxels no position: \[\[0.0, 0.0"),
        ({"srow_x": np.nan}, r"the sform of `.*a.nii` gives its voxels no position: \[\[nan"),
        ({"srow_x": [1, 0, 0, 0], "srow_y": [1, 0, 0, 0]}, r"the sform of `.*a.nii` gives"),
        ({"srow_x": np.inf}, r"the sform of `.*a.nii` gives"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 1, "quatern_c": 1}, "the qform of `.*a.nii` is no rotation"),
        (
            {"sform_code": 0, "qform_code": 1, "qoffset_x": np.nan},
            "the qform of `.*a.nii` gives its voxels no position",
        ),
        ({"sform_code": 0, "qform_code": 0, "pixdim": np.nan}, "the size of the voxels of `.*a.nii` gives"),
    ],
)
def test_a_geometry_that_gives_voxels_no_place_is_refused_in_one_sentence(tmp_path, fields, text):
    with pytest.raises(DataError, match=text):
        open_picture(write(tmp_path / "a.nii", **fields), 3)


@pytest.mark.parametrize(("number", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (5, 1)])
def test_spacing_is_in_millimetres_whatever_the_unit(tmp_path, number, factor):
    path = write(tmp_path / "a.nii", xyzt_units=number + 8)
    assert read_header(path, 3).spacing == pytest.approx((1.5 * factor, 2.0 * factor, 3.0 * factor))
    back = predicted(path, tmp_path / "b.nii")
    np.testing.assert_allclose(back.affine, PLACED, atol=1e-5)
    assert back.header.get_xyzt_units()[0] == {1: "meter", 3: "micron"}.get(number, "mm")


def test_a_volume_without_sform_and_qform_is_placed_as_nibabel_does_and_so_is_its_prediction(tmp_path):
    path = write(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=[1, 2, 1, 3, 0, 0, 0, 0])
    there = nibabel.load(path)
    assert read_header(path, 3).spacing == (2.0, 1.0, 3.0)
    np.testing.assert_array_equal(read_voxels(path)[..., 0], VOXELS[::-1])  # nibabel: the first axis runs to the left
    back = predicted(path, tmp_path / "b.nii")
    np.testing.assert_array_equal(back.affine, there.affine)
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == (0, 0)
    np.testing.assert_array_equal(np.asarray(back.dataobj), VOXELS)


def test_a_prediction_has_both_matrices_of_its_image(tmp_path):
    image, scanner = nibabel.Nifti1Image(VOXELS, PLACED), np.diag([-1.5, -2.0, 3.0, 1.0])
    image.set_qform(scanner, code=1)
    image.set_sform(PLACED, code=4)
    nibabel.save(image, tmp_path / "a.nii.gz")
    back = predicted(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    for stored in (image, back):
        np.testing.assert_allclose(stored.get_sform(), PLACED)
        np.testing.assert_allclose(stored.get_qform(), scanner, atol=1e-5)
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == (4, 1)
    np.testing.assert_array_equal(np.asarray(back.dataobj), VOXELS)


def test_spacing_follows_the_affine_where_the_sizes_of_voxels_contradict_it(tmp_path):
    path = write(tmp_path / "a.nii", pixdim=[1, 1, 1, 1, 0, 0, 0, 0])
    assert read_header(path, 3).spacing == pytest.approx((1.5, 2.0, 3.0))


# ---- values and axes


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_scale_factor_of_zero_or_nan_scales_nothing(tmp_path, slope):
    path = write(tmp_path / "a.nii", affine=np.eye(4), scl_slope=slope, scl_inter=5)
    np.testing.assert_array_equal(read_voxels(path)[..., 0], VOXELS)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(("axes", "channels"), [((1,), 1), ((1, 1), 1), ((3,), 3), ((1, 3), 3)])
def test_axes_of_length_one_are_left_out_and_another_holds_the_channels(tmp_path, name, axes, channels):
    voxels = np.random.default_rng(1).integers(0, 90, (4, 5, 6, *axes)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / name)
    expected = voxels.reshape(4, 5, 6, channels)
    with open_picture(tmp_path / name, 3) as volume:
        assert volume.channels == channels
        np.testing.assert_array_equal(volume.read(), expected)
        np.testing.assert_array_equal(volume.read((slice(1, 3), slice(0, 5), slice(2, 4))), expected[1:3, :, 2:4])


@pytest.mark.parametrize(
    ("shape", "text"),
    [((4, 5), r"has 2 axes \(4x5\), but a volume has 3"), ((4, 5, 6, 2, 3), r"has 5 axes \(4x5x6x2x3\), but")],
)
def test_a_file_with_other_axes_is_refused(tmp_path, shape, text):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(DataError, match=text):
        open_picture(tmp_path / "a.nii", 3)


@pytest.mark.parametrize("kind", [[("R", "u1"), ("G", "u1"), ("B", "u1")], np.complex64])
def test_colours_and_complex_numbers_are_refused_by_their_header(tmp_path, kind):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), kind), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"`.*a.nii.gz` holds (colours \(RGB\)|complex64 values), but it must hold"):
        open_picture(tmp_path / "a.nii.gz", 3)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("dim", "text"),
    [
        ([3, 0, 5, 6, 1, 1, 1, 1], "`.*` states a size of 0x5x6 voxels"),
        ([3, -4, 5, 6, 1, 1, 1, 1], "`.*` states a size of -4x5x6 voxels"),
        ([3, 30000, 30000, 30000, 1, 1, 1, 1], r"is truncated: its header states 30000x30000x30000 voxels \(54,000,"),
    ],
)
def test_a_size_that_cannot_be_is_refused_before_memory_is_taken(tmp_path, name, dim, text):
    with pytest.raises(DataError, match=text):
        open_picture(write(tmp_path / name, dim=dim), 3)


def test_a_plain_file_that_is_cut_off_is_refused_by_its_header(tmp_path):
    path = write(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"states 4x5x6 voxels \(240 bytes\), but it has 591 bytes"):
        open_picture(path, 3)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("a.nrrd", "convert it to NIfTI: `SimpleITK.WriteImage(SimpleITK.ReadImage('a.nrrd')"),
        ("a.MHA", "convert it to NIfTI: `SimpleITK.WriteImage(SimpleITK.ReadImage('a.MHA')"),
        ("a.img.gz", "convert it to NIfTI: `SimpleITK.WriteImage(SimpleITK.ReadImage('a.img.gz')"),
        ("a.mgz", "convert it to NIfTI: `nibabel.save(nibabel.load('a.mgz')"),
        ("a.nii.bz2", "convert it to NIfTI: `nibabel.save(nibabel.load('a.nii.bz2')"),
        ("a.dcm", "takes the folder of a DICOM series"),
    ],
)
def test_other_formats_of_volumes_are_refused_with_the_way_to_nifti(tmp_path, name, way):
    (tmp_path / name).write_bytes(bytes(400))
    with pytest.raises(DataError, match="is not a volume that can be read") as caught:
        open_picture(tmp_path / name, 3)
    assert way in caught.value.hint


@pytest.mark.parametrize("name", ["a.nii.gz", "a.NII", "a.h5"])
def test_a_volume_for_a_2d_model_is_told_apart_from_a_damaged_image(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(400))
    with pytest.raises(DataError, match="is a volume, not an image") as caught:
        open_picture(tmp_path / name, 2)
    assert caught.value.hint.endswith("volumes need a 3D model")


# ---- compression

WHOLE = (slice(0, 50), slice(0, 40), slice(0, 60))


@pytest.mark.parametrize("large", [False, True])
def test_a_compressed_file_whose_checksum_does_not_fit_is_refused(tmp_path, large):
    path = write(tmp_path / "a.nii.gz", np.tile(VOXELS, (10, 10, 10)))
    good = read_voxels(path)
    with open_picture(path, 3) as picture:
        np.testing.assert_array_equal(picture.read(WHOLE if large else None), good)
    stored = bytearray(path.read_bytes())
    stored[-6] ^= 255  # of the checksum; every voxel can still be unpacked
    path.write_bytes(stored)
    with open_picture(path, 3) as picture, pytest.raises(DataError, match=r"cannot read volume `.*a.nii.gz` \(CRC"):
        picture.read(WHOLE if large else None)


def test_a_file_whose_name_and_compression_disagree_is_told_its_right_name(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    packed = path.rename(tmp_path / "b.nii")
    with pytest.raises(DataError, match=r"b.nii` is compressed, but its name ends in .nii") as told:
        read_voxels(packed)
    assert told.value.hint == "if it is NIfTI, rename it to `NAME.nii.gz`"
    plain = write(tmp_path / "c.nii").rename(tmp_path / "d.nii.gz")
    with pytest.raises(DataError, match=r"d.nii.gz` is not compressed, but its name ends in .nii.gz"):
        read_voxels(plain)
    np.testing.assert_array_equal(read_voxels(plain.rename(tmp_path / "e.nii")), read_voxels(packed.rename(path)))
