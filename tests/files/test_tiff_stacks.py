"""Stacks as TIFF writers leave them, compared page by page with tifffile and Pillow."""

import base64
import gc
import re
import struct
import time
import uuid
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from segcli.core.errors import DataError
from segcli.data.slices import SliceStacks
from segcli.files import _tiff_open, open_picture
from segcli.files.tiff import TIFF

VOLUME = np.random.default_rng(0).integers(0, 255, (12, 16, 20)).astype(np.uint8)
WINDOW = (slice(3, 7), slice(2, 9), slice(5, 18))
LOOP = (
    "eNrz9NRi4GBgYOBjYGBkYWAEskA8RiQ2EyMzmC0AxMxQNkicDcoGYT5GJgbRBgaGbUC2IFQviBBFUiOGZKY4lF0NxFKMrGD2LSCW"
    "hrIfAbEGkl5DoPk8QPoVENcABaqVijMSC1KVrBSizXQULIAotpYBDTCi4ZLMtLS0zJxUvYJKJFUVc3jPLORrLGRg+BgvwHKQJfbC"
    "BzEhz0RnQ+PZSwRcHJduFmS9mObBZTbb6QNTk7nB7Nr/ZQ/fJYmF2eV1XVJbFaVVdmKm5W2Ll9UakrsrZmWd9n61e9dpK4kZt7Vu"
    "R3tpsCyWO+ccv/XCki8mpYdeiv/QYOJNkd8E8gkFYQ0LXwMmwuFbgxS+QkyI8JViQg3fNUyY4YUKQOG0lwsYTm4f4yN5pmyK1Fmz"
    "ftONEwlPxDx48hwCpxzMC0hTne7gpjK737dHz3nvT/7zn0rOdfLUyGxx5frVts4oz0rqndosMb97q8yKngWdEnr436srN/SPz9oe"
    "W52vIk+bb/I+8b52K/juucios3ZrniQtS30icWqjfb2iXBF1wiuBmXrhdYeZmPBayMeYwOD6cH3i5I2ZXRpaTUozjnFP6E25rOI4"
    "0edQSBd7gnCO2VETo2TjSRnCf17emzt3bmv30sU7e9ocK6LNw0tjDSs1TXN1VaXTI6c++F4rG1Jrs4Z59snO3/+luqt2vu7UuK35"
    "ysLTu63q0O0rRy57KL6Ju3xKftkjxWDqhNcEFtLyL77w4mElJrw2cjUyygDz4UeGrqQFKYt8NklN3XQyZaOnmqbxU9Yctq+5p5IS"
    "p9xd4VPWfYg74s/11++EeJXdQ2OTtWWlxUvjmxPUzdP3F3w62O71btY6O61tXPcOBhWdmtYl9isuqyxt0ovLfIU+N2fPcrn82eD6"
    "pN77UdHHLstH28t4UJYfCYRQFZEhZMVGRAid2riKkUHC4eH6d7WsqotnqN6cejQhjG2NUiWzane4wcRJB1UmiRtsiPDZpLna1+vU"
    "/jnFbZOvGE0P+8QjH3tF98ybr0v+VK8+5fp88Ts3LamHPWtbJnduXNq0ct3crTl7fJt/ZHWdCzO79e+OzJfHGtU/2eyt1sm11bHu"
    "U0ygTnp6wEY4PREbWtjKd2D4nDXkAuY4h4f5CpJPxbomOc5cE+RlNKm30eDmCUEDQw3VyZskc8RmevglBPUtmLL/evT96sjTpyNP"
    "vtrlafljlgV716Vvk7YtS4rS4zqVdbBp9cz2xo1z+1bM62ltWzpx8u7F83fu6O9YtXzfsoXlGtdzDy1fslbpIf9NdrkjAI4Uek8="
)
"""Two pages that lead to each other; tifffile reads them without end."""


def one_by_one(path, planes=VOLUME, **keys):
    for number, plane in enumerate(planes):
        tifffile.imwrite(path, plane, append=number > 0, **keys)


