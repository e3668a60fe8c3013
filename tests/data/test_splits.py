from itertools import product

import pytest
from pydantic import ValidationError

from segcli.core.errors import DataError
from segcli.data.draws import assign
from segcli.data.split_settings import SequenceSplit, SplitSettings
from segcli.data.splits import divide

KEYS = [f"Image_{number:02d}{side}" for number in range(1, 11) for side in "LR"]


def settings(**keys):
    return SplitSettings(by="fraction", **{"val": 0.2, "test": 0.3, **keys})


def test_every_image_is_in_one_split_and_the_shares_are_kept():
    drawn = assign(KEYS, settings())
    assert sorted(key for keys in drawn.values() for key in keys) == sorted(KEYS)
    assert {split: len(keys) for split, keys in drawn.items()} == {"test": 6, "val": 4, "train": 10}


def test_the_same_seed_draws_the_same_split_whatever_the_order_of_files():
    one, other = assign(KEYS, settings()), assign(KEYS[::-1], settings())
    assert {split: set(keys) for split, keys in one.items()} == {split: set(keys) for split, keys in other.items()}
    assert assign(KEYS, settings(seed=1)) != one


def test_both_eyes_of_a_person_stay_on_one_side():
    drawn = assign(KEYS, settings(group=r"Image_(\d+)"))
    people = {split: {key[:-1] for key in keys} for split, keys in drawn.items()}
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == 10
    assert len(drawn["test"]) == 6


@pytest.mark.parametrize(
    "sizes", [(21, 34, 94), (60, 30, 10, 55, 5), (100, 2, 2, 2, 2, 2), tuple(range(1, 9)), (1, 2, 4, 8, 16, 32)]
)
@pytest.mark.parametrize(("val", "test"), [(0.1, None), (0.2, 0.2), (0.1, 0.3)])
def test_shares_are_reached_as_nearly_as_any_choice_of_whole_groups(sizes, val, test):
    keys = [f"{name}{number}" for name, size in zip("abcdefgh", sizes, strict=False) for number in range(size)]

    def gap(*counts):
        return sum(abs(count - (share or 0) * len(keys)) for count, share in zip(counts, (val, test), strict=True))

    choices = [
        choice for choice in product(range(3 if test else 2), repeat=len(sizes)) if len(set(choice)) == 2 + bool(test)
    ]
    totals = [
        [sum(size for size, side in zip(sizes, choice, strict=True) if side == k) for k in (1, 2)] for choice in choices
    ]
    drawn = assign(keys, settings(val=val, test=test, group="^."))
    assert gap(len(drawn["val"]), len(drawn["test"])) <= min(gap(*each) for each in totals) + 0.5


def test_too_few_images_are_told():
    with pytest.raises(DataError, match=r"2 images .* are too few"):
        assign(["a", "b"], settings())


def test_an_image_that_the_group_does_not_match_is_told():
    with pytest.raises(DataError, match="image `other` does not match"):
        assign([*KEYS, "other"], settings(group=r"Image_(\d+)"))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"by": "fraction", "val": "a.txt"}, "is a share"),
        ({"by": "lists"}, "needs `train`"),
        ({"by": "lists", "val": 0.5}, "is a list with"),
        ({"by": "lists", "train": "a.txt", "val": 0.5}, "remove `train`, or list all names"),
        ({"by": "fraction", "train": ["a"]}, "needs `by: lists`"),
        ({"by": "lists", "val": ["a"], "split_file": "split.yaml"}, "here all names are listed"),
        ({"by": "folders", "val": ["a"]}, "is a share such as 0.2 with `by: folders`"),
        ({"by": "folders", "test": 0.2}, "is a folder"),
        ({"by": "fraction", "val": 0.6, "test": 0.5}, "leave nothing for training"),
        ({"by": "fraction", "val": 0.1, "group": "("}, "not a regular expression"),
    ],
)
def test_settings_that_cannot_work_are_refused(keys, text):
    with pytest.raises(ValidationError, match=text):
        SplitSettings(**keys)


def test_list_files_name_images_with_or_without_extension(tmp_path):
    (tmp_path / "train.txt").write_text("# first\nb.png\n\na\n")
    settings = SplitSettings(by="lists", train="train.txt")
    assert divide(["a", "b", "c"], settings, tmp_path).sides == {"train": ["b", "a"], "val": [], "test": []}


def test_a_list_may_stand_in_place_and_what_is_left_is_for_training(tmp_path):
    settings = SplitSettings(by="lists", val=["Image_09L.jpg", "Image_10R"], test=["Image_01L"])
    sides = divide(KEYS, settings, tmp_path).sides
    assert sides["val"] == ["Image_09L", "Image_10R"]
    assert sides["train"] == [key for key in KEYS if key not in ("Image_09L", "Image_10R", "Image_01L")]


