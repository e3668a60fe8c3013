"""The verdict of `benchmarks/scaling.py` on how time and memory grow."""

import importlib.util
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (costs(1.0), "ok"),
        (costs(0.5), "ok"),
        (costs(1.3), "TOO FAST"),
        (costs(2.0), "TOO FAST"),
        ([3.0, 3.2, 2.9], "flat"),
        ([3.0, 3.1, 4.0], "flat"),  # a single increment has no slope
        ([3.0, 4.5, 25.5], "open"),  # 1.13, and 1.0 with increments of 1.9 and 22
        ([3.0, 5.0, None], "TOO LONG"),
        ([None, None, None], "TOO LONG"),
    ],
)
def test_a_slope_is_judged_with_the_errors_of_measurement(scaling, values, verdict):
    assert scaling.verdict_of(SIZES, values, "s")[1] == verdict


@pytest.mark.parametrize(("power", "code"), [(1.0, 0), (1.5, 1)])
def test_the_exit_code_tells_whether_a_command_grows_too_fast(scaling, monkeypatch, capsys, power, code):
    taken = dict(zip(SIZES, costs(power), strict=True))

    def measured(part, size, most_s, skipped):
        return ((name, scaling.Used(taken[size] if name == "eval" else 3.0, 300.0)) for name in scaling.COMMANDS)

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


def test_other_sizes_are_refused_for_several_parts(scaling, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scaling.py", "images", "sides", "--sizes", "1", "2"])
    with pytest.raises(SystemExit) as ended:
        scaling.main()
    assert ended.value.code == 2
    assert "`--sizes` needs one part" in capsys.readouterr().err
