"""What `data check` writes beside its table, and `data stats --write`."""

import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from planted import cells, folders


@pytest.fixture
def made(workplace):
    """A clean data set in folders, with its file `set.yaml`."""
    made = folders(workplace / "data")
    (workplace / "set.yaml").write_text(yaml.safe_dump({**made.keys, "paths": {"root": "data"}}))
    return made


def test_a_data_set_alone_is_checked_without_pytorch(made, workplace):
    code = "import sys; from segcli.__main__ import main; sys.argv[1:] = ['data', 'check', 'set.yaml', '--json']\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\nprint(sorted({'torch', 'scipy'} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=workplace, check=True)
    assert '"findings": [' in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"


def test_strict_makes_a_warning_fail(run_cli, made):
    made.write("train", 3, mask=np.zeros((96, 96), np.uint8))
    assert run_cli("data", "check", "set.yaml").code == 0
    assert run_cli("data", "check", "set.yaml", "--strict").code == 1


def test_the_page_is_one_file_that_shows_both_images_of_a_pair(run_cli, made, workplace):
    image, mask = made.read("train", 3)
    made.write("test", 1, image=np.ascontiguousarray(image[:, ::-1]), mask=np.ascontiguousarray(mask[:, ::-1]))
    assert run_cli("data", "check", "set.yaml", "--html", "page.html").code == 0
    page = (workplace / "page.html").read_text()
    section = page[page.index("<h2>nearly_same_image_in_two_splits") :].partition("</section>")[0]
    assert section.count("<figure>") == 2
    assert "train03.png" in section
    assert "test01.png" in section
    assert "width=device-width" in page
    assert (
        "<code>data/test/image/test01.png</code> (test) looks nearly like <code>data/train/image/train03.png</code>"
        in section
    )
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    (pair,) = (each for each in found if each["code"] == "nearly_same_image_in_two_splits")
    assert pair["files"] == ["data/test/image/test01.png", "data/train/image/train03.png"]
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) <= {"data:", '#s0">', '#s1">', '#s2">', '#s3">', '#s4">'}


def test_the_page_counts_what_it_shows_and_has_the_shares_of_the_table(run_cli, made, workplace):
    told = run_cli("data", "check", "set.yaml", "dataset.mean=null", "dataset.std=null", "--html", "page.html").out
    page = (workplace / "page.html").read_text()
    shown = sum(map(int, re.findall(r"<h2>\w+ \(info, (\d+)\)", page)))
    assert f"<span>notes</span><b>{shown}</b>" in page
    (share,) = re.findall(r"train .* ([\d.]+%)", told)
    assert f">{share}<" in page


def test_a_place_where_no_page_can_be_written_is_refused_before_the_check(run_cli, made):
    for place, why in (
        (".", "`.` is a folder"),
        ("data", "`data` is a folder"),
        ("set.yaml/a/b", "`set.yaml` is a file"),
    ):
        result = run_cli("data", "check", "set.yaml", "--html", place)
        assert (result.code, result.out) == (3, "")
        assert why in result.err