def in_turn(path):
    for number, plane in enumerate(VOLUME):
        compression = "zlib" if number % 2 else None
        tifffile.imwrite(path, plane, append=number > 0, compression=compression, metadata=None)


def in_halves(path):
    tifffile.imwrite(path, VOLUME[:6])
    one_by_one_after = {"append": True, "metadata": None}
    for plane in VOLUME[6:]:
        tifffile.imwrite(path, plane, **one_by_one_after)


def with_pillow(path):
    first, *others = map(Image.fromarray, VOLUME)
    first.save(path, save_all=True, append_images=others, compression="tiff_lzw")


WRITERS = {
    "one by one": one_by_one,
    "one by one without metadata": lambda path: one_by_one(path, metadata=None),
    "one by one, compressed": lambda path: one_by_one(path, compression="zlib"),
    "one by one, tiled": lambda path: one_by_one(path, tile=(16, 16)),
    "one by one, big-endian": lambda path: one_by_one(path, byteorder=">"),
    "with and without compression": in_turn,
    "half at once": in_halves,
    "Pillow": with_pillow,
    "at once": lambda path: tifffile.imwrite(path, VOLUME),
    "BigTIFF": lambda path: tifffile.imwrite(path, VOLUME, bigtiff=True, byteorder=">"),
    "ImageJ": lambda path: tifffile.imwrite(path, VOLUME, imagej=True, metadata={"axes": "ZYX"}),
    "ImageJ, as tifffile writes it": lambda path: tifffile.imwrite(path, VOLUME, imagej=True),
    "ImageJ, slices as time points": lambda path: tifffile.imwrite(path, VOLUME, imagej=True, metadata={"axes": "TYX"}),
    "OME": lambda path: tifffile.imwrite(path, VOLUME, ome=True, metadata={"axes": "ZYX"}),
    "one header for all": lambda path: tifffile.imwrite(path, VOLUME, truncate=True),
    "one volume of a series": lambda path: tifffile.imwrite(path, VOLUME[None], metadata={"axes": "TZYX"}),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_page_of_a_stack_is_a_slice_whole_in_windows_and_plane_by_plane(tmp_path, writer):
    path = tmp_path / "stack.tif"
    WRITERS[writer](path)
    with tifffile.TiffFile(path) as file:
        pages = [page.asarray() for page in file.pages]
    np.testing.assert_array_equal(pages if len(pages) > 1 else tifffile.imread(path).squeeze(), VOLUME)
    with open_picture(path, 3) as picture:
        assert (picture.size, picture.channels) == (VOLUME.shape, 1)
        assert picture.parts is not None
        np.testing.assert_array_equal(picture.read()[..., 0], VOLUME)
        np.testing.assert_array_equal(picture.read(WINDOW)[..., 0], VOLUME[WINDOW])
    assert TIFF.planes(path).count == len(VOLUME)
    for number in (11, 0, 5):
        np.testing.assert_array_equal(TIFF.plane(path, number), VOLUME[number])


@pytest.mark.parametrize("keys", [{}, {"metadata": None}, {"compression": "zlib"}])
@pytest.mark.parametrize(
    ("odd", "shown"), [(VOLUME[3][:12], "12x20 of uint8"), (VOLUME[3].astype(np.uint16), "16x20 of uint16")]
)
def test_pages_of_another_size_or_type_are_refused_with_the_numbers(tmp_path, odd, shown, keys):
    path = tmp_path / "stack.tif"
    one_by_one(path, [*VOLUME[:3], odd, *VOLUME[4:]], **keys)
    for read in (lambda: open_picture(path, 3), lambda: TIFF.planes(path)):
        with pytest.raises(DataError) as caught:
            read()
        assert caught.value.message == f"page 4 of `{path}` is {shown}, but page 1 is 16x20 of uint8"


@pytest.mark.parametrize(
    ("axes", "shape", "said"),
    [
        ("TZYX", (2, 3), "holds 2 time points of 3 slices, but one volume is expected"),
        ("TCZYX", (2, 3, 4), "holds 2 time points of 4 slices, but one volume is expected"),
        ("ZCYX", (3, 2), "has 2 channels, but grey slices are expected"),
    ],
)
def test_time_points_and_channels_beside_slices_are_no_grey_slices(tmp_path, axes, shape, said):
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, np.zeros((*shape, 16, 20), np.uint8), metadata={"axes": axes})
    with pytest.raises(DataError, match=re.escape(f"`{path}` {said}")):
        TIFF.planes(path)


