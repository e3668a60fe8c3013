"""Several files for each 2D image in one folder: masks of several classes, and channels, are never dropped silently."""

import pytest
from public_forms import write_pairs

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


def test_channels_in_files_of_their_own_are_named_with_the_way_out(tmp_path):
    for channel in ("_0000", "_0001"):
        write_pairs(tmp_path / "d", image=f"imagesTr/case_{{}}{channel}.png", mask="labelsTr/case_{}.png")
    found, _ = look(tmp_path / "d", "d", (), ask=None, yes=False)
    assert found.keys["image_suffix"] == "_0000"
    assert any("`*_0001` is not used" in note and "into one TIFF file for each image" in note for note in found.notes)
