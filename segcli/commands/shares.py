"""Summaries of the splits of a data set, and findings on shares of classes that differ between them."""

from collections.abc import Iterator, Sequence

import numpy as np

from segcli.commands.examined import Examined
from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.checks import Finding, Severity
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.report.results import SplitSummary
from segcli.tasks import Task

__all__ = ["share_findings", "shares_of", "summary"]

RARE = 0.02
"""Share below which a foreground is hard to learn with a loss that averages over pixels."""
FAR = 3.0
"""Smallest ratio of the shares of the foreground in two splits that is reported."""
FAR_CLASS = 4.0
"""Smallest ratio of the shares of one of several classes in two splits that is reported."""
LEAST = 0.002
"""A class with a smaller share in both splits is not compared: a few objects decide."""
SHOWN = 4
"""Classes that are named."""


def summary(
    layout: Layout, task: Task, split: str, cases: Sequence[Case], examined: Sequence[Examined]
) -> SplitSummary:
    """Count the images, sizes, classes and groups of a split."""
    sizes: dict[str, int] = {}
    for case in cases:
        try:
            size = "x".join(map(str, layout.size(case)))
        except DataError:
            size = "unreadable"
        sizes[size] = sizes.get(size, 0) + 1
    readable = [entry.pixels for entry in examined if entry.pixels is not None]
    flags = [entry.present for entry in examined if entry.present is not None]
    present = np.sum(flags, axis=0).tolist() if flags else []
    groups = [case.group for case in cases if case.group is not None]
    return SplitSummary(
        split,
        len(cases),
        sizes,
        *shares_of(task, sum(readable, task.no_counts)),
        present=dict(zip(task.classes, present, strict=False)),
        groups={group: groups.count(group) for group in dict.fromkeys(groups)},
    )


def shares_of(task: Task, pixels: Array) -> tuple[float, dict[str, float]]:
    """Compute the share of the foreground of a single mask, else NaN; and of several classes their shares."""
    shares = task.class_shares(pixels)
    return (next(iter(shares.values())), {}) if task.single else (float("nan"), shares)


def share_findings(summaries: Sequence[SplitSummary]) -> Iterator[Finding]:
    """Tell the share of the foreground; find shares that differ much from those in training, and absent classes."""
    yield from _foreground(summaries)
    yield from _class_shares(summaries)
    yield from _absent(summaries)


def _foreground(summaries: Sequence[SplitSummary]) -> Iterator[Finding]:
    train = next((entry.foreground_share for entry in summaries if entry.split == "train"), float("nan"))
    for entry in summaries:
        share = entry.foreground_share
        if np.isnan(share) or np.isnan(train):
            continue
        message = f"foreground is {share:.2%} of the `{entry.split}` pixels"
        if entry.split != "train" and not (1 / FAR <= (share + 1e-9) / (train + 1e-9) <= FAR):
            hint = "check that the masks of both splits have the same meaning"
            yield Finding("class_share_differs", "warning", None, f"{message}, but {train:.2%} in training", hint)
        else:
            hint = "for rare classes use a loss such as Dice, and crops around them (`data.foreground_share`)"
            yield Finding("class_share", "info", None, message, hint if share < RARE else "")


def _class_shares(summaries: Sequence[SplitSummary]) -> Iterator[Finding]:
    """Find classes whose share of the pixels of a split differs much from that in training."""
    train = next((entry.class_shares for entry in summaries if entry.split == "train"), {})
    for entry in summaries:
        pairs = {name: (share, train.get(name, 0.0)) for name, share in entry.class_shares.items()}
        far = {
            name: pair
            for name, pair in pairs.items()
            if min(pair) > 0 and max(pair) >= LEAST and max(pair) > FAR_CLASS * min(pair)
        }
        if entry.split == "train" or not far:
            continue
        order = sorted(far, key=lambda name: -max(far[name]) / min(far[name]))
        shown = ", ".join(f"`{name}` {far[name][0]:.2%} (training: {far[name][1]:.2%})" for name in order[:SHOWN])
        more = f" and {len(order) - SHOWN} more" if len(order) > SHOWN else ""
        message = f"shares of classes in `{entry.split}` are far from those in training: {shown}{more}"
        hint = "divide the data so that each split shows what the others show, or draw another split"
        yield Finding("class_share_differs", "warning", None, message, hint)


def _absent(summaries: Sequence[SplitSummary]) -> Iterator[Finding]:
    """Find classes without a pixel."""
    for entry in summaries:
        for name in (name for name, share in entry.class_shares.items() if share == 0):
            training = entry.split == "train"
            message = f"class `{name}` does not occur in the masks of `{entry.split}`"
            hint = (
                "the network cannot learn it: add images, or list it in `ignore`"
                if training
                else "it is not scored there"
            )
            severity: Severity = "warning" if training else "info"
            yield Finding("absent_class", severity, None, message, hint)
