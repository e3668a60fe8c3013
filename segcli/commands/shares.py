"""Summaries of the splits of a data set, and findings on shares of classes that differ between them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

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
SURE = 2.5
"""Smallest difference of the mean logarithms of the shares in two splits that is reported, in standard errors."""
LEAST_SHARE = 1e-4
"""Share that is added, so that images without the class have a logarithm."""
FEWEST = 4
"""Images of both splits beyond two that are needed to tell chance from another meaning."""
SHOWN = 4
"""Classes that are named."""
Shares = Callable[[str, str | None], Array]
"""Returns the shares of a class in the images of a split, given the split and the class; default: the only one."""


def summary(layout: Layout, task: Task, split: str, cases: Sequence[Case], examined: Examined) -> SplitSummary:
    """Count the images, sizes, classes and groups of a split."""
    sizes: dict[str, int] = {}
    for case in cases:
        try:
            size = "x".join(map(str, layout.size(case)))
        except DataError:
            size = "unreadable"
        sizes[size] = sizes.get(size, 0) + 1
    present = [] if examined.present is None else examined.present.tolist()
    groups = [case.group for case in cases if case.group is not None]
    return SplitSummary(
        split,
        len(cases),
        sizes,
        *shares_of(task, examined.pixels.sum(axis=0)),
        present=dict(zip(task.classes, present, strict=False)),
        groups={group: groups.count(group) for group in dict.fromkeys(groups)},
    )


def shares_of(task: Task, pixels: Array) -> tuple[float, dict[str, float]]:
    """Compute the share of the foreground of a single mask, else NaN; and of several classes their shares."""
    shares = task.class_shares(pixels)
    return (next(iter(shares.values())), {}) if task.single else (float("nan"), shares)


def share_findings(task: Task, summaries: Sequence[SplitSummary], read: Mapping[str, Examined]) -> Iterator[Finding]:
    """Tell the share of the foreground; find shares that differ much from those in training, and absent classes.

    Args:
        task: Task of the data set.
        summaries: Summary of each split.
        read: What was kept of the cases of each split.
    """

    def single(split: str, name: str | None) -> Array:
        shares = (task.class_shares(pixels) for pixels in (read[split].pixels if split in read else ()))
        return np.array([each[name or next(iter(each))] for each in shares], float)

    yield from _foreground(summaries, single)
    yield from _class_shares(summaries, single)
    yield from _absent(summaries)


def _by_chance(single: Shares, split: str, name: str | None = None) -> bool:
    """Tell whether the mean share of a split may differ from that in training because few images have it by chance.

    Args:
        single: Shares of a class in the images of a split.
        split: The split.
        name: The class; default: the only one.
    """
    ours, others = single(split, name), single("train", name)
    ours, others = (np.log(each[~np.isnan(each)] + LEAST_SHARE) for each in (ours, others))  # ratios count
    freedom = len(ours) + len(others) - 2
    if min(len(ours), len(others)) < 1 or freedom < FEWEST:
        return True
    pooled = (ours.var() * len(ours) + others.var() * len(others)) / freedom
    error = float(np.sqrt(pooled * (1 / len(ours) + 1 / len(others))))
    return abs(float(ours.mean() - others.mean())) < SURE * error


def _foreground(summaries: Sequence[SplitSummary], single: Shares) -> Iterator[Finding]:
    train = next((entry.foreground_share for entry in summaries if entry.split == "train"), float("nan"))
    for entry in summaries:
        share = entry.foreground_share
        if np.isnan(share) or np.isnan(train):
            continue
        message = f"foreground is {share:.2%} of the `{entry.split}` pixels"
        is_far = not (1 / FAR <= (share + 1e-9) / (train + 1e-9) <= FAR)
        if entry.split != "train" and is_far and not _by_chance(single, entry.split):
            hint = "check that the masks of both splits have the same meaning"
            yield Finding("class_share_differs", "warning", None, f"{message}, but {train:.2%} in training", hint)
        else:
            hint = "for rare classes use a loss such as Dice, and crops around them (`data.foreground_share`)"
            yield Finding("class_share", "info", None, message, hint if share < RARE else "")


def _class_shares(summaries: Sequence[SplitSummary], single: Shares) -> Iterator[Finding]:
    """Find classes whose share of the pixels of a split differs much from that in training."""
    train = next((entry.class_shares for entry in summaries if entry.split == "train"), {})
    for entry in summaries:
        pairs = {name: (share, train.get(name, 0.0)) for name, share in entry.class_shares.items()}
        far = {
            name: pair
            for name, pair in pairs.items()
            if min(pair) > 0
            and max(pair) >= LEAST
            and max(pair) > FAR_CLASS * min(pair)
            and not _by_chance(single, entry.split, name)
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
