import pytest
from pydantic import ValidationError

from segcli.core.errors import DataError
from segcli.data.splits import SplitSettings, assign, divide

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
        ({"by": "lists", "train": "a.txt", "val": 0.5}, "is a list with"),
        ({"by": "folders", "val": ["a"]}, "is a share such as 0.2 with `by: folders`"),
        ({"by": "folders", "test": 0.2}, "is a folder"),
        ({"by": "fraction", "val": 0.6, "test": 0.5}, "leave nothing for training"),
        ({"by": "fraction", "val": 0.1, "group": "("}, "no regular expression"),
    ],
)
def test_settings_that_cannot_work_are_refused(keys, text):
    with pytest.raises(ValidationError, match=text):
        SplitSettings(**keys)


def test_list_files_name_images_with_or_without_extension(tmp_path):
    (tmp_path / "train.txt").write_text("# first\nb.png\n\na\n")
    settings = SplitSettings(by="lists", train="train.txt")
    assert divide(["a", "b", "c"], settings, tmp_path) == {"train": ["b", "a"], "val": [], "test": []}


def test_a_list_may_stand_in_place_and_what_is_left_is_for_training(tmp_path):
    settings = SplitSettings(by="lists", val=["Image_09L.jpg", "Image_10R"], test=["Image_01L"])
    sides = divide(KEYS, settings, tmp_path)
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