def test_a_fixed_copy_has_no_findings_and_the_original_stays(run_cli, made, workplace):
    image, mask = cells(50, (80, 96))
    for path in made.places["train"][0]:
        path.unlink()
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(image[::-1, ::-1]).save(workplace / "data/train/image/train00.jpg", exif=exif, quality=95)
    made.write("train", 0, mask=mask)
    made.write("train", 1, mask=made.read("train", 1)[1] // 255)
    made.write("train", 2, mask=cv2.blur(made.read("train", 2)[1], (2, 2)))
    before = {path: path.read_bytes() for path in (workplace / "data").rglob("*.*")}
    result = run_cli("data", "check", "set.yaml", "--fix", "mended", "--json")
    assert result.code == 1  # the original has errors
    assert {path: path.read_bytes() for path in (workplace / "data").rglob("*.*")} == before
    upright = np.asarray(Image.open(workplace / "mended/train/image/train00.png")).astype(int)
    assert np.abs(upright - image).mean() < 3
    for index in (1, 2):
        mask = np.asarray(Image.open(workplace / f"mended/train/label/train0{index}.png"))
        assert set(np.unique(mask)) == {0, 255}
    told = json.loads(result.out)["mended"]
    listed = (workplace / "mended/mended.txt").read_text()
    assert (told["folder"], told["num_images"], told["left"], told["out"]) == ("mended", 14, [], [])
    assert told["done"] == listed.splitlines()
    assert "data/train/image/train00.jpg: turned upright, written as PNG\n" in listed
    assert "data/train/label/train01.png: 0 and 1 written as 0 and 255\n" in listed
    assert "data/train/label/train02.png: smoothed outlines cut at 127\n" in listed
    assert len(listed.splitlines()) == 3
    result = run_cli("data", "check", "set.yaml", "dataset.paths.root=mended", "--json", "--strict")
    assert (result.code, [each for each in json.loads(result.out)["findings"] if each["hint"]]) == (0, [])
    again = run_cli("data", "check", "set.yaml", "--fix", "mended")
    assert (again.code, "folder `mended` is not empty" in again.err) == (2, True)


def test_a_fixed_copy_keeps_the_page_that_the_data_set_reads(run_cli, made, workplace):
    image, mask = cells(50, (80, 96))
    for path, pixels in zip(made.places["train"][0], (image, mask), strict=True):
        path.unlink()
        turned = [(274, 3, 1, 3, True)] if pixels is image else []  # upside down
        with tifffile.TiffWriter(path.with_suffix(".tif")) as file:
            file.write(np.zeros_like(pixels), extratags=turned)
            file.write(np.ascontiguousarray(pixels[::-1, ::-1]) if turned else pixels, extratags=turned)
    keys = {**made.keys, "paths": {"root": "data"}, "page": 1}
    (workplace / "set.yaml").write_text(yaml.safe_dump(keys))
    assert run_cli("data", "check", "set.yaml", "--fix", "mended").code == 0
    first = workplace / "mended/train/image/train00.png"
    assert (cv2.imread(str(first), cv2.IMREAD_UNCHANGED) == image).all()
    assert (workplace / "mended/mended.txt").read_text() == (
        "data/train/image/train00.tif: turned upright, written as PNG\n"
    )


def test_a_fixed_copy_tells_what_it_cannot_mend_and_what_it_leaves_out(run_cli, made, workplace):
    image, mask = made.read("train", 0)
    for places in (pair for members in made.places.values() for pair in members):
        for path, ending in zip(places, (".jpg", ".bmp"), strict=True):
            Image.fromarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).save(path.with_suffix(ending))
            path.unlink()
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(np.ascontiguousarray(image[::-1, ::-1])).save(workplace / "data/train/image/train00.jpg", exif=exif)
    Image.fromarray(mask).save(workplace / "data/train/label/other.bmp")
    lost = workplace / "data/train/label/train01.bmp"
    lost.unlink()
    lost.symlink_to("nowhere.bmp")
    keys = {**made.keys, "paths": {"root": "data"}, "extensions": ["jpg", "bmp"]}
    (workplace / "set.yaml").write_text(yaml.safe_dump(keys))
    result = run_cli("data", "check", "set.yaml", "--fix", "mended")
    assert (workplace / "mended/train/image/train00.jpg").exists()
    assert (workplace / "mended/mended.txt").read_text().splitlines() == [
        "data/train/image/train00.jpg: copied as it is: turned upright needs PNG, which `extensions` does not list",
        "data/train/label/train01.bmp: not copied: no file `data/train/label/train01.bmp`",
        "data/train/label/other.bmp: not copied: it belongs to no image of the data set",
    ]
    assert "2 files not copied, such as data/train/label/train01.bmp" in result.err


def test_a_fixed_copy_writes_no_masks_with_an_extension_that_is_not_read(run_cli, made, workplace):
    for _, path in (pair for members in made.places.values() for pair in members):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), (mask > 0).astype(np.uint8))
    keys = {**made.keys, "paths": {"root": "data"}, "label_extensions": ["tif"]}
    (workplace / "set.yaml").write_text(yaml.safe_dump(keys))
    assert run_cli("data", "check", "set.yaml", "--fix", "mended").code == 0
    listed = (workplace / "mended/mended.txt").read_text().splitlines()
    assert {line.partition(": ")[2] for line in listed} == {
        "copied as it is: 0 and 1 written as 0 and 255 needs PNG, which `label_extensions` does not list"
    }
    assert len(list((workplace / "mended/train/label").glob("*.tif"))) == len(made.places["train"])


