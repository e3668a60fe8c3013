"""Findings: what would spoil a training, told before it starts."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from segcli.core.errors import DataError

__all__ = ["Finding", "Severity", "raise_on_error"]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One fault of a data set."""

    code: str
    """Stable name of the kind of fault, such as `missing_label`."""
    severity: Severity
    file: Path | None
    message: str
    mend: str

    def as_dict(self) -> dict[str, str | None]:
        """For `--json`."""
        return {**asdict(self), "file": None if self.file is None else str(self.file)}


def raise_on_error(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are no errors.

    Raises:
        DataError: At least one is an error; the first is told, the rest counted.
    """
    found = list(findings)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: `segcli data check` lists them)" if len(errors) > 1 else ""
        raise DataError(errors[0].message + more, hint=errors[0].mend)
    return found
