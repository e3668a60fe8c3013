"""Links out of the data set, and chunks that a writer left out."""

import json
import shutil

import numpy as np
import pytest
import tifffile
import zarr
from factories import experiment, write_experiment, write_folders

from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels
from segcli.data.samples import Case
from segcli.data.sources import chunks_left_out, links_outside


@pytest.fixture
def images(workplace):
    write_folders(workplace / "data")
    write_experiment(workplace / "tiny.yaml", experiment(workplace / "data"))
    return sorted((workplace / "data/train/image").iterdir())


def links(run_cli):
    found = json.loads(run_cli("data", "check", "tiny.yaml", "--json").out)["findings"]
    return [finding for finding in found if finding["code"] == "link_outside"]


def test_links_within_the_data_set_are_followed_without_a_word(run_cli, images, workplace):
    images[0].rename(workplace / "data/first.png")
    images[0].symlink_to(workplace / "data/first.png")
    (workplace / "data").rename(workplace / "elsewhere")
    (workplace / "data").symlink_to(workplace / "elsewhere")  # the user named this one
    assert links(run_cli) == []


def test_the_first_link_out_of_the_data_set_is_told_with_its_target(run_cli, images, workplace):
    for index, image in enumerate(images[:2]):
        image.rename(workplace / f"outside{index}.png")
        image.symlink_to(workplace / f"outside{index}.png")
    (told,) = links(run_cli)
    assert told["severity"] == "error"
    assert (
        f"is a link to `{workplace}/outside0.png`, outside the folder of the data set (and 1 more links)"
        in (told["message"])
    )


def test_every_command_refuses_a_link_out_of_the_data_set_unless_it_is_allowed(run_cli, images, workplace):
    assert run_cli("train", "tiny.yaml", "training.epochs=1").code == 0
    for path in (images[0], workplace / "data/test/image/00.png"):
        path.rename(workplace / f"{path.parent.parent.name}.png")
        path.symlink_to(workplace / f"{path.parent.parent.name}.png")
    for words in (["train", "tiny.yaml", "--dry-run"], ["eval", "tiny"]):
        refused = run_cli(*words)
        assert refused.code == 3
        assert "outside the folder of the data set" in refused.err
        assert run_cli(*words, "dataset.follow_links=true").code == 0
    assert run_cli("data", "check", "tiny.yaml").code == 1
    assert run_cli("data", "check", "tiny.yaml", "dataset.follow_links=true").code == 0


def test_a_linked_folder_is_told_once(run_cli, images, workplace):
    shutil.move(workplace / "data/train/label", workplace / "labels")
    (workplace / "data/train/label").symlink_to(workplace / "labels")
    (told,) = links(run_cli)
    assert "`data/train/label` is a link to" in told["message"]
    assert "more links" not in told["message"]


def test_links_within_an_image_that_is_a_folder_are_found(workplace):
    folder = workplace / "data/a.zarr"
    zarr.create_array(folder, data=np.ones((4, 4), np.uint8), chunks=(2, 2))
    (folder / "c/0/0").rename(workplace / "chunk")
    (folder / "c/0/0").symlink_to(workplace / "chunk")
    (told,) = links_outside([workplace / "data"], [Case("a", folder)])
    assert told.file == folder / "c/0/0"


def array(path, *, version=3, shards=None, fill=0):
    return zarr.create_array(
        path, shape=(8, 8), chunks=(2, 2), shards=shards, dtype="u1", zarr_format=version, fill_value=fill
    )


@pytest.mark.parametrize(("version", "shards"), [(2, None), (3, None), (3, (4, 4))])
def test_an_image_without_chunks_is_refused_and_a_mask_of_zeros_is_not(tmp_path, version, shards):
    made = array(tmp_path / "a.zarr", version=version, shards=shards, fill=7)
    with pytest.raises(DataError, match=r"a.zarr` has no chunks: every pixel would be read as the fill value 7"):
        read_image(tmp_path / "a.zarr")
    assert (read_labels(tmp_path / "a.zarr") == 7).all()
    made[:4, :4] = 1
    assert read_image(tmp_path / "a.zarr").sum() == 16 + 7 * 48
    (told,) = chunks_left_out("train", [Case("a", tmp_path / "a.zarr")], 2)
    assert "a.zarr` lacks 75% of its chunks or tiles, which are read as one value" in told.message
    made[:] = 1
    assert list(chunks_left_out("train", [Case("a", tmp_path / "a.zarr")], 2)) == []


