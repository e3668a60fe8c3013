import numpy as np
import pytest
import torch

from segcli.core.errors import ConfigError
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Geometry, Sample, pad_end, padded_size, resize
from segcli.data.settings import Augmentation, DatasetSpec, DataSettings
from segcli.data.transforms import PRESETS, Augmenter
from segcli.data.volume_transforms import VolumeAugmenter
from segcli.engine.inference.torch_arrays import resized


def pipeline(augment=None, *, stride=4, spec=None, **settings):
    spec = spec or {"num_channels": 1, "mean": [0.5], "std": [0.25]}
    return Pipeline(DataSettings(**settings), DatasetSpec(**spec), stride=stride, seed=3, augment=augment)


def sample(size=(30, 22), dtype=np.uint8, channels=1):
    """An image whose mask is exactly where it is bright."""
    rng = np.random.default_rng(0)
    mask = (rng.random(size) < 0.3).astype(np.uint8)
    mask[3:9, 4:12] = 1
    top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1.0)
    return Sample(np.repeat((mask * float(top)).astype(dtype)[:, :, None], channels, 2), {"mask": mask})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_are_scaled_to_one_and_normalised(dtype):
    ready = pipeline().for_evaluation(sample(dtype=dtype))
    inside = ready.arrays["image"][0, :30, :22]
    np.testing.assert_allclose(inside, np.where(sample().maps["mask"], 2.0, -2.0), atol=1e-6)
    assert ready.arrays["image"].dtype == np.float32


def test_mean_and_deviation_of_an_image_are_exact_where_single_precision_stops_counting():
    image = np.full((1000, 1000, 2), 1000.3, np.float32) + np.random.default_rng(0).random((1000, 1000, 2), np.float32)
    assert abs(image.mean(axis=(0, 1))[0] - image.astype(np.float64).mean(axis=(0, 1))[0]) > 1  # as NumPy adds up
    for parts in ([image], [image[:7], image[7:700], image[700:]]):
        mean, std = pipeline(preprocessing={"normalize": "per_image"}).scale_of(parts)
        np.testing.assert_allclose(mean, image.astype(np.float64).mean(axis=(0, 1)), rtol=1e-6)
        np.testing.assert_allclose(std, image.astype(np.float64).std(axis=(0, 1)), rtol=1e-5)


def test_normalisation_can_be_off_or_by_image():
    off = pipeline(preprocessing={"normalize": False}).for_evaluation(sample()).arrays["image"]
    assert (off.min(), off.max()) == (0.0, 1.0)
    own = pipeline(stride=1, preprocessing={"normalize": "per_image"}).for_evaluation(sample()).arrays["image"]
    assert abs(own.mean()) < 1e-5
    assert abs(own.std() - 1) < 1e-4


def test_min_max_puts_each_image_between_0_and_1_by_its_own_values():
    given = sample(dtype=np.uint16)
    given.image = given.image // 50 + 300  # as of a camera that uses a small part of its range
    scaled = pipeline(stride=1, preprocessing={"normalize": "min_max"}).for_evaluation(given).arrays["image"][0]
    np.testing.assert_allclose(scaled, given.maps["mask"], atol=1e-6)
    flat = Sample(np.full((8, 8, 1), 7, np.uint8))
    assert not pipeline(preprocessing={"normalize": "min_max"}).for_evaluation(flat).arrays["image"].any()


def test_the_range_of_an_image_is_the_same_read_whole_and_in_parts():
    image = np.random.default_rng(0).random((40, 30, 2), np.float32) * [1.0, 3.0]
    line = pipeline(preprocessing={"normalize": "min_max"})
    for parts in ([image], [image[:7], image[7:20], image[20:]]):
        low, span = line.scale_of(parts)
        np.testing.assert_array_equal(low, image.min(axis=(0, 1)))
        np.testing.assert_allclose(span, np.ptp(image, axis=(0, 1)))


def volume(label=2):
    """A grey volume that has a class."""
    return Sample(np.random.default_rng(1).random((8, 8, 8, 1), np.float32), facts={"class": np.array(label, np.uint8)})


def test_the_class_of_a_volume_goes_with_it_through_augmentation_and_evaluation():
    line = pipeline(VolumeAugmenter(Augmentation(preset="nuclei")), preprocessing={"normalize": "min_max"})
    for label in range(3):
        assert int(line.for_training(volume(label), epoch=0, index=label).arrays["class"]) == label
        ready = line.for_evaluation(volume(label))
        assert int(ready.arrays["class"]) == int(ready.stored_maps["class"]) == label