def test_a_list_that_names_what_is_not_there_is_blamed_by_line(tmp_path):
    (tmp_path / "train.txt").write_text("a\nzebra\n")
    with pytest.raises(DataError, match=r"train.txt:2: no image named `zebra`"):
        divide(["a"], SplitSettings(by="lists", train="train.txt"), tmp_path)
    with pytest.raises(DataError, match=r"`split.val`: no image named `zebra`"):
        divide(["a"], SplitSettings(by="lists", val=["zebra"]), tmp_path)
    with pytest.raises(DataError, match="no list file"):
        divide(["a"], SplitSettings(by="lists", train="none.txt"), tmp_path)


def test_lists_that_put_an_image_or_a_person_on_two_sides_are_refused(tmp_path):
    with pytest.raises(DataError, match="image `a` is in the splits `train` and `val`"):
        divide(["a", "b"], SplitSettings(by="lists", train=["a"], val=["b", "a"]), tmp_path)
    eyes = SplitSettings(by="lists", val=["Image_03R"], group=r"Image_(\d+)")
    with pytest.raises(DataError, match="`Image_03R` and `Image_03L` of the same group are in"):
        divide(KEYS, eyes, tmp_path)


CLIPS = [f"Video_{number:03d}" for number in range(10)]


def test_sequences_may_be_listed_by_pattern_and_the_others_drawn(tmp_path):
    sides = divide(CLIPS, SequenceSplit(test=["Video_00[12]", "Video_007"], val=0.3), tmp_path).sides
    assert sides["test"] == ["Video_001", "Video_002", "Video_007"]
    assert {split: len(names) for split, names in sides.items()} == {"train": 5, "val": 2, "test": 3}
    assert sorted(name for names in sides.values() for name in names) == CLIPS


def test_without_any_wish_all_is_for_training(tmp_path):
    assert divide(CLIPS, SequenceSplit(), tmp_path).sides == {"train": CLIPS, "val": [], "test": []}


def test_a_split_file_keeps_a_draw_when_names_are_added(tmp_path):
    settings = SequenceSplit(val=0.2, test=0.2)
    first = divide(CLIPS, settings, tmp_path)
    assert not first.kept
    first.write()
    later = divide([*CLIPS, "Video_010", "Video_011"], settings, tmp_path)
    assert later.kept
    assert later.sides == first.sides
    assert later.left_out == ("Video_010", "Video_011")
    forced = settings.model_copy(update={"force_resplit": True})
    assert sum(map(len, divide([*CLIPS, "Video_010"], forced, tmp_path).sides.values())) == 11
    assert (tmp_path / "split.yaml").read_text().startswith("# Which sequence is for what; runs reuse this file")


def test_a_split_file_of_other_settings_is_told_and_not_used(tmp_path):
    divide(CLIPS, SequenceSplit(val=0.2), tmp_path).write()
    with pytest.raises(DataError, match=r"drawn with `seed: 0`, but the data-set file says `seed: 3`") as caught:
        divide(CLIPS, SequenceSplit(val=0.2, seed=3), tmp_path)
    assert "`segcli data split CONFIG` or `dataset.split.force_resplit=true`" in str(caught.value)
    with pytest.raises(DataError, match=r"drawn with `by: sequence`, but the data-set file says `by: frame`"):
        divide(CLIPS, SequenceSplit(by="frame", val=0.2), tmp_path)
    elsewhere = SequenceSplit(val=0.2, seed=3, split_file="fold_3.yaml")
    assert divide(CLIPS, elsewhere, tmp_path).file.name == "fold_3.yaml"


def test_a_split_file_written_by_hand_is_taken_as_it_is(tmp_path):
    (tmp_path / "mine.yaml").write_text("train: [0001, 0003]\nval: [0002]\n")
    settings = SequenceSplit(split_file="mine.yaml")
    assert divide(["0001", "0002", "0003"], settings, tmp_path).sides == {
        "train": ["0001", "0003"],
        "val": ["0002"],
        "test": [],
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("train: [a, zebra, lion]\n", r"names sequence `zebra` \(and 1 more\), which is missing in the data set"),
        ("train: [a]\nval: [a]\n", "sequence `a` is in the splits `train` and `val`"),
        ("train: a\n", "has no lists of names under `train`, `val` and `test`"),
        ("- a\n", "has no lists of names"),
        ("train: [a\n", "cannot read split file .*split.yaml:2`"),
    ],
)
def test_a_split_file_that_cannot_be_used_is_told_in_one_sentence(tmp_path, content, text):
    (tmp_path / "split.yaml").write_text(content)
    with pytest.raises(DataError, match=text):
        divide(["a", "b", "c"], SequenceSplit(val=0.3), tmp_path)


def test_a_split_file_that_is_stated_and_missing_is_told(tmp_path):
    with pytest.raises(DataError, match=r"no split file `.*mine.yaml`"):
        divide(["a"], SequenceSplit(split_file="mine.yaml"), tmp_path)
