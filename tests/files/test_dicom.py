"""Series of DICOM files, made here and looked at with nibabel's own reader of their geometry."""

import nibabel
import numpy as np
import pytest

from segcli.core.errors import DataError
from segcli.files import create, open_picture
from segcli.files._dicom_series import DICOMSeries, is_dicom

pydicom = pytest.importorskip("pydicom")

STORED = np.random.default_rng(0).integers(0, 4000, (5, 6, 7)).astype(np.uint16)
"""Slices, rows and columns."""
ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([-0.6, 0.8, 0.0])
NORMAL = np.cross(ROW, COLUMN)
ORIGIN = np.array([-100.0, 50.0, 20.0])
SPACING = (0.7, 0.9)
"""Millimetres between rows and between columns."""
STEP = 2.5


def dataset(number, **changes):
    """Slice `number`, as a scanner writes it."""
    data = pydicom.dataset.FileDataset(None, {}, preamble=b"\0" * 128)
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.SOPClassUID = pydicom.uid.CTImageStorage
    data.SeriesInstanceUID = "1.2.3"
    data.Rows, data.Columns = STORED.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.ImageOrientationPatient = [*ROW, *COLUMN]
    data.ImagePositionPatient = list(ORIGIN + number * STEP * NORMAL)
    data.PixelSpacing = list(SPACING)
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.PixelData = STORED[number].tobytes()
    for name, value in changes.items():
        setattr(data, name, value)
    return data


def write_series(folder, numbers=range(5), **changes):
    """Files whose names are in the order opposite to their positions."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        dataset(number, **changes).save_as(folder / f"{90 - number}.dcm", enforce_file_format=True)
    return folder


def test_slices_are_sorted_by_position_and_rescaled(tmp_path):
    series = DICOMSeries(write_series(tmp_path / "ct"))
    planes = np.stack(list(series.planes()))
    np.testing.assert_array_equal(planes, STORED.astype(int) - 1024)
    assert planes.dtype == np.int16
    assert series.shape == (7, 6, 5)
    assert series.steps_mm == pytest.approx((0.9, 0.7, 2.5))


def test_a_voxel_lies_where_nibabels_reader_of_single_slices_has_it(tmp_path):
    series = DICOMSeries(write_series(tmp_path / "ct"))
    with pytest.warns(UserWarning, match="experimental"):
        from nibabel.nicom.dicomwrappers import wrapper_from_data

    for column, row, number in ((0, 0, 0), (6, 5, 4), (2, 3, 1)):
        # nibabel: rows first, in DICOM's axes, to the left and to the back
        left, back, up, _ = wrapper_from_data(dataset(number)).affine @ [row, column, 0, 1]
        np.testing.assert_allclose((series.affine @ [column, row, number, 1])[:3], [-left, -back, up], atol=1e-9)
    # worked by hand: the first voxel is at ORIGIN, with left and back reversed
    np.testing.assert_allclose(series.affine[:3, 3], [100.0, -50.0, 20.0])
    np.testing.assert_allclose(series.affine[:3, 0], [-0.9 * 0.8, -0.9 * 0.6, 0.0])
    np.testing.assert_allclose(series.affine[:3, 2], [0.0, 0.0, 2.5])


def test_windows_of_a_series_and_the_nifti_file_of_an_answer_have_one_geometry(tmp_path):
    folder = write_series(tmp_path / "ct")
    assert is_dicom(folder)
    volume = open_picture(folder, 3)
    grid = volume.grid
    whole = volume.read(tuple(slice(0, length) for length in volume.size))
    # by the affine, the first axis runs from left to right: against the columns
    np.testing.assert_array_equal(whole[..., 0], (STORED.astype(int) - 1024).T[::-1, ::-1])
    window = (slice(1, 3), slice(2, 6), slice(0, 5))
    np.testing.assert_array_equal(volume.read(window), whole[window])
    volume.close()
    with create(tmp_path / "ct.nii.gz", grid.size, np.int16, like=folder) as add:
        add(whole[..., 0])
    back = nibabel.load(tmp_path / "ct.nii.gz")
    np.testing.assert_allclose(back.affine, grid.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(back.dataobj), (STORED.astype(int) - 1024).T)


def test_values_that_are_no_short_whole_numbers_are_floating_point(tmp_path):
    series = DICOMSeries(write_series(tmp_path / "pet", RescaleSlope=0.25))
    np.testing.assert_allclose(np.stack(list(series.planes())), STORED * 0.25 - 1024)
    assert series.dtype == np.float32
    wide = write_series(tmp_path / "wide", BitsStored=16, RescaleIntercept=0)  # up to 65535, whatever is in it
    assert DICOMSeries(wide).dtype == np.float32


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"SeriesInstanceUID": "9.9"}, "holds 2 DICOM series in 6 files"),
        ({"PixelSpacing": [0.7, 0.8]}, "differ in `PixelSpacing`"),
        ({"ImagePositionPatient": list(ORIGIN + 9 * STEP * NORMAL)}, "12.5 mm apart between `86.dcm` and `extra.dcm`"),
        ({}, "0 mm apart between"),
        ({"ImagePositionPatient": None}, "has no position in the body"),
    ],
)
def test_a_folder_that_is_no_single_whole_series_is_told(tmp_path, change, text):
    folder = write_series(tmp_path / "ct")
    extra = dataset(2, **change)
    if change.get("ImagePositionPatient", 0) is None:
        del extra.ImagePositionPatient
    extra.save_as(folder / "extra.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=text):
        DICOMSeries(folder)


def test_an_empty_rescale_is_none(tmp_path):
    series = DICOMSeries(write_series(tmp_path / "ct", RescaleSlope=None, RescaleIntercept=None))
    np.testing.assert_array_equal(np.stack(list(series.planes())), STORED)


def test_a_damaged_slice_is_named(tmp_path):
    folder = write_series(tmp_path / "ct")
    content = (folder / "88.dcm").read_bytes()
    (folder / "88.dcm").write_bytes(content[:-30])
    with open_picture(folder, 3) as volume, pytest.raises(DataError, match=r"cannot read DICOM file `.*88.dcm`"):
        volume.read()


def test_a_folder_of_other_files_is_no_series(tmp_path):
    (tmp_path / "a.nii").write_bytes(bytes(200))
    (tmp_path / "IM0001").write_bytes(bytes(200))
    assert not is_dicom(tmp_path)
    (tmp_path / "IM0002").write_bytes(bytes(128) + b"DICM")
    assert is_dicom(tmp_path)