@pytest.mark.parametrize("method", ["min_max", "per_image"])
def test_the_scale_of_a_volume_is_that_before_augmentation_which_normalisation_must_not_take_back(method):
    twice = VolumeAugmenter(Augmentation(intensity_scale_range=[2.0, 2.0]))
    plain, changed = (
        pipeline(augment, preprocessing={"normalize": method}).for_training(volume(), epoch=0, index=0).arrays["image"]
        for augment in (None, twice)
    )
    image = volume().image[..., 0]
    span = np.ptp(image) if method == "min_max" else image.std()
    np.testing.assert_allclose(changed[0] - plain[0], image / span, rtol=1e-4)


def half_dark(dtype=np.uint8):
    """An image of noise whose left half is dark."""
    top = np.iinfo(dtype).max
    image = np.random.default_rng(2).integers(top // 2, top // 4 * 3, (32, 32, 2)).astype(dtype)
    image[:, :16] //= 16
    return Sample(image, {"mask": np.zeros((32, 32), np.uint8)})


@pytest.mark.parametrize("method", ["per_image", "min_max"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_crop_of_the_dark_half_has_the_values_in_training_that_it_has_in_evaluation(method, dtype):
    spec = {"num_channels": 2}
    line = pipeline(patch_size=[16, 16], spec=spec, foreground_share=0.0, preprocessing={"normalize": method})
    image = half_dark(dtype).image.astype(np.float64)
    low, span = (
        (image.min((0, 1)), np.ptp(image, (0, 1))) if method == "min_max" else (image.mean((0, 1)), image.std((0, 1)))
    )
    whole = np.moveaxis((image - low) / span, -1, 0)
    np.testing.assert_allclose(line.for_evaluation(half_dark(dtype)).arrays["image"], whole, atol=1e-5)
    means = []
    for index in range(30):
        crop = line.for_training(half_dark(dtype), epoch=0, index=index).arrays["image"]
        corners = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)[0]
        assert np.abs(corners - crop).max(axis=(2, 3, 4)).min() < 1e-5  # it is one of the windows of the whole
        means.append(crop.mean() - whole.mean())
    assert min(means) < -0.2  # crops of the dark half stay dark


@pytest.mark.parametrize("method", ["per_image", "min_max"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_brighter_images_are_brighter_after_normalisation_too(method, dtype):
    brighter = {"type": "RandomBrightnessContrast", "brightness_limit": [0.2, 0.2], "contrast_limit": [0, 0], "p": 1.0}
    made = Augmenter(Augmentation(transforms=[brighter]), channels=2, square=True)
    plain, changed = (
        pipeline(augment, spec={"num_channels": 2}, preprocessing={"normalize": method})
        .for_training(half_dark(dtype), epoch=0, index=0)
        .arrays["image"]
        for augment in (None, made)
    )
    image = half_dark(dtype).image / np.iinfo(dtype).max
    span = np.ptp(image, (0, 1)) if method == "min_max" else image.std((0, 1))
    np.testing.assert_allclose((changed - plain).mean((1, 2)), 0.2 / span, rtol=0.02)


def test_padding_is_no_valid_pixel_and_sizes_become_multiples():
    ready = pipeline(stride=16).for_evaluation(sample())
    assert ready.arrays["image"].shape == (1, 32, 32)
    assert ready.arrays["valid"].sum() == 30 * 22
    assert ready.arrays["valid"][:30, :22].all()


@pytest.mark.parametrize("size", [(31, 45), (1, 7), (64, 64)])
def test_padding_is_exactly_undone(size):
    values = torch.randn(2, 3, *size)
    padded = padded_size(size, 16)
    full = torch.from_numpy(pad_end(np.moveaxis(values[0].numpy(), 0, -1), padded, mirror=True))
    geometry = Geometry(size, size, padded)
    assert torch.equal(geometry.restore(full.movedim(-1, 0)[None], resized)[0], values[0])


def test_resizing_is_undone_without_a_shift():
    # a smooth ramp survives down- and up-scaling where every pixel keeps its place
    ramp = np.linspace(0, 1, 60, dtype=np.float32)[None, :].repeat(40, 0)
    small = resize(ramp, (20, 30))
    back = Geometry((40, 60), (20, 30), (20, 30)).restore(torch.from_numpy(small)[None, None], resized)[0, 0].numpy()
    np.testing.assert_allclose(back[:, 2:-2], ramp[:, 2:-2], atol=1e-4)


def test_labels_are_resized_about_their_centre():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    rows, columns = np.nonzero(resize(mask, (20, 20), labels=True))
    assert (rows.mean(), columns.mean()) == (9.5, 9.5)


def test_evaluation_scores_on_the_mask_as_stored():
    prepared = pipeline(image_size=[16, 16])
    resized = prepared.resized(sample())
    ready = prepared.for_evaluation(resized)
    np.testing.assert_array_equal(ready.stored_maps["mask"], sample().maps["mask"])
    assert ready.geometry == Geometry((30, 22), (16, 16), (16, 16))


def test_a_crop_has_its_size_and_keeps_image_and_mask_together():
    made = pipeline(patch_size=[16, 8])
    for index in range(20):
        arrays = made.for_training(sample(), epoch=0, index=index).arrays
        assert arrays["image"].shape == (1, 16, 8)
        np.testing.assert_array_equal(arrays["image"][0] > 0, arrays["mask"] > 0)


def test_an_image_smaller_than_the_patch_is_padded():
    arrays = pipeline(patch_size=[40, 40]).for_training(sample(), epoch=0, index=0).arrays
    assert arrays["image"].shape == (1, 40, 40)
    assert arrays["valid"].sum() == 30 * 22


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_crops_are_centred_on_the_foreground_as_often_as_asked(share):
    mask = np.zeros((100, 100), np.uint8)
    mask[50, 50] = 1
    lonely = Sample(np.zeros((100, 100, 1), np.uint8), {"mask": mask})
    made = pipeline(patch_size=[4, 4], foreground_share=share)
    hits = [made.for_training(lonely, epoch=0, index=index).arrays["mask"].any() for index in range(300)]
    assert np.mean(hits) == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flips_and_quarter_turns_of_pictures_have_the_probability_that_is_stated(probability):
    def entries(square=True, **keys):
        made = Augmenter(Augmentation(preset="heavy", **keys), channels=3, square=square)
        return {type(transform).__name__: transform.p for transform in made.compose.transforms}

    usual = entries()
    assert usual["HorizontalFlip"] == usual["VerticalFlip"] == usual["RandomRotate90"] == 0.5
    flips, turns = entries(flip_probability=probability), entries(turn_probability=probability)
    assert flips == {**usual, "HorizontalFlip": probability, "VerticalFlip": probability}
    assert turns == {**usual, "RandomRotate90": probability}


def augmenter(preset=None, channels=3, transforms=(), square=True):
    return Augmenter(Augmentation(preset=preset, transforms=list(transforms)), channels=channels, square=square)


@pytest.mark.parametrize(
    "transforms",
    [
        [{"type": "HorizontalFlip", "p": 0.5}, {"type": "RandomRotate90", "p": 0.5}, {"type": "GaussNoise", "p": 0.5}],
        [{"type": "D4", "p": 1.0}, {"type": "Affine", "translate_percent": [0.3, 0.3], "p": 1.0}],
    ],
)
def test_a_map_of_one_value_is_augmented_like_any_other_map(transforms):
    made, stored, rng = augmenter(transforms=transforms), np.ones((32, 32), np.uint8), np.random.default_rng(1)
    image, mask = (rng.integers(0, 255, size, dtype=np.uint8) for size in ((32, 32, 3), (32, 32)))
    for seed in range(8):
        light, heavy = (
            made(Sample(image, {"valid": valid, "mask": mask}), seed)
            for valid in (np.broadcast_to(np.uint8(1), mask.shape), stored)
        )
        assert np.array_equal(light.image, heavy.image)
        assert all(np.array_equal(light.maps[name], heavy.maps[name]) for name in ("valid", "mask"))
        assert bool(heavy.maps["valid"].all()) is (transforms[0]["type"] != "D4")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_image_and_mask_move_together_under_every_preset(preset, channels, dtype):
    made = augmenter(preset, channels)
    grid = np.zeros((64, 64), np.uint8)
    grid[16:48, 24:40] = 1
    top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1.0)
    image = np.repeat((grid * float(top)).astype(dtype)[:, :, None], channels, 2)
    for seed in range(6):
        changed = made(Sample(image, {"valid": np.ones_like(grid), "mask": grid}), seed)
        assert changed.image.shape == (64, 64, channels)
        scale = 255 if changed.image.dtype == np.uint8 else 1.0
        bright = changed.image[:, :, 0] > 0.5 * scale
        disagree = (bright != (changed.maps["mask"] > 0)).mean()
        assert disagree < 0.06, seed  # interpolation along the outline
        assert set(np.unique(changed.maps["mask"])) <= {0, 1}


def test_maps_of_values_and_of_classes_move_together_and_keep_their_types():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:50, 10:40] = 1
    source = Sample(np.repeat(mask[..., None] * np.uint8(200), 3, 2), {"depth": mask * np.float32(0.3), "valid": mask})
    changed = augmenter("heavy")(source, 3).maps
    assert changed["depth"].dtype == np.float32
    assert changed["valid"].dtype == np.uint8
    assert not np.array_equal(changed["valid"], mask)
    np.testing.assert_array_equal(changed["depth"], changed["valid"] * np.float32(0.3))


def test_an_augmented_sample_is_a_function_of_its_seed():
    made, source = augmenter("heavy"), sample((64, 64), channels=3)
    source.maps["valid"] = np.ones((64, 64), np.uint8)
    one, again, other = made(source, 1), made(source, 1), made(source, 2)
    np.testing.assert_array_equal(one.image, again.image)
    assert not np.array_equal(one.image, other.image)


def test_a_transform_that_writes_into_its_image_changes_no_cached_one():
    class Blackening:
        def set_random_seed(self, seed):
            pass

        def __call__(self, image, mask):
            image[:], mask[:] = 0, 0
            return {"image": image, "mask": mask}

    made, source = augmenter(), sample((64, 64), channels=3)
    image, mask = source.image.copy(), source.maps["mask"].copy()
    made.compose = Blackening()
    assert not made(source, 1).image.any()
    np.testing.assert_array_equal(source.image, image)
    np.testing.assert_array_equal(source.maps["mask"], mask)


def test_samples_differ_by_epoch_and_index_and_nothing_else():
    made = pipeline(augmenter("heavy", 1), patch_size=[16, 16])
    pixels = {
        key: made.for_training(sample(), epoch=key[0], index=key[1]).arrays["image"] for key in [(0, 0), (0, 1), (1, 0)]
    }
    assert not np.array_equal(pixels[0, 0], pixels[0, 1])
    assert not np.array_equal(pixels[0, 0], pixels[1, 0])
    again = pipeline(augmenter("heavy", 1), patch_size=[16, 16]).for_training(sample(), epoch=1, index=0)
    np.testing.assert_array_equal(again.arrays["image"], pixels[1, 0])


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        ({"type": "GausianBlur"}, "albumentations has no transform `GausianBlur`\n  hint: did you mean `GaussianBlur`"),
        ({"type": "GaussianBlur", "blur": 3}, "transform `GaussianBlur` does not accept its options"),
        ({"type": "Affine", "rotate": "much"}, "transform `Affine` does not accept its options"),
        ({"type": "HueSaturationValue"}, "transform `HueSaturationValue` does not work on images with 1 channel"),
    ],
)
def test_a_transform_that_cannot_work_is_told_before_the_training(transform, text):
    with pytest.raises(ConfigError) as caught:
        augmenter(channels=1, transforms=[transform])
    assert text in str(caught.value)


