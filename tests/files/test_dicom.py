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


@pytest.mark.parametrize("pixels", [None, b""])
def test_a_file_without_pixels_is_named(tmp_path, pixels):
    write_series(tmp_path / "series")
    path = sorted((tmp_path / "series").iterdir())[2]
    changed = pydicom.dcmread(path)
    del changed.PixelData
    if pixels is not None:
        changed.add_new("PixelData", "OW", pixels)
    changed.save_as(path)
    with (
        pytest.raises(DataError, match=rf"`{path}` holds no pixels \(`PixelData` is missing or empty\)"),
        open_picture(tmp_path / "series", 3) as series,
    ):
        series.read()


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
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "differ in `ImageOrientationPatient`"),
        ({"Rows": 3, "PixelData": bytes(42)}, r"differ in `Rows` \(\[3.0\] and \[6.0\]\): `extra.dcm` does not"),
        (
            {"ImagePositionPatient": list(ORIGIN + 9 * STEP * NORMAL)},
            r"12.5 mm apart between `86.dcm` and `extra.dcm` \(\(-100, 50, 30\) mm and \(-100, 50, 42.5\) mm\), but",
        ),
        ({}, r"0 mm apart between .*: two slices lie at one position, \(-100, 50, 25\) mm"),
        (
            {"ImagePositionPatient": list(ORIGIN + 5 * STEP * NORMAL + 9 * ROW)},
            r"do not lie on a line: `.*` at .* is \d\.?\d* mm beside it",
        ),
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


