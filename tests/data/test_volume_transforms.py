import numpy as np
import pytest
from factories import bodies
from scipy import ndimage

from segcli.core.errors import ConfigError
from segcli.data.samples import Sample
from segcli.data.settings import Augmentation
from segcli.data.transforms import Augmenter
from segcli.data.volume_transforms import VolumeAugmenter, _rotation


def sample(size=(16, 12, 10)):
    image, masks, _ = bodies(0, size)
    return Sample(image[..., None], {"mask": np.moveaxis(masks, 0, -1).copy(), "valid": np.ones(size, np.uint8)})


def augmented(seed=0, spacing=None, given=None, **keys):
    return VolumeAugmenter(Augmentation(**keys), spacing=spacing)(given or sample(), seed)


def test_the_same_seed_gives_the_same_voxels_and_another_seed_others():
    one, again, other = (augmented(seed, preset="heavy", flip_axes=[0]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.maps["mask"], again.maps["mask"])
    assert (one.image != other.image).mean() > 0.9


def test_flips_move_image_and_all_masks_and_happen_half_of_the_time():
    before, count = sample(), 0
    for seed in range(200):
        after = augmented(seed, flip_axes=[1])
        turned = not np.array_equal(after.image, before.image)
        count += turned
        axis = slice(None, None, -1) if turned else slice(None)
        np.testing.assert_array_equal(after.image, before.image[:, axis])
        np.testing.assert_array_equal(after.maps["mask"], before.maps["mask"][:, axis])
    assert 70 < count < 130


def shares(preset, **keys):
    """Share of 60 volumes whose masks were moved."""
    before = sample((10, 10, 10))
    moved = [
        np.any(augmented(seed, given=before, preset=preset, **keys).maps["mask"] != before.maps["mask"])
        for seed in range(60)
    ]
    return np.mean(moved)


def test_flips_and_turns_of_volumes_have_the_probability_that_is_stated():
    still = {"quarter_turns": False}
    for probability in (0.0, 0.2, 1.0):
        flipped = shares("nuclei", **still, flip_axes=[0], flip_probability=probability)
        assert flipped == pytest.approx(probability, abs=0.15)
        turned = shares("nuclei", flip_axes=[], turn_probability=probability)
        assert turned == pytest.approx(0.75 * probability, abs=0.15)  # a quarter of the turns is by 0 degrees
        assert shares(None, rotation_degrees=90.0, turn_probability=probability) == pytest.approx(probability, abs=0.15)


def test_a_probability_changes_no_other_random_number():
    for keys in ({"preset": "heavy", "flip_axes": [0, 2]}, {"preset": "nuclei"}):
        usual = augmented(3, **keys)
        stated = augmented(3, **keys, flip_probability=0.5, turn_probability=1.0)
        np.testing.assert_array_equal(usual.image, stated.image)
    noise = {"noise_std": 0.1, "intensity_scale_range": [0.5, 2.0]}
    still = augmented(4, **noise)
    np.testing.assert_array_equal(augmented(4, **noise, rotation_degrees=20.0, turn_probability=0.0).image, still.image)


def test_noise_is_measured_in_deviations_of_the_volume_and_values_are_scaled():
    before = sample()
    before.image = before.image * 1000
    noise = augmented(1, given=before, noise_std=0.25).image - before.image
    assert noise.std() == pytest.approx(0.25 * before.image.std(), rel=0.05)
    ratios = [
        float((augmented(seed, intensity_scale_range=[0.5, 2.0]).image / sample().image).mean()) for seed in range(40)
    ]
    assert min(ratios) < 0.7
    assert max(ratios) > 1.7
    assert all(0.5 <= ratio <= 2.0 for ratio in ratios)


def test_a_turn_is_that_of_scipy_in_millimetres():
    spacing = np.array([1.0, 2.0, 0.5])
    before = sample()
    angles = np.deg2rad(np.random.default_rng(5).uniform(-1, 1, 3) * 25)
    found = augmented(5, tuple(spacing), rotation_degrees=25)
    matrix = np.diag(1 / spacing) @ _rotation(angles) @ np.diag(spacing)
    middle = (np.array(before.size) - 1) / 2
    expected = ndimage.affine_transform(before.image[..., 0], matrix, middle - matrix @ middle, order=1, mode="nearest")
    np.testing.assert_allclose(found.image[..., 0], expected, atol=1e-4)
    inside = ndimage.affine_transform(
        np.ones(before.size), matrix, middle - matrix @ middle, order=0, mode="grid-constant", cval=0
    )
    assert (found.maps["valid"] == inside).mean() > 0.99
    assert 0 < found.maps["valid"].mean() < 1


def test_a_mask_stays_on_its_structure_when_turned():
    before = sample((24, 24, 24))
    found = augmented(2, given=before, rotation_degrees=30)
    bright = found.image[..., 0] > 0.65
    mask = found.maps["mask"][..., 0] > 0
    assert 2 * (bright & mask).sum() / (bright.sum() + mask.sum()) > 0.9
    assert set(np.unique(found.maps["mask"])) <= {0, 1}


def test_one_key_alone_changes_nothing_else_and_none_means_medium():
    before = sample()
    np.testing.assert_array_equal(augmented(0, flip_axes=[]).image, before.image)
    np.testing.assert_array_equal(augmented(7).image, augmented(7, preset="medium").image)
    overridden = augmented(7, preset="medium", noise_std=0.0, rotation_degrees=0.0).image / before.image
    assert overridden.std() < 1e-6


def test_quarter_turns_are_in_the_plane_of_the_last_two_axes_and_all_four_happen():
    before, seen = sample((6, 10, 10)), set()
    for seed in range(40):
        after = augmented(seed, given=before, quarter_turns=True)
        matches = [k for k in range(4) if np.array_equal(after.image, np.rot90(before.image, k, (1, 2)))]
        assert len(matches) == 1
        np.testing.assert_array_equal(after.maps["mask"], np.rot90(before.maps["mask"], matches[0], (1, 2)))
        seen.add(matches[0])
    assert seen == {0, 1, 2, 3}


def test_a_plane_that_is_not_square_is_turned_by_half_only():
    before = sample((6, 10, 12))
    half = np.rot90(before.image, 2, (1, 2))
    for seed in range(20):
        after = augmented(seed, given=before, quarter_turns=True).image
        assert np.array_equal(after, before.image) or np.array_equal(after, half)


def test_gamma_is_a_power_between_smallest_and_largest_value():
    before = sample()
    before.image = before.image * 3 + 2
    low, high = before.image.min(), before.image.max()
    unit, powers = (before.image - low) / (high - low), []
    for seed in range(30):
        after = augmented(seed, given=before, gamma_range=[0.5, 2.0]).image
        assert (after.min(), after.max()) == pytest.approx((low, high), rel=1e-5)
        inside = (unit > 0.05) & (unit < 0.95)
        power = np.log(((after - low) / (high - low))[inside]) / np.log(unit[inside])
        assert power.std() < 1e-3
        powers.append(power.mean())
    assert 0.5 <= min(powers) < 0.75
    assert 1.6 < max(powers) <= 2.0


def test_contrast_multiplies_distances_from_the_mean():
    before, factors = sample(), []
    for seed in range(30):
        after = augmented(seed, given=before, contrast_range=[0.5, 1.5]).image
        assert after.mean() == pytest.approx(before.image.mean(), rel=1e-5)
        factors.append(float(after.std() / before.image.std()))
        np.testing.assert_allclose(after - after.mean(), (before.image - before.image.mean()) * factors[-1], atol=1e-5)
    assert 0.5 <= min(factors) < 0.65
    assert 1.35 < max(factors) <= 1.5


def test_noise_up_to_a_share_of_the_span_comes_in_as_many_volumes_as_asked():
    before = sample((16, 16, 16))
    before.image = before.image * 7
    shares = [
        float((augmented(seed, given=before, noise_up_to=0.05, noise_share=0.3).image - before.image).std())
        / float(np.ptp(before.image))
        for seed in range(200)
    ]
    noisy = [share for share in shares if share > 0]
    assert 40 < len(noisy) < 80
    assert max(noisy) == pytest.approx(0.05, rel=0.1)
    assert np.mean(noisy) == pytest.approx(0.025, rel=0.2)


def test_the_preset_of_nuclei_is_flips_of_every_axis_quarter_turns_gamma_contrast_and_noise():
    keys = {"flip_axes": [0, 1, 2], "quarter_turns": True, "gamma_range": [0.8, 1.2], "contrast_range": [0.8, 1.2]}
    for seed in range(20):
        after = augmented(seed, preset="nuclei").image
        np.testing.assert_array_equal(after, augmented(seed, noise_up_to=0.05, noise_share=0.3, **keys).image)
    flipped = {
        axes
        for seed in range(60)
        for axes in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
        if np.array_equal(augmented(seed, flip_axes=[0, 1, 2]).image, np.flip(sample().image, axes))
    }
    assert len(flipped) == 8


def test_new_keys_do_not_move_what_other_keys_draw():
    alone = augmented(3, rotation_degrees=20, noise_std=0.1)
    with_others = augmented(3, rotation_degrees=20, noise_std=0.1, gamma_range=[1, 1], contrast_range=[1, 1])
    np.testing.assert_array_equal(alone.image, with_others.image)


def test_keys_of_2d_images_are_refused_for_volumes_and_the_other_way_round():
    with pytest.raises(ConfigError, match=r"`data.augmentation.transforms` is for 2D images\n  hint: for volumes, use"):
        augmented(transforms=[{"type": "GaussianBlur"}])
    with pytest.raises(ConfigError, match=r"`data\.augmentation\.noise_std` is for volumes"):
        Augmenter(Augmentation(noise_std=0.1), channels=3, square=True)