def test_quarter_turns_are_left_out_where_images_are_not_square():
    made = augmenter("medium", square=False)
    for seed in range(10):
        assert made(Sample(np.zeros((20, 40, 3), np.uint8), {"valid": np.ones((20, 40), np.uint8)}), seed).size == (
            20,
            40,
        )


def test_a_transform_that_changes_the_size_is_told():
    made = augmenter(transforms=[{"type": "RandomCrop", "height": 8, "width": 8, "p": 1.0}])
    with pytest.raises(ConfigError, match=r"changed the size of an image from \(20, 20\) to \(8, 8\)"):
        made(Sample(np.zeros((20, 20, 3), np.uint8), {"valid": np.ones((20, 20), np.uint8)}), 0)


def test_volumes_are_resized_too():
    volume = np.random.default_rng(0).integers(0, 255, (8, 10, 12, 2), dtype=np.uint8)
    assert resize(volume, (4, 5, 6)).shape == (4, 5, 6, 2)
    assert resize(volume[..., 0], (4, 5, 6), labels=True).dtype == np.uint8


def test_labels_are_taken_from_the_middle_of_what_they_stand_for():
    columns = np.arange(9, dtype=np.uint8)[None, :].repeat(9, 0)
    np.testing.assert_array_equal(resize(columns, (3, 3), labels=True)[0], [1, 4, 7])