UNUSABLE = {
    "position of words": (
        {"ImagePositionPatient": b"a\\b\\c "},
        r"`ImagePositionPatient` `\['a', 'b', 'c'\]`, but 3 numbers",
    ),
    "position of two": ({"ImagePositionPatient": b"1\\2 "}, r"`ImagePositionPatient` `\[1, 2\]`, but 3 numbers were"),
    "position NaN": ({"ImagePositionPatient": b"nan\\0\\1 "}, r"`ImagePositionPatient` `\[nan, 0, 1\]`, but 3 numbers"),
    "slope of words": ({"RescaleSlope": b"x "}, "`RescaleSlope` `x`, but one number was expected"),
    "slope of 0": ({"RescaleSlope": b"0 "}, "states the `RescaleSlope` 0, which makes all values equal"),
    "spacing of one": ({"PixelSpacing": b"1 "}, "`PixelSpacing` `1`, but 2 numbers were expected"),
    "spacing of 0": ({"PixelSpacing": b"0\\0 "}, r"states the `PixelSpacing` `\[0, 0\]`"),
    "spacing empty": ({"PixelSpacing": b""}, r"has no spacing \(`PixelSpacing` is missing\)"),
    "axes of 0": ({"ImageOrientationPatient": b"0\\0\\0\\0\\0\\0 "}, "axes that are not perpendicular unit vectors"),
    "axes oblique": ({"ImageOrientationPatient": b"1\\0\\0\\1\\0\\0 "}, "axes that are not perpendicular unit vectors"),
    "frames": ({"NumberOfFrames": b"3 "}, "holds 3 frames, but one slice per file was expected"),
    "frames of words": ({"NumberOfFrames": b"x "}, "`NumberOfFrames` `x`, but one number was expected"),
    "palette": ({"PhotometricInterpretation": b"PALETTE COLOR "}, r"holds colours \(`PALETTE COLOR`\), but grey"),
    "colours": ({"PhotometricInterpretation": b"RGB "}, r"holds colours \(`RGB`\), but grey slices were expected"),
    "inverted and rescaled": (
        {"PhotometricInterpretation": b"MONOCHROME1 "},
        "is `MONOCHROME1` .* slope of 1 and an inter",
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_header_that_cannot_be_used_is_told_with_file_and_value(tmp_path, kind):
    folder, (elements, text) = write_series(tmp_path / "ct"), UNUSABLE[kind]
    data = pydicom.dcmread(folder / "88.dcm")
    for name, value in elements.items():
        tag = pydicom.tag.Tag(name)
        data[tag] = pydicom.dataelem.RawDataElement(
            tag, pydicom.datadict.dictionary_VR(tag), len(value), value, 0, False, True
        )
    data.save_as(folder / "88.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=text) as caught:
        open_picture(folder, 3)
    assert "88.dcm`" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("is_signed", [False, True])
def test_white_is_zero_is_turned_by_the_bits_of_a_value(tmp_path, is_signed):
    stored = STORED.astype(np.int16) - 2000 * is_signed
    bright = {"RescaleSlope": None, "RescaleIntercept": None, "PixelRepresentation": int(is_signed)}
    folder = tmp_path / "cr"
    write_series(folder, PhotometricInterpretation="MONOCHROME1", **bright)
    for number in range(5):  # 12 bits: 0 to 4095, or -2048 to 2047
        data = pydicom.dcmread(folder / f"{90 - number}.dcm")
        data.PixelData = stored[number].tobytes()
        data.save_as(folder / f"{90 - number}.dcm", enforce_file_format=True)
    series = DICOMSeries(folder)
    lowest, highest = (-2048, 2047) if is_signed else (0, 4095)
    np.testing.assert_array_equal(np.stack(list(series.planes())), highest - (stored - lowest))


def test_signed_values_keep_their_sign(tmp_path):
    folder = write_series(tmp_path / "ct", PixelRepresentation=1, RescaleIntercept=0)
    data = pydicom.dcmread(folder / "90.dcm")
    data.PixelData = (STORED[0].astype(np.int16) - 2000).tobytes()
    data.save_as(folder / "90.dcm", enforce_file_format=True)
    first = next(iter(DICOMSeries(folder).planes()))
    np.testing.assert_array_equal(first, STORED[0].astype(int) - 2000)


def test_the_distance_of_slices_is_that_of_their_positions(tmp_path):
    series = DICOMSeries(write_series(tmp_path / "ct", SliceThickness=5, SpacingBetweenSlices=7))
    assert series.steps_mm[2] == pytest.approx(STEP)


def test_a_compressed_series_without_a_decoder_says_what_to_install(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "ct")
    data = pydicom.dcmread(folder / "88.dcm")
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    data.PixelData = pydicom.encaps.encapsulate([bytes(20)])
    data["PixelData"].is_undefined_length = True
    data.save_as(folder / "88.dcm", enforce_file_format=True)
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1)
    monkeypatch.setattr(type(decoder), "is_available", property(lambda _: False))
    with pytest.raises(
        DataError, match=r"88.dcm` is compressed \(JPEG Lossless.*no package that is installed"
    ) as caught:
        open_picture(folder, 3)
    assert "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg" in caught.value.hint


def test_a_compressed_series_is_read_where_it_can_be_decoded(tmp_path):
    folder = write_series(tmp_path / "ct")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(np.stack(list(DICOMSeries(folder).planes())), STORED.astype(int) - 1024)


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


@pytest.mark.parametrize("tag", [b"\x20\x00\x37\x00", b"\x28\x00\x04\x00", b"\x28\x00\x52\x10", b"\x28\x00\x10\x00"])
def test_an_element_of_an_unknown_kind_or_of_a_wrong_length_is_told(tmp_path, tag):
    folder = write_series(tmp_path / "a")
    path = folder / "90.dcm"
    stored = path.read_bytes()
    at = stored.index(tag)
    for change in ((4, b"XX"), (4, b"US"), (6, b"\x03\x00")):
        content = bytearray(stored)
        content[at + change[0] : at + change[0] + 2] = change[1]
        path.write_bytes(content)
        try:
            DICOMSeries(folder)
        except DataError as error:
            assert str(folder) in error.message  # noqa: PT017 - whether a change can be read depends on its kind
