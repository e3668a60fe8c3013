import pickle
from collections import Counter

import numpy as np
import pytest
import tifffile
from factories import nucleus, write_nuclei
from stacks import SIZE, layout

from segcli.data import slices
from segcli.data.settings import Fold
from segcli.datasets._folds import Folded
from segcli.files import tiff


@pytest.fixture
def root(tmp_path):
    return write_nuclei(tmp_path / "data")


@pytest.mark.parametrize("stack", [False, True])
def test_slices_and_stacks_are_read_alike_with_the_class_of_the_table(tmp_path, stack):
    made = layout(write_nuclei(tmp_path / "data", 12, stack=stack))
    assert made.names == ["large", "small"]
    for case in [*made.cases("train"), *made.cases("val")]:
        number = int(case.id)
        sample = made.read(case)
        np.testing.assert_array_equal(sample.image[..., 0], nucleus(number - 1)[0])
        assert int(sample.facts["class"]) == (number - 1) % 2


def test_slices_are_sorted_as_people_count(tmp_path):
    root = write_nuclei(tmp_path / "data", 2, size=(12, 16, 16))  # z10 comes after z9
    made = layout(root, crop_size=[12, 16, 16], split={"val": None})
    np.testing.assert_array_equal(made.read(made.cases("train")[0]).image[..., 0], nucleus(0, (12, 16, 16))[0])


def test_crops_lie_side_by_side_in_the_middle_within_the_margin(tmp_path):
    size = (10, 37, 16)
    root = write_nuclei(tmp_path / "data", 2, size=size)
    made = layout(root, crop_size=[8, 16, 8], margin=[1, 2, 0], split={"val": None})
    cases = [case for case in made.cases("train") if case.part_of == "0001"]
    assert [case.id for case in cases] == [f"0001/{number:03d}" for number in range(4)]
    volume = nucleus(0, size)[0]
    starts = [(y, x) for y in (2, 18) for x in (0, 8)]  # 33 rows within the margin, of which 32 make two crops
    for case, (y, x) in zip(cases, starts, strict=True):
        np.testing.assert_array_equal(made.read(case).image[..., 0], volume[1:9, y : y + 16, x : x + 8])


def test_a_sample_smaller_than_a_crop_is_padded_around_and_the_mask_may_hide_the_rest(root):
    made = layout(root, crop_size=[12, 16, 20], apply_mask=True, split={"val": None})
    volume, mask = nucleus(0)
    expected = np.pad(np.where(mask > 0, volume, 0), ((2, 2), (0, 0), (2, 2)))
    np.testing.assert_array_equal(made.read(made.cases("train")[0]).image[..., 0], expected)


def test_only_the_slices_of_a_crop_are_opened_and_each_once(tmp_path, monkeypatch):
    made = layout(write_nuclei(tmp_path / "data", 4, size=(24, 16, 16)), split={"val": None}, cache_volumes=1)
    first, second, third = made.cases("train")[:3]
    opened = Counter()
    real = tiff.TIFF.plane

    def counting(path, *args, **kwargs):
        opened[path.name] += 1
        return real(path, *args, **kwargs)

    monkeypatch.setattr(tiff.TIFF, "plane", counting)
    made.read(second)
    assert opened == Counter(f"z{z}.tif" for z in range(8, 16))
    made.read(second)
    made.read(first)
    assert opened == Counter(f"z{z}.tif" for z in range(16))
    other = next(case for case in made.cases("train") if case.part_of != first.part_of)
    made.read(other)  # takes the one place in the cache
    opened.clear()
    made.read(third)
    made.read(first)
    assert sum(opened.values()) == 16


def test_the_cache_forgets_the_volume_that_was_used_longest_ago(tmp_path, monkeypatch):
    made = layout(write_nuclei(tmp_path / "data", 3, stack=True), split={"val": None}, cache_volumes=2)
    one, two, three = made.cases("train")
    for case in (one, two, one, three):  # `two` is the oldest, though `one` came first
        made.read(case)
    opened = []
    read = slices._read
    monkeypatch.setattr(slices, "_read", lambda plane: opened.append(plane.file.parts[-3]) or read(plane))
    made.read(one)
    assert opened == []
    made.read(two)
    assert set(opened) == {two.part_of}
    assert len(made.stacks.recent.volumes) == 2


def test_a_fold_goes_to_workers_that_are_started_and_not_forked(root):
    fold = Folded(layout(root), Fold(index=1, of=3))
    fold.read(fold.cases("val")[0])
    again = pickle.loads(pickle.dumps(fold))
    assert again.cases("train") == fold.cases("train")
    assert again.read(again.cases("val")[0]).image.shape == (*SIZE, 1)


