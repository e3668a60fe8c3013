"""What layouts of 2D images share: a third one has to say only which files belong together."""

import cv2
import numpy as np
import pytest
from factories import blobs

from segcli.core.errors import DataError
from segcli.data.checks import Finding
from segcli.data.samples import Case
from segcli.data.settings import DatasetSpec, Fold, Paths
from segcli.datasets._folds import Folded
from segcli.datasets._pictures import PictureKeys, Pictures, by_stem


class Pairs(Pictures):
    """Images and masks side by side: `train/00.png` with `train/00_mask.png`."""

    class Config(PictureKeys):
        """Keys of this layout."""

    def has(self, split):
        return (self.root / split).is_dir()

    def found(self, split):
        images = by_stem(self.root / split, self.config.extensions)
        masks = by_stem(self.root / split, self.config.extensions, ["_mask"])
        cases = [Case(key, images[key][0], masks.get(key, [None])[0]) for key in images if not key.endswith("_mask")]
        lonely = [case.image for case in cases if case.label is None]
        return cases, [Finding("missing_label", "error", path, f"`{path}` has no mask", "add it") for path in lonely]


@pytest.fixture
def pairs(tmp_path):
    for split, count in {"train": 4, "val": 2}.items():
        (tmp_path / split).mkdir()
        for number in range(count):
            image, mask = blobs(number, (32, 40))
            cv2.imwrite(str(tmp_path / split / f"{number:02d}.png"), image)
            cv2.imwrite(str(tmp_path / split / f"{number:02d}_mask.png"), mask)
    return Pairs(Pairs.Config(), DatasetSpec(paths=Paths(root=tmp_path), num_channels=3, num_classes=1))


def test_a_layout_of_a_few_lines_reads_checks_and_is_shared_out_to_folds(pairs):
    case = pairs.cases("train")[1]
    sample = pairs.read(case)
    image, mask = blobs(1, (32, 40))
    np.testing.assert_array_equal(sample.image, image[:, :, ::-1])
    np.testing.assert_array_equal(sample.maps["mask"], mask > 0)
    assert pairs.size(case) == (32, 40)
    assert list(pairs.inspect("train")) == []
    assert pairs.examine(case)[1] == []
    np.testing.assert_array_equal(pairs.read_input(case.image).image, sample.image)
    folds = [Folded(pairs, Fold(index=index, of=3)) for index in range(3)]
    assert sorted(case.place for fold in folds for case in fold.cases("val")) == sorted(
        case.place for split in ("train", "val") for case in pairs.cases(split)
    )


def test_its_faults_are_found_without_a_line_of_its_own(pairs):
    small, empty, broken = (case.label for case in pairs.cases("train")[:3])
    cv2.imwrite(str(small), np.zeros((5, 5), np.uint8))
    cv2.imwrite(str(empty), np.zeros((32, 40), np.uint8))
    broken.write_bytes(b"no picture")
    assert [(each.code, each.file) for each in pairs.inspect("train")] == [
        ("size_mismatch", small),
        ("unreadable_label", broken),
    ]
    found = {each.code: each.file for case in pairs.cases("train") for each in pairs.examine(case)[1]}
    assert found == {"empty_mask": empty, "unreadable_label": broken}
    with pytest.raises(DataError, match="is 5x5 pixels, its image"):
        pairs.read(pairs.cases("train")[0])


def test_a_fold_keeps_everything_of_its_layout_but_the_splits(pairs):
    fold = Folded(pairs, Fold(index=0, of=2))
    public = {name for name in dir(pairs) if not name.startswith("_")} - {
        "has",
        "cases",
        "all_cases",
        "inspect",
        "compared",
    }
    assert [name for name in public if getattr(fold, name) != getattr(pairs, name)] == []
    assert fold.has("train")
    assert not fold.has("test")
    with pytest.raises(AttributeError, match="nonsense"):
        fold.nonsense  # noqa: B018 - the access itself


def test_a_map_of_another_name_and_size_is_told_with_its_file(pairs):
    class Fields:
        def read(self, path):
            return {"field": np.zeros((8, 8), np.float32)}

    pairs.masks = Fields()
    case = pairs.cases("train")[0]
    with pytest.raises(DataError, match=str(case.label)):
        pairs.read(case)
