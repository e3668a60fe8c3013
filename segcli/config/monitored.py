"""Names of the values of a validation, which a run can monitor; this file does not load PyTorch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segcli.losses import Loss

__all__ = ["loss_values", "monitored"]


def monitored(metrics: Mapping[str, bool], whole: str | None, losses: "Mapping[str, type[Loss]]") -> dict[str, bool]:
    """Map each value that can be monitored to True if higher is better; the default comes first.

    Args:
        metrics: True for each metric of the run of which higher is better.
        whole: Word for a sample whose crops are the cases; None if there is no such sample.
        losses: Each loss of the run by its name.
    """
    over_whole = {f"{whole}_{name}": rises for name, rises in metrics.items() if whole is not None}
    values = {f"val_{name}": rises for name, rises in {**metrics, **over_whole}.items()}
    return {**values, **dict.fromkeys(loss_values(losses), False)}


def loss_values(losses: "Mapping[str, type[Loss]]") -> list[str]:
    """List the values of a validation that the losses of a run give."""
    return [f"val_{name}" for name in ("loss", *(f"loss_{part}" for part in _part_names(losses)))]


def _part_names(losses: "Mapping[str, type[Loss]]") -> list[str]:
    """List the parts of a sum of losses as `WeightedSum` names them; empty if there is only one part.

    Args:
        losses: Each loss by its name.
    """
    names: list[str] = []
    for name, kind in losses.items():
        names += [f"{name}_{part}" if part in names else part for part in kind.parts or (name,)]
    return names if len(names) > 1 else []
