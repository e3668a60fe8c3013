"""Links that lead out of a folder: `segcli init` names them, and follows them only where this is stated."""

import shutil

import pytest
from public_forms import write_pairs

from segcli.commands.init import look
from segcli.core.errors import DataError
from segcli.planning.listing import listed
from segcli.planning.recognise import recognise

WAY = "copy the files into the folder, or state `follow_links=true` if these are the files that you mean"


@pytest.fixture
def folder(tmp_path):
    """Write a data set, `d`, whose images are still elsewhere."""
    write_pairs(tmp_path / "there", image="images/{}.png", mask="masks/{}.png")
    shutil.copytree(tmp_path / "there/masks", tmp_path / "d/masks")
    return tmp_path / "d"


def seen(folder, *given):
    return look(folder, "d", given, ask=None, yes=True)[0]


def test_images_that_are_links_to_files_elsewhere_are_refused_with_the_way_out(folder):
    (folder / "images").mkdir()
    for file in (folder.parent / "there/images").iterdir():
        (folder / "images" / file.name).symlink_to(file)
    with pytest.raises(DataError, match=r"0\.png` is a link to `.*`, outside the folder of the data set") as raised:
        seen(folder)
    assert raised.value.hint == WAY
    found = seen(folder, "follow_links=true")
    assert (found.keys["image_folder"], found.keys["follow_links"]) == ("images", True)


def test_a_folder_of_images_that_is_a_link_is_named_where_it_is_missing_and_where_it_is_not_needed(folder):
    (folder / "images").symlink_to(folder.parent / "there/images")
    with pytest.raises(DataError, match=r"d/images` is a link to `.*there/images`, outside the folder") as raised:
        seen(folder)
    assert raised.value.hint == WAY
    assert seen(folder, "follow_links=true").keys["image_folder"] == "images"
    shutil.copytree(folder.parent / "there/images", folder / "own")
    assert any("images` is a link to a folder outside and is not used" in note for note in seen(folder).notes)


def test_links_in_a_circle_are_listed_once(folder):
    (folder / "up").symlink_to(folder.parent)
    (folder / "same").symlink_to(folder / "masks")
    (folder.parent / "there/self").symlink_to(folder.parent / "there")
    (folder / "side").symlink_to(folder.parent / "there")
    assert set(listed(folder, follow=True).folders) == {"masks", "side/images", "side/masks"}
    with pytest.raises(DataError, match="is a link to"):
        recognise(folder, "d", {})