def test_a_crop_around_the_foreground_has_it_in_its_middle():
    mask = np.zeros((60, 60), np.uint8)
    mask[30, 25] = 1
    made = pipeline(patch_size=[8, 12], foreground_share=1.0)
    arrays = made.for_training(Sample(np.zeros((60, 60, 1), np.uint8), {"mask": mask}), epoch=0, index=0).arrays
    assert np.argwhere(arrays["mask"]).tolist() == [[4, 6]]


def test_crops_of_many_classes_go_around_one_that_is_drawn_so_that_rare_ones_are_seen():
    mask = np.zeros((40, 40), np.uint8)
    mask[20:] = 1
    mask[5, 30] = 2  # one pixel
    valid = np.ones_like(mask)
    valid[:, :4] = 0
    image = Sample(np.zeros((40, 40, 1), np.uint8), {"mask": mask, "valid": valid})
    spec = {"num_channels": 1, "mean": [0.5], "std": [0.25], "num_classes": 4}
    made = pipeline(spec=spec, patch_size=[8, 8], foreground_share=1.0)
    crops = [made.for_training(image, epoch=0, index=index).arrays["mask"] for index in range(60)]
    assert 10 <= sum((crop == 2).any() for crop in crops) <= 35
    nothing = Sample(image.image, {"mask": mask * 0, "valid": valid * 0})
    assert made.for_training(nothing, epoch=0, index=0).arrays["mask"].shape == (8, 8)