@pytest.mark.posix
def test_a_fixed_copy_leaves_out_a_named_pipe(run_cli, made, workplace):
    (pipe := workplace / "data/train/label/train02.png").unlink()
    os.mkfifo(pipe)
    (workplace / "set.yaml").write_text(yaml.safe_dump({**made.keys, "paths": {"root": "data"}}))
    result = run_cli("data", "check", "set.yaml", "--fix", "mended")
    assert result.code == 1
    told = "data/train/label/train02.png: not copied: `data/train/label/train02.png` is a named pipe, not a file"
    assert told in (workplace / "mended/mended.txt").read_text().splitlines()


def test_a_copy_is_refused_before_anything_is_written(run_cli, made, workplace):
    (workplace / "afile").write_text("mine")
    for place, why in (
        ("afile", "`afile` is a file"),
        ("afile/below", "afile` is a file"),
        ("data/train/copy", "lie in each other"),
        (".", "lie in each other"),
    ):
        result = run_cli("data", "check", "set.yaml", "--fix", place)
        assert (result.code, result.out) == (2, "")
        assert why in result.err
    (workplace / "data/val").rename(workplace / "val")
    (workplace / "set.yaml").write_text(yaml.safe_dump({**made.keys, "paths": {"root": "data", "val": "val"}}))
    result = run_cli("data", "check", "set.yaml", "--fix", "mended")
    assert result.code == 3
    assert "lies outside of" in result.err
    assert not (workplace / "mended").exists()


def test_a_copy_of_masks_above_the_data_set_is_refused_and_replaces_none(run_cli, made, workplace):
    (workplace / "mine").mkdir()
    for path in sorted((workplace / "data").glob("*/label/*")):
        path.rename(workplace / "mine" / path.name)
    before = {path.name: path.read_bytes() for path in (workplace / "mine").iterdir()}
    keys = {**made.keys, "paths": {"root": "data"}, "label_folder": "../../mine"}
    (workplace / "set.yaml").write_text(yaml.safe_dump(keys))
    result = run_cli("data", "check", "set.yaml", "--fix", "mended")
    assert result.code == 3
    assert "lies outside of" in result.err
    assert not (workplace / "mended").exists()
    assert {path.name: path.read_bytes() for path in (workplace / "mine").iterdir()} == before


def test_a_fixed_copy_has_no_alpha_and_names_in_the_normal_form(run_cli, made, workplace):
    image = made.read("train", 3)[0]
    Image.fromarray(np.dstack([image, np.full_like(image, 200)])).save(made.places["train"][3][0])
    for path in made.places["train"][7]:
        path.rename(path.with_name("zelle\N{COMBINING DIAERESIS}.png"))
    assert run_cli("data", "check", "set.yaml", "--fix", "mended").code == 0
    copy = Image.open(workplace / "mended/train/image/train03.png")
    assert copy.mode == "L"
    assert np.array_equal(np.asarray(copy), image)
    named = "zell\N{LATIN SMALL LETTER E WITH DIAERESIS}.png"
    for kind in ("image", "label"):
        assert named in {path.name for path in (workplace / "mended/train" / kind).iterdir()}
    listed = (workplace / "mended/mended.txt").read_text()
    assert "data/train/image/train03.png: alpha channel dropped\n" in listed
    assert listed.count("name in the normal form of Unicode\n") == 2
    result = run_cli("data", "check", "set.yaml", "dataset.paths.root=mended", "--json", "--strict")
    assert (result.code, [each for each in json.loads(result.out)["findings"] if each["hint"]]) == (0, [])


def test_written_numbers_are_the_measured_ones_and_comments_stay(run_cli, made, workplace):
    path = workplace / "set.yaml"
    path.write_text("# my data\n" + path.read_text() + "mean: [0.9]  # a guess\nstd: [0.1]\n# the end\n")
    (finding,) = (
        each
        for each in json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
        if each["code"] == "far_numbers"
    )
    assert "--write` writes the measured ones" in finding["hint"]
    assert run_cli("data", "stats", "set.yaml", "--write").code == 0
    pixels = np.stack([made.read("train", index)[0] for index in range(8)]) / 255
    text = path.read_text()
    assert yaml.safe_load(text)["mean"] == pytest.approx([pixels.mean()], abs=1e-5)
    assert yaml.safe_load(text)["std"] == pytest.approx([pixels.std()], abs=1e-5)
    assert text.startswith("# my data\n")
    assert re.search(r"mean: \[0\.\d+\]  # a guess\nstd: \[0\.\d+\]\n# the end\n$", text)
    codes = {each["code"] for each in json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]}
    assert "far_numbers" not in codes


