"""What `segcli data check` finds is readable and can be copied in a terminal of 80 columns."""

import json
import re

import cv2
import numpy as np
from factories import experiment, write_experiment, write_folders
from rich.console import Console

from segcli.cli import console
from segcli.data.checks import Finding
from segcli.report.data_tables import faults
from segcli.report.findings import rows_of
from segcli.report.results import Checked


def finding(message, hint="look", code="some_code", severity="warning"):
    return Finding(code, severity, None, message, hint)


def drawn(rows):
    """Lines of a terminal of 80 columns."""
    screen = Console(width=80)
    with screen.capture() as captured:
        for row in rows:
            screen.print(row, soft_wrap=True)
    return captured.get().splitlines()


def test_no_name_of_a_file_and_no_key_is_broken(run_cli, workplace, monkeypatch):
    root = workplace / "a_folder_with_the_long_name_of_a_hospital/and another one with spaces"
    config = write_experiment(workplace / "tiny.yaml", experiment(write_folders(root)))
    (root / "train/label/01.png").unlink()
    cv2.imwrite(str(root / "val/label/00.png"), np.zeros((48, 48), np.uint8))
    monkeypatch.setattr(console, "PLAIN_WIDTH", 80)
    lines = run_cli("data", "check", config).out.splitlines()
    found = json.loads(run_cli("data", "check", config, "--json").out)["findings"]
    copied = {
        span
        for each in found
        for text in (each["message"], each["hint"])
        if each["hint"]
        for span in re.findall(r"`[^`]+`", text)
    }
    assert any("/train/image/01.png" in span for span in copied)
    assert [span for span in copied if not any(span in line for line in lines)] == []
    too_long = [line for line in lines if len(line) > 80]
    assert [line for line in too_long if re.fullmatch(r"[(]?`[^`]+`\S*", line) is None] == []


def test_the_same_finding_of_several_splits_is_one_row():
    found = [finding(f"class `car` does not occur in the masks of `{split}`") for split in ("val", "test")]
    found += [finding(f"intensities of `{split}` range to {top}", "scale") for split, top in (("train", 3), ("val", 4))]
    lines = drawn(rows_of(found))
    assert lines == [
        "warning  some_code",
        "  class `car` does not occur in the masks of `val` and `test`",
        "  hint: look",
        "warning  some_code",
        "  intensities of `train` range to 3",
        "  intensities of `val` range to 4",
        "  hint: scale",
    ]
    told = list(faults(Checked("mine", [], found)))
    assert sum("does not occur" in line for line in told) == 1
    assert len(Checked("mine", [], found).as_dict()["findings"]) == 4


def test_of_many_findings_the_first_are_shown_and_the_others_counted():
    found = [finding(f"mask `{number}.png` is empty", f"hint {number // 3}") for number in range(9)]
    lines = drawn(rows_of(found))
    assert sum("is empty" in line for line in lines) == 4
    assert lines[-2:] == ["  and 5 more like this: `--json` lists all", "  hint: hint 1"]


def test_control_characters_in_names_are_shown_as_escapes():
    assert drawn(rows_of([finding("mask `a\x1b[31m.png` is empty")]))[1] == r"  mask `a\x1b[31m.png` is empty"
