"""The verdict of `benchmarks/scaling.py` on how time and memory grow."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel")
SIZES = [100, 1000, 10_000]
ALONE = 3.0
"""Seconds of a command without any image."""


@pytest.fixture(scope="module")
def scaling():
    path = Path(__file__).parents[2] / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location("scaling", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scaling"]


def costs(power, each=0.005):
    return [ALONE + each * size * (size / SIZES[0]) ** (power - 1) for size in SIZES]


def twice(values, noise=0.06):
    """Add a slower repeat to each measurement."""
    return [None if value is None else [value, value + noise] for value in values]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (costs(1.0), "ok"),
        (costs(0.5), "ok"),
        (costs(1.3), "TOO FAST"),
        (costs(2.0), "TOO FAST"),
        ([3.0, 3.1, 2.9], "flat"),
        ([3.0, 3.05, 4.0], "open"),  # 1.5 times as dear, or 0.8 times with 0.06 s more in the middle
        ([3.0, 3.05, 30.0], "TOO FAST"),  # only the largest stands out, and noise does not explain it
        ([3.0, 3.2, 5.9], "open"),  # 1.11, and 1.0 with increments of 0.26 and 2.84
        ([3.0, 5.0, None], "TOO LONG"),
        ([None, None, None], "TOO LONG"),
    ],
)
def test_growth_is_judged_with_the_noise_of_repeats(scaling, values, verdict):
    assert scaling.verdict_of(SIZES, twice(values), "s")[1] == verdict


def test_centre_lines_that_took_too_long_are_found(scaling):
    pixels = [side**2 for side in (256, 1024, 4096)]
    eval_s = [2.2, 2.8, 25.5]  # before clDice looked at objects one by one
    text, verdict = scaling.verdict_of(pixels, twice(eval_s, noise=0.1), "s")
    assert verdict == "TOO FAST"
    assert text.startswith("1.29 ")


def drawn(rng, values):
    """Measure twice on a busy machine: 0.1 s and 2 % more at times."""
    return [[value + float(rng.exponential(0.1) + rng.exponential(0.02 * value)) for _ in range(2)] for value in values]


def test_noise_is_not_taken_for_growth_and_does_not_hide_it(scaling):
    def verdicts(values):
        rng = np.random.default_rng(0)
        return [scaling.verdict_of(SIZES, drawn(rng, values), "s")[1] for _ in range(400)]

    flat, linear, steep = verdicts([ALONE] * 3), verdicts(costs(1.0)), verdicts(costs(1.3))
    assert flat.count("TOO FAST") <= 8
    assert flat.count("flat") > 300
    assert linear.count("TOO FAST") <= 8
    assert linear.count("ok") > 300
    assert steep.count("TOO FAST") > 380


@pytest.mark.parametrize(("power", "code"), [(1.0, 0), (1.5, 1)])
def test_the_exit_code_tells_whether_a_command_grows_too_fast(scaling, monkeypatch, capsys, power, code):
    taken = dict(zip(SIZES, costs(power), strict=True))

    def measured(part, size, most_s, skipped, repeats):
        for name in scaling.COMMANDS:
            yield name, [scaling.Used(taken[size] if name == "eval" else 3.0, 300.0)] * repeats

    monkeypatch.setattr(scaling, "measured", measured)
    monkeypatch.setattr(sys, "argv", ["scaling.py", "images", "--quick"])
    with pytest.raises(SystemExit) as ended:
        scaling.main()
    assert ended.value.code == code
    rows = {
        line.split(" | ")[0].strip("| "): line.rstrip("| ").split(" | ")[-1]
        for line in capsys.readouterr().out.splitlines()
    }
    assert rows["eval, s"] == ("TOO FAST" if code else "ok")
    assert rows["check, s"] == "flat"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["images", "sides", "--sizes", "1", "2"], "`--sizes` needs one part"),
        (["images", "--repeats", "1"], "`--repeats` must be at least 2"),
    ],
)
def test_other_sizes_of_several_parts_and_single_runs_are_refused(scaling, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["scaling.py", *words])
    with pytest.raises(SystemExit) as ended:
        scaling.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