def test_numbers_are_added_to_the_data_set_in_an_experiment(run_cli, made, workplace):
    path = workplace / "experiment.yaml"
    path.write_text(
        "name: mine\ndataset:\n  paths: {root: data}  # here\n  num_channels: 1\n\n# the network\nmodel: {type: unet}\n"
    )
    result = run_cli("data", "stats", path, "--write")
    assert result.code == 0
    values = yaml.safe_load(path.read_text())
    assert set(values["dataset"]) == {"paths", "num_channels", "mean", "std"}
    assert values["model"] == {"type": "unet"}
    assert "# here\n  num_channels: 1\n  mean: [" in path.read_text()
    assert "objects of" in result.out
    assert "percentiles: 0.5 %" in result.out


def test_numbers_are_written_through_a_link_and_not_into_a_read_only_file(run_cli, made, workplace):
    (workplace / "real").mkdir()
    real = (workplace / "set.yaml").rename(workplace / "real" / "set.yaml")
    real.write_text(real.read_text().replace("root: data", f"root: {workplace / 'data'}"))
    (workplace / "set.yaml").symlink_to(real)
    real.chmod(0o444)
    refused, before = run_cli("data", "stats", "set.yaml", "--write"), real.read_text()
    assert refused.code == 3
    assert "`set.yaml` is read-only" in refused.err
    real.chmod(0o644)
    assert run_cli("data", "stats", "set.yaml", "--write").code == 0
    assert (workplace / "set.yaml").is_symlink()
    assert real.read_text().startswith(before.rstrip("\n"))
    assert "mean: [" in real.read_text()


def test_numbers_of_imagenet_are_named_as_such_and_no_mistake(run_cli, workplace):
    made = folders(workplace / "data")
    for split, members in made.places.items():
        for index in range(len(members)):
            made.write(split, index, image=cv2.cvtColor(made.read(split, index)[0] // 8, cv2.COLOR_GRAY2BGR))
    numbers = {"num_channels": 3, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    (workplace / "set.yaml").write_text(yaml.safe_dump({**made.keys, **numbers, "paths": {"root": "data"}}))
    found = json.loads(run_cli("data", "check", "set.yaml", "--json").out)["findings"]
    (about,) = (each for each in found if each["code"] in ("imagenet_numbers", "far_numbers"))
    assert (about["code"], about["severity"]) == ("imagenet_numbers", "info")
    assert "are those of ImageNet" in about["message"]


def test_names_without_a_group_are_no_missing_folder(run_cli, made, workplace):
    for kind in ("image", "label"):
        (workplace / "data/train" / kind).rename(workplace / "data" / kind)
    split = {"by": "fraction", "val": 0.25, "group": "^(p[0-9]+)_"}
    (workplace / "set.yaml").write_text(yaml.safe_dump({**made.keys, "paths": {"root": "data"}, "split": split}))
    shown = json.loads(run_cli("data", "check", "set.yaml", "--json").out)
    errors = [(each["code"], each["message"]) for each in shown["findings"] if each["severity"] == "error"]
    why = "image `train00` does not match `split.group: ^(p[0-9]+)_`, so it belongs to no group"
    assert errors == [("unmatched_group", why)]
    assert shown["splits"] == []


def test_a_patch_that_is_mostly_padding_and_tiny_objects_are_told(run_cli, made, workplace):
    values = {"name": "mine", "dataset": "set.yaml", "data": {"patch_size": [128, 128]}, "device": "cpu"}
    (workplace / "run.yaml").write_text(yaml.safe_dump({**values, "model": {"type": "unet", "depths": [4] * 6}}))
    found = {each["code"] for each in json.loads(run_cli("data", "check", "run.yaml", "--json").out)["findings"]}
    assert {"padded_patches", "tiny_objects"} <= found
    fitting = ("data.patch_size=[96,96]", "model.depths=[4,8]")
    found = {
        each["code"] for each in json.loads(run_cli("data", "check", "run.yaml", "--json", *fitting).out)["findings"]
    }
    assert found & {"padded_patches", "tiny_objects"} == set()
