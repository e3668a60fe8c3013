import json
import shutil

import cv2
import numpy as np
import pytest
import yaml
from factories import blobs, write_folders

DATASET = {"name": "mine", "num_channels": 3}


@pytest.fixture
def check(run_cli, workplace):
    """`data check --json` on the data set in the working folder; returns exit code and findings by code."""
    write_folders(workplace / "data")

    def call(**keys):
        path = workplace / "set.yaml"
        path.write_text(yaml.safe_dump({**DATASET, "paths": {"root": "data"}, **keys}))
        result = run_cli("data", "check", path, "--json")
        document = json.loads(result.out)
        findings = {}
        for finding in document["findings"]:
            assert set(finding) == {"code", "severity", "file", "files", "message", "hint"}
            findings.setdefault(finding["code"], []).append(finding)
        return result.code, findings

    return call


def only(findings, code):
    (finding,) = findings[code]
    return finding


def test_a_clean_data_set_is_ready(check):
    code, findings = check()
    assert code == 0
    assert set(findings) == {"class_share"}
    assert [entry["severity"] for entry in findings["class_share"]] == ["info"] * 3


def damage(workplace, name):  # noqa: PLR0912 - a table of faults
    train = workplace / "data/train"
    match name:
        case "missing_label":
            (train / "label/03.png").unlink()
        case "extra_label":
            (train / "image/03.png").unlink()
        case "unreadable_image":
            content = (train / "image/03.png").read_bytes()
            (train / "image/03.png").write_bytes(content[: len(content) // 2])
        case "unreadable_label":
            (train / "label/03.png").write_text("junk")
        case "size_mismatch":
            cv2.imwrite(str(train / "label/03.png"), np.zeros((20, 48), np.uint8))
        case "wrong_channels":
            cv2.imwrite(str(train / "image/03.png"), blobs(3, channels=1)[0])
        case "unexpected_values":
            cv2.imwrite(str(train / "label/03.png"), cv2.blur(blobs(3)[1], (5, 5)))
        case "empty_mask":
            cv2.imwrite(str(train / "label/03.png"), np.zeros((48, 48), np.uint8))
        case "full_mask":
            cv2.imwrite(str(train / "label/03.png"), np.full((48, 48), 255, np.uint8))
        case "same_image_in_two_splits":
            image = cv2.imread(str(train / "image/03.png"))
            cv2.imwrite(str(workplace / "data/test/image/01.bmp"), image)  # other file, same pixels
            (workplace / "data/test/image/01.png").unlink()
        case "same_image_twice":
            shutil.copy(train / "image/03.png", train / "image/04.png")
        case "same_stem":
            cv2.imwrite(str(train / "image/03.bmp"), blobs(3)[0])
        case "missing_folder":
            shutil.rmtree(train / "label")
        case "empty_split":
            for path in (workplace / "data/val").glob("*/*.png"):
                path.unlink()
        case "constant_image":
            cv2.imwrite(str(train / "image/03.png"), np.full((48, 48, 3), 7, np.uint8))
        case "narrow_range":
            cv2.imwrite(str(train / "image/03.png"), blobs(3)[0].astype(np.uint16) * 16)
        case "no_split":
            shutil.rmtree(workplace / "data/test")
        case "class_share_differs":
            for path in (workplace / "data/test/label").iterdir():
                cv2.imwrite(str(path), 255 - cv2.imread(str(path), 0))


@pytest.mark.parametrize(
    ("name", "severity", "text"),
    [
        ("missing_label", "error", "data/train/image/03.png` has no mask"),
        ("extra_label", "warning", "data/train/label/03.png` belongs to no image"),
        ("unreadable_image", "error", "cannot read image `data/train/image/03.png`"),
        ("unreadable_label", "error", "data/train/label/03.png"),
        ("size_mismatch", "error", "label/03.png` is 20x48 pixels, its image `data/train/image/03.png` is 48x48"),
        ("wrong_channels", "error", "image/03.png` has 1 channel, but the data set states `num_channels: 3`"),
        ("unexpected_values", "error", "values, a binary mask has two: 0 ("),
        ("empty_mask", "warning", "label/03.png` is empty"),
        ("full_mask", "warning", "label/03.png` is all foreground"),
        (
            "same_image_in_two_splits",
            "error",
            "data/test/image/01.bmp` (test) has the pixels of `data/train/image/03.png`",
        ),
        ("same_image_twice", "warning", "data/train/image/04.png` (train) has the pixels of `data/train/image/03.png`"),
        ("same_stem", "error", "two images in `data/train/image` have the same stem: `03.bmp` and `03.png`"),
        ("missing_folder", "error", "no folder `data/train/label` with the masks of split `train`"),
        ("empty_split", "error", "split `val` is empty"),
        ("constant_image", "warning", "image/03.png` has the same value in every pixel"),
        ("narrow_range", "warning", "is 16-bit but its highest value is"),
        ("no_split", "info", "there is no `test` split"),
        ("class_share_differs", "warning", "of the `test` pixels"),
    ],
)
def test_each_fault_is_found_by_itself_and_named(check, workplace, name, severity, text):
    damage(workplace, name)
    code, findings = check()
    found = findings[name][0]
    assert found["severity"] == severity
    assert text in found["message"]
    assert found["hint"]
    assert len(findings[name]) <= 2
    assert code == (1 if severity == "error" else 0)
    others = {other for other in findings if findings[other][0]["severity"] == "error"} - {name}
    assert others == set()


def test_all_faults_of_a_data_set_are_found_in_one_go(check, workplace):
    damage(workplace, "missing_label")
    (workplace / "data/train/image/01.png").write_text("junk")
    (workplace / "data/val/label/00.png").write_text("junk")
    code, findings = check()
    assert code == 1
    assert {"missing_label", "unreadable_image", "unreadable_label"} <= set(findings)


def test_the_table_ends_with_the_verdict(run_cli, tiny, workplace):
    config = tiny()
    result = run_cli("data", "check", config)
    assert result.code == 0
    assert result.out.rstrip().endswith("ready to train: 0 errors, 0 warnings")
    damage(workplace, "missing_label")
    result = run_cli("data", "check", config)
    assert result.code == 1
    assert result.out.rstrip().endswith("not ready to train: 1 error, 0 warnings")


def test_a_fault_of_many_files_takes_a_few_rows_in_the_table_and_all_in_json(run_cli, tiny, workplace):
    config = tiny()
    for path in (workplace / "data/train/label").iterdir():
        path.unlink()
    assert "and 2 more like this" in run_cli("data", "check", config).out
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    assert sum(finding["code"] == "missing_label" for finding in found) == 6


def test_a_mistake_in_the_experiment_is_told_by_data_check(run_cli, tiny):
    result = run_cli("data", "check", tiny(training__epoch=3))
    assert result.code == 2
    assert "training.epoch: unknown key" in result.err


def test_stats_agree_with_numpy_inside_the_field_of_view_and_can_be_pasted(run_cli, workplace):
    write_folders(workplace / "data", {"train": 4})
    fov = np.zeros((48, 48), np.uint8)
    fov[10:40, 5:30] = 255
    (workplace / "data/train/fov").mkdir()
    for index in range(4):
        cv2.imwrite(str(workplace / f"data/train/fov/{index:02d}.png"), fov)
    path = workplace / "set.yaml"
    path.write_text(yaml.safe_dump({**DATASET, "paths": {"root": "data"}, "fov_folder": "fov"}))
    pixels = np.concatenate([blobs(index)[0][:, :, ::-1][fov > 0] for index in range(4)]) / 255
    masks = np.concatenate([blobs(index)[1][fov > 0] for index in range(4)]) > 0
    found = json.loads(run_cli("data", "stats", path, "--json").out)
    np.testing.assert_allclose(found["mean"], pixels.mean(0))
    np.testing.assert_allclose(found["std"], pixels.std(0))
    assert found["foreground_share"] == pytest.approx(masks.mean())
    pasted = yaml.safe_load(run_cli("data", "stats", path).out)
    np.testing.assert_allclose(pasted["mean"], pixels.mean(0), atol=1e-4)
    path.write_text(yaml.safe_dump({**DATASET, "paths": {"root": "data"}, **pasted}))
    assert run_cli("data", "check", path).code == 0


def test_stats_work_before_mean_and_std_are_known(run_cli, tiny):
    assert run_cli("data", "stats", tiny(dataset__mean=None, dataset__std=None)).code == 0


def test_an_unreadable_field_of_view_is_blamed_on_its_own_file(check, workplace):
    for split in ("train", "val", "test"):
        shutil.copytree(workplace / "data" / split / "label", workplace / "data" / split / "fov")
    path = workplace / "data/train/fov/02.png"
    path.write_bytes(path.read_bytes()[:60])
    code, findings = check(fov_folder="fov")
    assert code == 1
    assert only(findings, "unreadable_fov")["file"] == "data/train/fov/02.png"


def test_an_image_in_two_splits_is_found_even_where_its_mask_is_broken(check, workplace):
    shutil.copy(workplace / "data/train/image/03.png", workplace / "data/test/image/01.png")
    (workplace / "data/test/label/01.png").write_text("junk")
    _, findings = check()
    assert "data/test/image/01.png` (test)" in only(findings, "same_image_in_two_splits")["message"]
