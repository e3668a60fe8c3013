"""Masks of one class: foreground and background."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.checks import Finding, tried
from segcli.data.classes.coding import Codings
from segcli.data.classes.counts import values_of
from segcli.data.classes.palettes import Palettes
from segcli.data.images import Headers, Marks, read_marks
from segcli.files import read_header
from segcli.files._losses import EXACT

__all__ = ["BinaryMasks"]

TOPS = ({1}, {255}, {65535})
"""Values of the foreground that a binary mask may use; background is 0."""
EXACT_TOPS = ({EXACT},)
"""Those that survive a compression that changes values."""
SHARP = 64
"""A smaller largest value of a blurred mask does not tell its foreground from its background."""


@dataclass(frozen=True)
class BinaryMasks:
    """Reads masks of 0 and 1; the counterpart of `MaskReader` for one class.

    Args:
        threshold: Values above it are foreground. Without it, a mask holds only 0 and 1, or only 0 and 255.
        page: Page to read of files of several pages, counted from 0.
    """

    threshold: int | None = None
    page: int | None = None
    codings: Codings = field(default_factory=Codings, compare=False)
    """Codings of the examined masks."""
    palettes: Palettes = field(default_factory=Palettes, compare=False)
    """Palettes of the examined masks."""
    headers: Headers | None = field(default=None, compare=False)
    """Receives the headers of the examined masks."""
    any_number: bool = False
    """Takes any single number beside 0 for the foreground, as in the file of one class of many."""

    def read(self, path: Path) -> dict[str, Array]:
        """Read `mask`, `(H, W)` uint8.

        Raises:
            DataError: The file is unreadable, or holds more than two values.
        """
        return {"mask": self._mask(read_marks(path, self.page), path)}

    def written(self, mask: Array) -> Array:
        """Return the mask unchanged: it is written as 0 and 1."""
        return mask

    def examine(self, path: Path) -> tuple[dict[str, Array], list[Finding]]:
        """Read a mask, with findings instead of errors; report masks that are empty or all foreground."""
        findings: list[Finding] = []
        try:
            labels = read_marks(path, self.page, self.headers)
        except DataError as error:
            return {}, [Finding("unreadable_label", "error", path, error.message, error.hint or "")]
        self.codings.add(path, labels.spread)
        mask = tried(findings, "unexpected_values", path, lambda path: self._mask(labels, path))
        if mask is not None and self.threshold is None:
            self.palettes.note(path, labels)
        if mask is not None and not mask.any():
            message, hint = f"mask `{path}` is empty", "check that the image shows no foreground" + self._alpha(path)
            if self.threshold is not None and labels.spread.any():
                top = labels.spread.max()
                message += f": its largest value, {top}, is not above `mask_threshold: {self.threshold}`"
                hint = f"lower `mask_threshold` below the values of the foreground, or {hint}"
            findings.append(Finding("empty_mask", "warning", path, message, hint))
        elif mask is not None and mask.all():
            message, hint = f"mask `{path}` is all foreground", "check that the background is 0" + self._alpha(path)
            if self.threshold is not None:
                message += f": its smallest value, {labels.spread.min()}, is above `mask_threshold: {self.threshold}`"
                hint = f"raise `mask_threshold` above the values of the background, or {hint}"
            findings.append(Finding("full_mask", "warning", path, message, hint))
        return {} if mask is None else {"mask": mask}, findings

    def compared(self) -> Iterator[Finding]:
        """Report masks that store the foreground in different ways."""
        yield from self.codings.findings()
        yield from self.palettes.findings()

    def _mask(self, marks: Marks, path: Path) -> Array:
        labels = marks.spread
        if labels.dtype == bool:  # one bit per pixel has no other values
            return labels.view(np.uint8)
        if self.threshold is not None:
            return (labels > self.threshold).view(np.uint8)
        values, counts = values_of(labels)
        tops = TOPS if marks.loss is None else EXACT_TOPS
        found = {int(value) for value in values} - {0}
        is_one = self.any_number and marks.loss is None and len(found) == 1 and values[0] >= 0
        if not is_one and not any(found <= top for top in tops):
            raise DataError(_unexpected(path, values, counts, marks.loss), hint=_way_out(values, marks.loss))
        return (labels > 0).view(np.uint8)

    def _alpha(self, path: Path) -> str:
        """Name the alpha channel as a place where the mask may be; empty for a file without one."""
        there = read_header(path, 2, self.page).has_alpha
        return "; its alpha channel is not read: save what marks the foreground as grey" if there else ""


def _unexpected(path: Path, values: Array, counts: Array, loss: str | None) -> str:
    order = np.argsort(-counts)
    shown = ", ".join(f"{values[index]} ({counts[index]} pixels)" for index in order[:5])
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    if loss is not None:
        how = f"is stored as {loss}, which changes its numbers: it"
        return f"mask `{path}` {how} holds {len(values)} value{'s' * (len(values) > 1)}, {shown}{more}"
    if len(values) <= 2:
        return f"mask `{path}` holds {shown}, but a binary mask holds 0 and 1, or 0 and 255"
    return f"mask `{path}` holds {len(values)} values, a binary mask has two: {shown}{more}"


def _way_out(values: Array, loss: str | None) -> str:
    """Suggest a threshold at half of the largest value, where it separates foreground from background."""
    top = int(values.max())
    if loss is not None and top < SHARP:
        return "export it again, as PNG with 0 for background and 255 for foreground"
    keep = "write 0 for background and 255 (or 1) for foreground"
    if top < 2:
        return keep
    why = f"{top} is the foreground" if len(values) <= 2 else "the values between come from JPEG or smoothing"
    return f"{keep}, or set `mask_threshold: {top // 2}` in the data-set file if {why}"
