"""Findings that only repeat in other words what another finding tells."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from segcli.data.checks import Finding

__all__ = ["MOST_TURNED", "explained", "without_follow_ups"]

ABSENT = ("extra_label", "missing_channel", "missing_sample", "sample_without_class")
"""Codes of findings on cases that a data set lacks because one of their files, or their line, is missing."""
MOST_TURNED = 5
"""Most turned files whose remark is left out; a finding lists one more, so that it shows that there are others."""


def explained(names: Iterable[str], findings: Iterable[Finding]) -> set[str]:
    """Choose the names of missing cases of which another finding names a file, which is why they are missing.

    Example:
        >>> told = Finding("extra_label", "warning", None, "mask `/data/masks/f03_mask.png` belongs to no image", "")
        >>> explained(["clip/f03", "clip/f0"], [told])
        {'clip/f03'}
    """
    told = " ".join(finding.message for finding in findings if finding.code in ABSENT)
    return {name for name in names if told and re.search(rf"[/\\`]{re.escape(name.rpartition('/')[2])}(?!\d)", told)}


def without_follow_ups(findings: Sequence[Finding]) -> list[Finding]:
    """Leave out the remark on turned files if each of them is found to lie wrongly on its partner."""
    wrong = {"turned_alone", "size_mismatch"}
    told = {
        path
        for finding in findings
        if finding.code in wrong and finding.severity != "info"
        for path in (finding.file, *finding.others)
    }
    return [each for each in findings if not (each.code == "turned" and _are_told(each, told))]


def _are_told(turned: Finding, told: set[Path | None]) -> bool:
    files = {turned.file, *turned.others}
    return len(files) <= MOST_TURNED and files <= told
