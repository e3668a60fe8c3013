"""Several files for each 2D image in one folder: masks of several classes, and channels, are never dropped silently."""

import numpy as np
import pytest
from factories import blobs
from layouts import read
from PIL import Image
from public_forms import save, write_pairs

from segcli.commands.init import look
from segcli.core.errors import ConfigError


def test_a_mask_file_for_each_class_is_asked_about_and_the_answer_is_followed(tmp_path):
    write_pairs(tmp_path / "d", image="images/img_{}.png", mask="masks/img_{}_nucleus.png")
    write_pairs(tmp_path / "d", mask="masks/img_{}_cytoplasm.png", paint=lambda mask: mask[::-1, ::-1].T)
    for file in (tmp_path / "d/a").iterdir():
        file.unlink()
    (tmp_path / "d/a").rmdir()
    with pytest.raises(ConfigError, match=r"2 masks that show different things.*one mask that holds a number for each"):
        look(tmp_path / "d", "d", (), ask=None, yes=False)
    for end, other in (("_nucleus", "_cytoplasm"), ("_cytoplasm", "_nucleus")):
        found, _ = look(tmp_path / "d", "d", [f"label_suffix={end}"], ask=None, yes=False)
        assert (found.keys["label_suffix"], found.notes) == (end, [f"`*{other}` is not used"])


def write_channels(root, ends, image, mask, *, second=1, count=5):
    """Images of two channels in files of their own, and their masks; `second` chooses the pixels of the second file."""
    for index in range(count):
        pixels, truth = blobs(index)
        for position, end in enumerate(ends):
            save(root / image.format(index, end), pixels[:, :, second if position else 0])
        save(root / mask.format(index), truth)
    return root


@pytest.mark.parametrize(
    ("ends", "image", "mask", "keys"),
    [
        (("_0000", "_0001"), "imagesTr/case_{}{}.png", "labelsTr/case_{}.png", {"image_folder": "imagesTr"}),
        (("_DAPI", "_GFP"), "images/{:02d}{}.tif", "masks/{:02d}_mask.tif", {"label_suffix": "_mask"}),
        (("_DAPI", "_GFP"), "{:02d}{}.tif", "{:02d}_mask.tif", {"image_folder": ".", "label_suffix": "_mask"}),
    ],
)
def test_channels_in_files_of_their_own_are_recognised(tmp_path, ends, image, mask, keys):
    write_channels(tmp_path / "d", ends, image, mask)
    (tmp_path / "d/dataset.json").write_text('{"channel_names": {"0": "DAPI", "1": "GFP"}, "file_ending": ".png"}')
    found, _ = look(tmp_path / "d", "d", (), ask=None, yes=False)
    expected = {"channel_suffixes": list(ends), "num_channels": 2, **keys}
    assert {key: found.keys.get(key) for key in (*expected, "image_suffix", "color")} == expected | {
        "image_suffix": None,
        "color": None,
    }
    assert (found.notes, found.questions) == ([], [])
    assert found.about.startswith("5 images of 2 channels in files of their own with one mask each")
    assert "exclude" not in found.keys
    layout, cases = read(found)
    assert len(cases) == 5
    for case in cases:
        paths = [case.image, *case.others]
        planes = [np.asarray(Image.open(path)) for path in paths]
        assert [path.stem[-len(end) :] for path, end in zip(paths, ends, strict=True)] == list(ends)
        np.testing.assert_array_equal(layout.read(case).image, np.stack(planes, axis=-1))


def test_an_image_without_a_mask_is_told_once_and_not_once_for_each_channel(tmp_path):
    write_channels(tmp_path / "d", ("_0000", "_0001"), "imagesTr/case_{}{}.png", "labelsTr/case_{}.png")
    (tmp_path / "d/labelsTr/case_3.png").unlink()
    found, _ = look(tmp_path / "d", "d", (), ask=None, yes=False)
    assert found.notes == ["1 of 5 images have no mask and are left out with `exclude`"]
    assert found.keys["exclude"] == ["case_3"]
    assert len(read(found)[1]) == 4


@pytest.mark.parametrize(("ends", "second", "count"), [(("_a", "_b"), slice(None), 4), (("", "_b"), 1, 2)])
def test_files_that_may_be_channels_are_named_with_the_way_to_state_them(tmp_path, ends, second, count):
    write_channels(tmp_path / "d", ends, "images/x{}{}.png", "masks/x{}.png", second=second)
    found, _ = look(tmp_path / "d", "d", (), ask=None, yes=False)
    assert (found.keys.get("image_suffix", ""), found.keys["num_channels"]) == (ends[0], 1)
    (note,) = found.notes  # and none of images without a mask
    stated = f'channel_suffixes=["{ends[0]}", "{ends[1]}"]'
    assert note.startswith(f"`*{ends[1]}` is not used: if ")
    assert note.endswith(f"state `{stated}`")
    assert len(read(found)[1]) == 5
    found, _ = look(tmp_path / "d", "d", [stated], ask=None, yes=False)
    assert (found.keys["channel_suffixes"], found.keys["num_channels"], found.notes) == (list(ends), count, [])
    assert "image_suffix" not in found.keys
    assert "exclude" not in found.keys
