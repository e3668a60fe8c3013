from pathlib import Path

import numpy as np
import pytest

from segcli.commands.data import make_sample
from segcli.config.load import load_dataset
from segcli.data.images import read_image
from segcli.engine.events import Silent
from segcli.samples._street_painter import CLASSES
from segcli.samples.scenes import CLIPS, FRAMES, Scenes

SIZE = 96
SHIPPED = Path(__file__).parents[2] / "configs/datasets/scenes_sample.yaml"
INDEX = {name: index for index, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def frames():
    return [Scenes().frame(0, "Video_000", number, SIZE) for number in range(4)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of the sample at 48 pixels."""
    folder = tmp_path_factory.mktemp("street")
    make_sample("scenes", folder, seed=0, size=48, overwrite=False, listener=Silent())
    return folder


def test_a_frame_is_a_function_of_seed_clip_and_number(frames):
    image, label = Scenes().frame(0, "Video_000", 2, SIZE)
    np.testing.assert_array_equal(image, frames[2][0])
    np.testing.assert_array_equal(label, frames[2][1])
    for other in (Scenes().frame(1, "Video_000", 2, SIZE), Scenes().frame(0, "Video_001", 2, SIZE)):
        assert (other[1] != label).mean() > 0.05
        assert not np.array_equal(other[0], image)


def test_a_frame_is_four_to_three_and_its_mask_has_its_size(frames):
    for image, label in frames:
        assert (image.shape, image.dtype) == ((SIZE, SIZE * 4 // 3, 3), np.uint8)
        assert (label.shape, label.dtype) == (image.shape[:2], np.uint8)


def test_the_scene_is_a_street_sky_above_road_below_and_the_own_bonnet_void(frames):
    for _, label in frames:
        rows = {name: np.nonzero(label == INDEX[name])[0].mean() for name in ("sky", "building", "road", "void")}
        assert rows["sky"] < rows["building"] < rows["road"] < rows["void"]
        shares = np.bincount(label.ravel(), minlength=len(CLASSES)) / label.size
        assert shares[INDEX["road"]] > 0.15
        assert 0.005 < shares[INDEX["void"]] < 0.1


def test_the_next_frame_looks_alike_and_another_clip_does_not(frames):
    """So that a split by frame is seen to flatter."""
    other = Scenes().frame(0, "Video_001", 1, SIZE)[1]
    assert (frames[0][1] == frames[1][1]).mean() > (frames[0][1] == other).mean() + 0.05


def test_the_mask_lies_on_the_image_so_that_edges_of_both_coincide(frames):
    for image, label in frames:
        green = image[:, :, 1].astype(float)
        step = np.abs(np.diff(green, axis=1))
        border = np.diff(label.astype(int), axis=1) != 0
        assert step[border].mean() > 3 * step[~border].mean()


def test_every_class_is_in_the_training_clips_and_every_mask_holds_nothing_but_class_colors(written):
    colors = {sum(level << 8 * place for place, level in enumerate(color)) for color in CLASSES.values()}
    seen = {split: set() for split in CLIPS}
    for split, clips in CLIPS.items():
        for clip in clips:
            paths = sorted((written / "Labels" / clip).iterdir())
            assert len(paths) == FRAMES
            for path in paths:
                seen[split] |= set(np.unique(read_image(path).astype(int) @ [1, 1 << 8, 1 << 16]).tolist())
    assert seen["train"] == colors
    assert set.union(*seen.values()) == colors


def test_masks_in_files_are_those_that_were_drawn(written):
    made = load_dataset(written / "dataset.yaml", whole_run=False).build()
    for case in made.cases("val")[::5]:
        image, label = Scenes().frame(0, "Video_003", int(case.id[-4:]) - 1, 48)
        sample = made.read(case)
        np.testing.assert_array_equal(sample.image, image)
        void = label == INDEX["void"]
        np.testing.assert_array_equal(sample.maps["valid"], ~void)
        np.testing.assert_array_equal(sample.maps["mask"], np.where(void, 0, label))


def test_data_sample_writes_the_same_files_for_the_same_seed_and_data_check_finds_them_ready(run_cli, written):
    made = run_cli("data", "sample", "scenes", "street", "--size", 48)
    assert made.code == 0
    assert "wrote 36 train, 12 val, 12 test images of 64x48 pixels to street" in made.out
    for path in sorted(written.rglob("*.png")):
        assert (Path("street") / path.relative_to(written)).read_bytes() == path.read_bytes()
    result = run_cli("data", "check", "street/dataset.yaml")
    assert result.code == 0, result.out
    assert "0 errors, 0 warnings" in result.out
    assert "pedestrian" in result.out
    refused = run_cli("data", "sample", "scenes", "street")
    assert refused.code == 2
    assert "folder `street` is not empty" in refused.err


def test_the_shipped_data_set_file_is_that_of_the_sample(written):
    shipped = load_dataset(SHIPPED, [f"paths.root={written}"], whole_run=False)
    own = load_dataset(written / "dataset.yaml", whole_run=False)
    for one, other in zip(own.build().cases("train"), shipped.build().cases("train"), strict=True):
        assert one.id == other.id
    for key in ("classes", "num_classes", "mean", "std"):
        assert getattr(own, key) == getattr(shipped, key)
    assert own.build().masks.classes == shipped.build().masks.classes


def test_mean_and_std_that_are_stated_are_those_of_the_frames(written):
    stated = load_dataset(SHIPPED, [f"paths.root={written}"], whole_run=False)
    frames = [Scenes().frame(0, clip, number, Scenes.default_size) for clip in CLIPS["train"] for number in (1, 6, 10)]
    pixels = np.concatenate([image[label != INDEX["void"]] for image, label in frames]) / 255
    # stated for all frames: a quarter of them differs in the third digit
    np.testing.assert_allclose(stated.mean, pixels.mean(0), rtol=0, atol=0.008)
    np.testing.assert_allclose(stated.std, pixels.std(0), rtol=0, atol=0.008)


def test_without_the_sample_its_command_is_told(run_cli, workplace):
    (workplace / "configs").symlink_to(SHIPPED.parents[1])
    result = run_cli("data", "stats", "configs/datasets/scenes_sample.yaml")
    assert result.code == 3
    assert "`segcli data sample scenes data/scenes_sample`" in result.err
