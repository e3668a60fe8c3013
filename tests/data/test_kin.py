"""Names of one subject in two splits, and splits by the number of images."""

import json
import re
from pathlib import Path

import cv2
import pytest
from factories import blobs, experiment, scenes_experiment, write_experiment, write_sequences

from segcli.data.draws import assign
from segcli.data.kin import divided_kin
from segcli.data.split_settings import SequenceSplit, SplitSettings


@pytest.mark.parametrize(
    ("one", "other", "alone"),
    [
        ("Image_01L", "Image_01R", "Image_02L"),
        ("07_left", "07_right", "08_left"),
        ("plate3_x10_y20", "plate3_x10_y40", "plate4_x10_y20"),
        ("slide7_tile_3", "slide7_tile_12", "slide9_tile_1"),
        ("patient5_2", "patient5_1", "patient7_1"),
        ("culture12b", "culture12a", "culture13a"),
        ("12-b", "12-a", "13-a"),
        ("p01_v2", "p01_v1", "p02_v1"),
        ("p01_v2_R", "p01_v1_L", "p02_v1_L"),
        ("sub-01_ses-1_run-2", "sub-01_ses-2_run-1", "sub-02_ses-1_run-1"),
        ("slide1_0_512", "slide1_10240_0", "slide2_512_512"),
        ("vid1_00012", "vid1_00013", "vid2_00012"),
        ("0006R0_f00930", "0006R0_00960", "0007TP_006690"),
        ("cell7 (1)", "cell7 (2)", "cell8 (1)"),
        ("cell7", "cell7 - Copy", "cell8"),
        ("wsi7_tile_0_256", "wsi7_tile_256_0", "wsi8_tile_0_0"),
        ("patient3_visit2_L", "patient3_visit1_R", "patient4_visit1_L"),
    ],
)
def test_names_of_one_subject_in_two_splits_are_found(one, other, alone):
    rest = [re.sub(r"\d+", str(number), alone, count=1) for number in range(51, 57)]
    kin = divided_kin({"train": [one, alone, *rest], "val": [other]})
    assert kin is not None
    assert (kin.one, kin.other, kin.count) == (("train", one), ("val", other), 1)
    groups = {re.match(kin.pattern, name)[1] for name in (one, other)}
    assert len(groups) == 1
    assert all(re.match(kin.pattern, name)[1] not in groups for name in (alone, *rest))


@pytest.mark.parametrize(
    "names",
    [
        [f"image_{number:03d}" for number in range(40)],
        [f"{number}" for number in range(40)],
        [f"{number}_training" for number in range(21, 41)],
        [f"{17**number:x}" for number in range(20, 40)],
        [f"img ({number})" for number in range(1, 30)],
        ["road", "car", "tree", "house", "sky", "person"],
        [f"{kind}_{number:03d}" for number in range(20) for kind in ("benign", "malignant", "normal")],
        [f"site{number % 3}_{number:07d}" for number in range(40)],
        [f"{2007 + number // 10}_{17 * number:06d}" for number in range(60)],
        [f"hippocampus_{number:03d}" for number in (1, 3, 4, 6, 7, 8, 11, 14, 15, 17)],
    ],
)
def test_numbers_of_single_images_are_no_subjects(names):
    assert divided_kin({"train": names[::2], "val": names[1::2]}) is None


def test_a_side_before_the_number_is_found_and_numbers_of_persons_are_no_grid_of_tiles():
    eyes = [f"{side}_{number:03d}" for side in "LR" for number in range(8)]
    kin = divided_kin({"train": eyes[::3], "val": [name for name in eyes if name not in eyes[::3]]})
    assert kin is not None
    assert {re.match(kin.pattern, name)[1] for name in ("L_003", "R_003")} == {"003"}
    studies = [f"study{study}_{person}_{k}" for study in range(3) for person in (3, 5, 8) for k in (1, 2)]
    kin = divided_kin({"train": studies[::2], "val": studies[1::2]})
    assert kin is not None
    assert re.match(kin.pattern, "study1_3_2")[1] == "study1_3"