@pytest.mark.parametrize("mode", ["composite", "color"])
def test_channels_that_are_shown_in_colours_are_not_slices(tmp_path, mode):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, VOLUME[:3], imagej=True, metadata={"axes": "CYX", "mode": mode})
    with pytest.raises(DataError, match="holds 3 channels of one plane, but no slices"):
        open_picture(path, 3)


def stated(path, change):
    """Write a stack whose OME metadata are changed."""
    tifffile.imwrite(path, VOLUME, ome=True, metadata={"axes": "ZYX"})
    xml = tifffile.tiffcomment(path)
    assert change(xml) != xml
    tifffile.imwrite(path, VOLUME, description=change(xml).encode(), metadata=None, photometric="minisblack")


def test_planes_that_are_stated_and_missing_are_refused_and_not_read_as_zeros(tmp_path):
    path = tmp_path / "stack.ome.tif"
    stated(path, lambda xml: xml.replace('SizeZ="12"', 'SizeZ="20"'))
    with pytest.raises(DataError, match=f"8 of the 20 planes that `{path}` states are missing"):
        open_picture(path, 3)


def test_pages_that_the_metadata_pass_over_are_refused(tmp_path):
    path = tmp_path / "stack.ome.tif"
    stated(path, lambda xml: xml.replace('SizeZ="12"', 'SizeZ="5"').replace('PlaneCount="12"', 'PlaneCount="5"'))
    with pytest.raises(DataError, match=f"`{path}` has 12 pages, but its metadata describe 5"):
        open_picture(path, 3)


@pytest.mark.parametrize("keys", [{}, {"imagej": True}, {"compression": "zlib"}])
def test_a_stack_that_was_cut_short_is_refused(tmp_path, keys):
    path = tmp_path / "stack.tif"
    one_by_one(path) if not keys else tifffile.imwrite(path, VOLUME, **keys)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(DataError), open_picture(path, 3) as picture:
        picture.read()


# ---- recordings in several files