def test_the_index_reads_no_pixels(root, monkeypatch):
    def refuse(plane):
        raise AssertionError(plane)

    monkeypatch.setattr(slices, "_read", refuse)
    assert len(layout(root).cases("train")) == 10


def test_splits_are_by_sample_and_have_the_same_share_of_each_class(tmp_path):
    root = write_nuclei(tmp_path / "data", 20, size=(8, 16, 32))
    made = layout(root, split={"val": 0.2, "test": 0.2})
    sides = {split: made.cases(split) for split in ("train", "val", "test")}
    samples = {split: {case.part_of for case in cases} for split, cases in sides.items()}
    assert {split: len(names) for split, names in samples.items()} == {"train": 12, "val": 4, "test": 4}
    assert len(set.union(*samples.values())) == 20
    for split, names in samples.items():
        assert Counter(int(name) % 2 for name in names) == {0: len(names) // 2, 1: len(names) // 2}, split
        assert len(sides[split]) == 2 * len(names)


def test_a_fraction_of_each_class_and_some_classes_can_be_taken(tmp_path):
    root = write_nuclei(tmp_path / "data", 20)
    made = layout(root, sample_fraction=0.5, split={"val": 0.2})
    assert [Counter(made.stratum(case) for case in made.cases(split)) for split in ("train", "val")] == [
        {"large": 4, "small": 4},
        {"large": 1, "small": 1},
    ]
    assert made.cases("train") == layout(root, sample_fraction=0.5, split={"val": 0.2}).cases("train")
    other = layout(root, sample_fraction=0.5, split={"val": ["0001", "0002"], "seed": 1}).cases("train")
    assert {case.id for case in other} != {
        case.id for case in layout(root, sample_fraction=0.5, split={"val": ["0001", "0002"], "seed": 2}).cases("train")
    }
    only = layout(root, class_filter=["small"])
    assert only.spec.num_classes == 1
    assert {only.stratum(case) for case in only.cases("train")} == {"small"}


def test_columns_have_other_names_and_ids_may_have_lost_their_zeros(root):
    (root / "table.csv").write_text(
        "id;x,kind\n".replace(";x", "") + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(1, 13))
    )
    made = layout(root, classes_csv="table.csv", id_column="id", class_column="kind")
    assert made.names == ["a", "b"]
    assert len(made.class_of) == 12
    table = (root / "table.csv").read_text()
    (root / "table.csv").write_text(
        "\n".join(line.replace(",", ".0,") if "k" not in line else line for line in table.split("\n"))
    )
    assert layout(root, classes_csv="table.csv", id_column="id", class_column="kind").class_of == made.class_of


def test_a_stack_that_was_written_page_by_page_trains_like_one_that_was_written_at_once(root):
    expected = {case.id: layout(root).read(case).image for case in layout(root).cases("train")}
    for folder in root.glob("*/*"):
        planes = [tifffile.imread(folder / f"z{z}.tif") for z in range(8)]
        for z, plane in enumerate(planes):
            (folder / f"z{z}.tif").unlink()
            tifffile.imwrite(folder / "stack.tif", plane, append=z > 0)
    made = layout(root)
    assert {case.id for case in made.cases("train")} == set(expected)
    for case in made.cases("train"):
        np.testing.assert_array_equal(made.read(case).image, expected[case.id])


@pytest.mark.parametrize(
    "names",
    [
        [f"z{0.25 * z:g}um" for z in range(8)],
        [f"{0.33 * z:.2f}".rstrip("0").rstrip(".") for z in range(8)],
        [f"s{z}" for z in range(-3, 5)],
        [f"s_{z + 0.5}" for z in range(-3, 5)],
        [f"s1.{z}" for z in range(5, 13)],
        [f"t1_z-{z}" for z in range(8)],
    ],
)
def test_slices_lie_in_the_order_of_the_positions_in_their_names(tmp_path, names):
    planes = np.arange(8 * 16 * 16, dtype=np.uint16).reshape(8, 16, 16)
    folder = tmp_path / "v"
    folder.mkdir()
    for name, plane in zip(names, planes, strict=True):
        tifffile.imwrite(folder / f"{name}.tif", plane)
    found = slices.SliceStacks(1).voxels(folder, (slice(0, 8), slice(0, 16), slice(0, 16)))
    np.testing.assert_array_equal(found, planes)
