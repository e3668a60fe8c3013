from pathlib import Path

import pytest

from segcli.data.slice_names import gaps, keys_of, partner_fault


def files(folder, *names):
    return [Path(folder) / name for name in names]


def numbered(folder, pattern, numbers):
    return files(folder, *(pattern.format(number) for number in numbers))


def test_slices_without_a_partner_are_named_by_their_numbers():
    raw = numbered("raw", "cell2_z{:03d}.tif", [0, 1, 2, 4, 5, 6, 7])
    mask = numbered("mask", "cell2_z{:03d}_mask1.tif", [0, 1, 2, 3, 4, 5, 7])
    assert partner_fault(raw, mask).message == "slices 3 and 6 have no partner: `mask` lacks 6 and `raw` lacks 3"
    assert partner_fault(raw, raw[:-1]).message == "slice 7 has no partner: `raw` lacks 7"


def test_slices_with_the_same_numbers_are_partners_whatever_the_rest_of_their_names():
    assert (
        partner_fault(numbered("raw", "s{}.tif", range(12)), numbered("mask", "m2_{:04d}.ome.tiff", range(12))) is None
    )


def test_names_without_numbers_are_paired_by_equal_stems():
    assert partner_fault(files("raw", "a.tif", "b.tif"), files("mask", "a.tiff", "b.TIF")) is None
    fault = partner_fault(files("raw", "a.tif", "b.tif"), files("mask", "a.tif", "c.tif"))
    assert fault.message == "slices `b` and `c` have no partner: `mask` lacks `b` and `raw` lacks `c`"


def test_names_are_compared_in_the_normal_form_of_unicode():
    assert partner_fault(files("raw", "u\u0308.tif", "a.tif"), files("mask", "\u00fc.tif", "a.tif")) is None


@pytest.mark.parametrize(
    ("raw", "mask"),
    [
        (["a.tif", "b.tif"], ["c.tif", "d.tif"]),
        (["z1.tif", "z2.tif"], ["upper.tif", "lower.tif"]),
        (["t0_z0.tif", "t1_z1.tif"], ["z0.tif", "z1.tif"]),
        (["z1.tif", "z01.tif"], ["m1.tif", "m2.tif"]),
    ],
)
def test_names_that_fit_in_no_way_are_refused(raw, mask):
    fault = partner_fault(files("raw", *raw), files("mask", *mask))
    assert fault.message.startswith("slices of `raw` and `mask` cannot be paired")


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([0, 1, 2, 4, 5], [3]),
        ([1, 2, 5], [3, 4]),
        ([0, 2, 4, 6], []),
        ([0, 2, 6, 8], [4]),
        ([0, 5, 7], []),
        ([3, 4], []),
        (list(range(9, 13)), []),
    ],
)
def test_gaps_are_numbers_that_break_the_distance_of_the_others(numbers, missing):
    assert gaps(keys_of(numbered("raw", "z{}.tif", numbers))) == missing