def test_left_and_right_eye_are_told_by_check_and_training_and_the_line_to_paste_mends_it(workplace, run_cli):
    for number in range(8):
        for side in "LR":
            image, mask = blobs(2 * number + (side == "R"))
            for kind, pixels in (("image", image), ("label", mask)):
                path = Path(f"data/{kind}/Image_{number:02d}{side}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    split = {"by": "fraction", "val": 0.3}
    config = write_experiment(workplace / "eyes.yaml", experiment(Path("data"), dataset__split=split))
    trained = run_cli("train", config, "--dry-run")
    assert "differ only in their ending" in " ".join(trained.err.split())
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    (finding,) = [each for each in found if each["code"] == "divided_subjects"]
    pasted = re.search(r"`split.group: '(.*)'`", finding["hint"])[1]
    write_experiment(config, experiment(Path("data"), dataset__split={**split, "group": pasted}))
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    assert "divided_subjects" not in {each["code"] for each in found}
    sides = json.loads(run_cli("data", "split", config, "--json").out)["names"]
    assert not {name[:-1] for name in sides["train"]} & {name[:-1] for name in sides["val"]}


# ---- shares of images
def test_shares_are_of_images_as_nearly_as_whole_groups_allow():
    sizes = {"a": 21, "b": 34, "c": 94}
    for seed in range(5):
        sides = assign(list(sizes), SequenceSplit(val=0.1, seed=seed), weight=sizes.__getitem__)
        assert sides == {"train": ["b", "c"], "val": ["a"], "test": []}


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2, 0.25, 0.5])
@pytest.mark.parametrize("count", [3, 7, 10, 30])
def test_single_images_and_equal_groups_are_drawn_as_before(count, share):
    names = [f"{number:02d}{side}" for number in range(count) for side in "ab"]
    single = assign(names[::2], SplitSettings(by="fraction", val=share, seed=3))
    pairs = assign(names, SplitSettings(by="fraction", val=share, seed=3, group=r"(\d+)"))
    assert len(single["val"]) == max(round(share * count), 1)
    assert len(pairs["val"]) == 2 * len(single["val"])


def test_a_split_far_from_its_share_is_told(workplace, run_cli):
    write_sequences(workplace / "data", {"Video_000": 12, "Video_001": 9})
    values = scenes_experiment(Path("data"), dataset__split={"val": 0.1})
    config = write_experiment(workplace / "scenes.yaml", values)
    expected = "`split.val: 0.1` asks for 10% of the images, but 43% are in `val` (9 of 21): 2 groups are not divided"
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    assert [each["message"] for each in found if each["code"] == "far_from_share"] == [expected]
    assert expected in " ".join(run_cli("train", config, "--dry-run").err.split())


def write_eyes(folder: Path) -> None:
    """Writes both eyes of six persons, `00L.png` to `05R.png`."""
    for number in range(12):
        for kind, pixels in zip(("image", "label"), blobs(number), strict=True):
            path = folder / kind / f"{number // 2:02d}{'LR'[number % 2]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)


def test_training_looks_at_the_test_split_too(workplace, run_cli):
    write_eyes(workplace / "data")
    split = {"by": "lists", "train": ["00*", "01*", "02L", "03*"], "val": ["04*"], "test": ["02R", "05*"]}
    config = write_experiment(workplace / "eyes.yaml", experiment(Path("data"), dataset__split=split))
    expected = "`02L` (train) and `02R` (test) differ only in their ending"
    assert expected in " ".join(run_cli("train", config, "--dry-run").err.split())
    (workplace / "data/label/05L.png").unlink()  # a fault of the test split hides nothing, and stops no training
    result = run_cli("train", config, "--dry-run")
    assert (result.code, expected in " ".join(result.err.split())) == (0, True)
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    assert {"divided_subjects", "missing_label"} <= {each["code"] for each in found}


def test_folds_have_no_shares_that_they_could_miss(workplace, run_cli):
    write_sequences(workplace / "data", {"Video_000": 12, "Video_001": 9})
    values = scenes_experiment(Path("data"), dataset__split={"val": 0.1})
    config = write_experiment(workplace / "scenes.yaml", values)
    fold = ("dataset.fold.index=0", "dataset.fold.of=2")
    result = run_cli("train", config, "--dry-run", *fold)
    assert (result.code, "asks for 10% of the images" in result.err) == (0, False)
    assert "far_from_share" not in run_cli("data", "check", config, "--json", *fold).out