def recording(folder, places, name="s{:03d}.ome.tif"):
    """Write a plane for each file, all of whose metadata name all files, as microscopes write them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(number) for number in range(len(places))]
    ids = [f"urn:uuid:{uuid.UUID(int=number + 1)}" for number in range(len(places))]
    entries = "".join(
        f'<TiffData FirstZ="{z}" FirstC="{c}" FirstT="{t}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{file}">{key}</UUID></TiffData>'
        for (z, c, t), file, key in zip(places, names, ids, strict=True)
    )
    z, c, t = (max(axis) + 1 for axis in zip(*places, strict=True))
    planes = np.random.default_rng(1).integers(0, 255, (len(places), 8, 10)).astype(np.uint8)
    for plane, file, key in zip(planes, names, ids, strict=True):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{key}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="10" '
            f'SizeY="8" SizeZ="{z}" SizeC="{c}" SizeT="{t}">{entries}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / file, plane, description=xml.encode(), metadata=None, photometric="minisblack")
    return planes


def test_files_of_a_recording_are_read_once_each(tmp_path, monkeypatch):
    planes = recording(tmp_path / "raw", [(z, 0, 0) for z in range(8)])
    opened, real = [], tifffile.TiffFile.__init__
    monkeypatch.setattr(tifffile.TiffFile, "__init__", lambda self, *a, **k: opened.append(a) or real(self, *a, **k))
    stacks = SliceStacks(4)
    stack = stacks.of(tmp_path / "raw")
    assert (stack.size, stack.faults, len(opened)) == ((8, 8, 10), (), 8)
    np.testing.assert_array_equal(stacks.voxels(tmp_path / "raw", (slice(0, 8), slice(0, 8), slice(0, 10))), planes)
    assert len(opened) == 16


def test_a_lone_file_of_a_recording_gives_its_own_slice(tmp_path):
    planes = recording(tmp_path / "raw", [(z, 0, 0) for z in range(8)])
    for number in range(8):
        if number != 5:
            (tmp_path / "raw" / f"s{number:03d}.ome.tif").unlink()
    path = tmp_path / "raw" / "s005.ome.tif"
    assert TIFF.planes(path).count == 1
    np.testing.assert_array_equal(TIFF.plane(path, 0), planes[5])
    with open_picture(path, 2) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], planes[5])


def test_a_stack_that_names_files_that_are_missing_gives_its_own_pages(tmp_path):
    path = tmp_path / "stack.ome.tif"
    others = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="s{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(12, 24)
    )
    entry = '<TiffData IFD="0" PlaneCount="12"><UUID FileName="stack.ome.tif">urn:uuid:1</UUID></TiffData>'
    stated(
        path, lambda xml: re.sub("<TiffData.*?/>", entry + others, xml, flags=re.S).replace('SizeZ="12"', 'SizeZ="24"')
    )
    with open_picture(path, 3) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], VOLUME)


def test_files_of_two_channels_in_one_folder_are_refused(tmp_path):
    recording(tmp_path / "raw", [(z, c, 0) for c in range(2) for z in range(4)])
    (fault,) = SliceStacks(4).of(tmp_path / "raw").faults
    raw = tmp_path / "raw"
    assert fault.message == f"`{raw / 's004.ome.tif'}` is of channel 1, but `{raw / 's000.ome.tif'}` is of channel 0"


# ---- files that would keep the reader busy for ever


@pytest.mark.parametrize("ndim", [2, 3])
def test_pages_that_run_in_a_circle_are_refused_at_once(tmp_path, ndim, caplog, capfd):
    path = tmp_path / "loop.tif"
    path.write_bytes(zlib.decompress(base64.b64decode(LOOP)))
    start = time.perf_counter()
    with pytest.raises(DataError) as caught:
        open_picture(path, ndim)
    assert caught.value.message == f"`{path}` has no last page: page 2 leads back to page 1"
    assert time.perf_counter() - start < 2
    assert caplog.records == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("form", "magic"), [("<I", b"II*\0"), (">I", b"MM\0*"), ("<Q", b"II+\0\x08\0\0\0")])
def test_a_file_without_pages_or_with_a_page_that_leads_to_itself_is_refused(tmp_path, form, magic):
    path, at = tmp_path / "a.tif", len(magic) + struct.calcsize(form)
    path.write_bytes(magic + struct.pack(form, 0))
    with pytest.raises(DataError, match="holds no pages"):
        open_picture(path, 3)
    wide = form[1] == "Q"
    entry = struct.pack(f"{form[0]}HH{form[1]}{form[1]}", 256, 4, 1, 16)
    page = struct.pack(f"{form[0]}{'Q' if wide else 'H'}", 1) + entry + struct.pack(form, at)
    path.write_bytes(magic + struct.pack(form, at) + page)
    with pytest.raises(DataError, match="page 1 leads back to page 1"):
        open_picture(path, 3)


def test_more_pages_than_a_volume_has_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, VOLUME)
    monkeypatch.setattr(_tiff_open, "PAGES", 11)
    with pytest.raises(DataError, match=f"`{path}` holds more than 11 pages"):
        open_picture(path, 3)


@pytest.mark.parametrize(("code", "word"), [(256, "columns"), (257, "rows"), (277, "samples per pixel")])
def test_pages_of_no_pixels_are_refused_in_one_sentence(tmp_path, code, word):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, VOLUME)
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags[code].valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + 2] = b"\0\0"
    path.write_bytes(data)
    for ndim in (2, 3):
        with pytest.raises(DataError) as caught:
            open_picture(path, ndim)
        assert caught.value.message == f"page 1 of `{path}` has 0 {word}"


@pytest.mark.parametrize(
    ("options", "odd", "text"),
    [
        (
            {"photometric": "minisblack"},
            {"photometric": "miniswhite"},
            "photometric interpretation MINISWHITE, but page 1 has MINISBLACK",
        ),
        (
            {"extratags": [(274, 3, 1, 1, False)]},
            {"extratags": [(274, 3, 1, 3, False)]},
            "orientation 3, but page 1 has 1",
        ),
        ({}, {"extratags": [(274, 3, 1, 3, False)]}, "orientation 3, but page 1 has none"),
    ],
)
def test_pages_that_state_another_meaning_than_the_first_are_refused(tmp_path, options, odd, text):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for number, plane in enumerate(VOLUME):
            writer.write(plane, contiguous=False, metadata=None, **(odd if number == 5 else options))
    for read in (lambda: open_picture(path, 3), lambda: TIFF.planes(path)):
        with pytest.raises(DataError, match=rf"page 6 of `.*a.tif` has the {text}"):
            read()


def test_a_single_page_is_told_to_be_no_volume(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[0])
    with pytest.raises(DataError, match=r"a.tif` holds one page, but a volume is a stack of several") as told:
        open_picture(tmp_path / "a.tif", 3)
    assert "`tifffile.imwrite(NAME, numpy.stack(slices))`" in told.value.hint
    tifffile.imwrite(tmp_path / "b.tif", np.stack([VOLUME[0], VOLUME[1]]))  # what the hint says
    with open_picture(tmp_path / "b.tif", 3) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], VOLUME[:2])


def test_opening_a_stack_reads_the_tags_of_each_page_once(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME)
    read, plain = [], tifffile.TiffPage.__init__
    monkeypatch.setattr(
        tifffile.TiffPage,
        "__init__",
        lambda page, file, index, **keys: (read.append(index), plain(page, file, index, **keys))[1],
    )
    with open_picture(tmp_path / "a.tif", 3) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], VOLUME)
    assert sorted(read) == list(range(len(VOLUME)))


def test_the_pages_of_a_closed_stack_do_not_wait_for_the_collector(tmp_path):
    def pages():
        return sum(type(each) is tifffile.TiffPage for each in gc.get_objects())

    tifffile.imwrite(tmp_path / "a.tif", VOLUME)
    gc.collect()
    gc.disable()
    try:
        before = pages()
        with open_picture(tmp_path / "a.tif", 3) as picture:
            picture.read()
        left = pages() - before
    finally:
        gc.enable()
    assert left <= 1  # of twelve; the first one is held by its series


@pytest.mark.parametrize(
    ("about", "across", "expected"),
    [
        ({"spacing": 2.0, "unit": "inch"}, (4, 5), (50.8, 5.08, 6.35)),
        ({"spacing": 3.0, "unit": "nm"}, (4, 5), (3e-6, 2e-7, 2.5e-7)),
        ({"spacing": 0, "unit": "um"}, (4, 5), None),
        ({"spacing": -2.0, "unit": "um"}, (4, 5), None),
        ({"spacing": float("nan"), "unit": "um"}, (4, 5), None),
        ({"spacing": "x", "unit": "um"}, (4, 5), None),
        ({"spacing": 2.0, "unit": "um"}, (0, 5), None),
    ],
)
def test_a_spacing_that_is_no_length_is_none_and_the_voxels_are_read(tmp_path, about, across, expected):
    voxels = np.arange(3 * 8 * 9, dtype=np.uint8).reshape(3, 8, 9)
    tifffile.imwrite(tmp_path / "a.tif", voxels, imagej=True, metadata={"axes": "ZYX", **about}, resolution=across)
    with open_picture(tmp_path / "a.tif", 3) as picture:
        assert picture.spacing == (expected if expected is None else pytest.approx(expected))
        np.testing.assert_array_equal(picture.read()[..., 0], voxels)