def test_the_check_counts_images_that_lack_chunks(run_cli, workplace):
    for split in ("train", "val"):
        for index in range(2):
            made = array(workplace / f"data/{split}/image/{index}.zarr")
            made[:4] = index + 1 + 10 * (split == "val")
            mask = array(workplace / f"data/{split}/label/{index}.zarr")
            mask[:2] = 1
    keys = {"dataset__num_channels": 1, "dataset__mean": [0.5], "dataset__std": [0.2], "dataset__extensions": ["zarr"]}
    write_experiment(workplace / "a.yaml", experiment(workplace / "data", **keys))
    checked = run_cli("data", "check", "a.yaml", "--json")
    found = [each for each in json.loads(checked.out)["findings"] if each["code"] == "chunks_left_out"]
    assert [each["severity"] for each in found] == ["warning", "warning"]
    assert "lacks 50% of its chunks or tiles" in found[0]["message"]
    assert "(so do 1 more images of `train`)" in found[0]["message"]


def turned(path):
    """Let the pages of a file state that they are to be turned."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            page.tags["Orientation"].overwrite(6)
    return path


@pytest.mark.parametrize(
    "options", [{"rowsperstrip": 4, "compression": "zlib"}, {"tile": (16, 16), "compression": "zlib"}]
)
def test_tiles_that_a_writer_of_tiff_left_out_are_counted(tmp_path, options):
    path = tmp_path / "a.tif"
    pages = np.full((3, 32, 32), 9, np.uint8)
    tifffile.imwrite(path, pages, photometric="minisblack", extratags=[(274, "H", 1, 1, False)], **options)
    assert list(chunks_left_out("train", [Case("a", path)], 3)) == []
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("TileByteCounts", "TileOffsets") if "tile" in options else ("StripByteCounts", "StripOffsets"):
            tag = file.pages[1].tags[name]
            tag.overwrite((0, *tag.value[1:]))
    (told,) = chunks_left_out("train", [Case("a", path)], 3)
    assert list(chunks_left_out("train", [Case("a", turned(path))], 3)) == [told]
    assert f"lacks {1 / (12 if 'tile' in options else 24):.0%} of its chunks or tiles" in told.message


def test_tiles_left_out_of_the_stated_page_of_a_file_of_several_are_counted(run_cli, workplace):
    for split, name in (("train", "0"), ("val", "1")):
        for folder in ("image", "label"):
            path = workplace / f"data/{split}/{folder}/{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((3, 32, 32), int(name) + 1 if folder == "image" else 0, np.uint8)
            pixels[:, :8, :8] = 1
            tifffile.imwrite(path, pixels, photometric="minisblack", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(workplace / "data/train/image/0.tif", mode="r+") as file:
        for name in ("TileByteCounts", "TileOffsets"):
            tag = file.pages[2].tags[name]
            tag.overwrite((*tag.value[:-1], 0))
    keys = {"dataset__num_channels": 1, "dataset__mean": [0.5], "dataset__std": [0.2], "dataset__extensions": ["tif"]}
    write_experiment(workplace / "a.yaml", experiment(workplace / "data", **keys))
    for page, count in ((1, 0), (2, 1)):
        checked = run_cli("data", "check", "a.yaml", f"dataset.page={page}", "--json")
        found = [each for each in json.loads(checked.out)["findings"] if each["code"] == "chunks_left_out"]
        assert len(found) == count, (page, found)
    assert "0.tif` lacks 25% of its chunks or tiles" in found[0]["message"]
    trained = run_cli("train", "a.yaml", "dataset.page=2", "--dry-run")
    assert found[0]["message"] in " ".join(trained.err.split())


def test_train_eval_and_predict_tell_of_chunks_in_the_words_of_the_check(run_cli, workplace):
    for split in ("train", "val"):
        for index in range(2):
            path = workplace / f"data/{split}/image/{index}.zarr"
            made = zarr.create_array(path, shape=(32, 32), chunks=(16, 16), dtype="u1")
            made[:16] = index + 1 + 10 * (split == "val")
            zarr.create_array(workplace / f"data/{split}/label/{index}.zarr", shape=(32, 32), dtype="u1")[:4] = 1
    keys = {"dataset__num_channels": 1, "dataset__mean": [0.5], "dataset__std": [0.2], "dataset__extensions": ["zarr"]}
    write_experiment(workplace / "a.yaml", experiment(workplace / "data", **keys))
    findings = json.loads(run_cli("data", "check", "a.yaml", "--json").out)["findings"]
    (told,) = (
        each["message"] for each in findings if each["code"] == "chunks_left_out" and "of `val`)" in each["message"]
    )
    trained = run_cli("train", "a.yaml")
    assert trained.code == 0, trained.err
    scored = run_cli("eval", "--split", "val")
    for result in (trained, scored):
        assert told in " ".join(result.err.split())
    predicted = run_cli("predict", "data/val/image", "--out", "found")
    assert predicted.code == 0
    assert "0.zarr` lacks 50% of its chunks or tiles, which are read as one value (so do 1 more images)" in " ".join(
        predicted.err.split()
    )
