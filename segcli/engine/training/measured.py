"""Numbers that are measured once on the training data and written to the run's config."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segcli.config.schema import LossPart, Run
from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.kept import read_kept, write_kept
from segcli.data.classes.class_list import class_names
from segcli.data.classes.weights import SCHEMES, class_pixels, class_weights
from segcli.data.fingerprint import fingerprint
from segcli.data.moments import Moments, rounded
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.engine.each_case import each_case
from segcli.engine.events import Listener

__all__ = ["with_class_weights", "with_measured_numbers", "with_measured_scale"]


def with_measured_numbers(run: Run, listener: Listener, *, keep: bool = True) -> Run:
    """Measure `mean`, `std` and class weights, where the config leaves them open, and write the numbers into it.

    So a resumed run, or an evaluation on another machine, uses exactly the same numbers and needs no training data.

    Args:
        run: The run.
        listener: Receives progress, and the numbers as notices.
        keep: Cache the numbers in files, so that the next run does not read all images and masks again.

    Raises:
        DataError: A training image or mask cannot be read.
    """
    return with_class_weights(with_measured_scale(run, listener, keep=keep), listener, keep=keep)


def with_measured_scale(run: Run, listener: Listener, *, keep: bool = True) -> Run:
    """Measure `mean` and `std` on the training split, if the run needs them and the data set states none.

    Each image is read once, and no more than a few are held. Pixels outside the field of view, pixels of ignored
    classes and padding do not count, as in `segcli data stats`. A resumed run, or an evaluation on another machine,
    finds the numbers in its config.

    Args:
        run: The run.
        listener: Receives progress, and the numbers as a notice.
        keep: Cache the numbers in a file, so that the next run does not read all images again.

    Raises:
        DataError: A training image cannot be read.
    """
    if run.data.preprocessing.normalize is not True or run.dataset.mean is not None:
        return run
    layout: Layout = run.dataset.build()
    cases = layout.cases("train")
    cache = _cache_file(run, cases, "mean_and_std")
    values = _cached(cache, run.dataset.num_channels)
    if values is None:
        listener.stage("measuring mean and std", len(cases))
        moments = Moments.of_all(each_case(lambda case: Moments.of(layout.counted(case)), cases, listener))
        values = dict(zip(("mean", "std"), rounded(moments.mean, moments.std), strict=True))
        if keep:
            _write(cache, values, listener)
    mean, std = values["mean"], values["std"]
    for channel in (channel for channel, value in enumerate(std) if value == 0):
        listener.warn(f"channel {channel} has the same value in all training images: its `std` is set to 1")
        std[channel] = 1.0
    listener.notice(f"measured on {len(cases)} training images: mean {_listed(mean)}, std {_listed(std)}")
    return run.model_copy(update={"dataset": run.dataset.model_copy(update={"mean": mean, "std": std})})


def _write(cache: Path, values: dict[str, list[float]], listener: Listener) -> None:
    """Write the numbers to their file; without it, the next run measures again."""
    try:
        write_kept(cache, values)
    except (OSError, DataError):
        listener.notice(f"`{shown(cache.parent)}` cannot be written: the next training measures mean and std again")


def _cached(cache: Path, channels: int) -> dict[str, list[float]] | None:
    """Read the numbers of an earlier run; None if there are none that fit."""
    try:
        values: Any = read_kept(cache)
        found = {key: [float(value) for value in values[key]] for key in ("mean", "std")}
    except (KeyError, TypeError, ValueError):
        return None
    return found if all(len(numbers) == channels for numbers in found.values()) else None


def _listed(values: list[float]) -> str:
    return "[{}]".format(", ".join(f"{value:.4g}" for value in values))


def with_class_weights(run: Run, listener: Listener, *, keep: bool = True) -> Run:
    """Replace methods such as `class_weights: inverse` by the computed numbers.

    So a resumed run, or an evaluation on another machine, uses exactly the same weights and needs no training masks.

    Args:
        run: The run.
        listener: Receives the weights as a notice.
        keep: Cache the pixel counts in a file, so that the next run does not count again.

    Raises:
        DataError: A training mask cannot be read.
    """
    loss = dict(run.training.loss)
    for name, part in run.training.loss.items():
        if part.class_weights in SCHEMES and part.class_weights != "none":
            loss[name] = _weighted(run, part, listener, keep=keep)
    return run.model_copy(update={"training": run.training.model_copy(update={"loss": loss})})


def _weighted(run: Run, part: LossPart, listener: Listener, *, keep: bool) -> LossPart:
    layout: Layout = run.dataset.build()
    cases = layout.cases("train")
    cache = _cache_file(run, cases, "class_pixels")
    counts_masks = "mask" in layout.truths  # classes of whole images are not stored in masks and are fast to count
    pixels = class_pixels(layout, cases, run.dataset.num_classes, cache if keep and counts_masks else None)
    options = part.options
    scheme: Any = part.class_weights
    weights = class_weights(scheme, pixels, **({"beta": options["beta"]} if "beta" in options else {}))
    names = class_names(run.dataset.spec)
    listed = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
    what = "masks" if counts_masks else "images"
    listener.notice(f"class weights ({scheme}, from {len(cases)} training {what}): {listed}")
    for name in (name for name, weight in zip(names, weights, strict=True) if weight == 0):
        listener.warn(f"class `{name}` does not occur in the training {what}: its weight is 0")
    return LossPart.model_validate({**part.model_dump(), "class_weights": weights})


def _cache_file(run: Run, cases: Sequence[Case], kind: str) -> Path:
    """Name the file that keeps numbers measured on cases: other data or keys of the data set have another file."""
    known = [run.dataset.model_dump_json(), fingerprint(cases)["digest"], *_states(cases)]
    digest = hashlib.sha256("|".join(known).encode()).hexdigest()[:16]
    return (run.data.cache_dir or Path("outputs") / "cache") / f"{kind}_{digest}.json"


def _states(cases: Sequence[Case]) -> list[str]:
    """List size and time of all files of the cases: a fingerprint reads only parts of large files."""
    paths = dict.fromkeys(path for case in cases for path in case.files)
    files = (file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]))
    return [f"{state.st_size} {state.st_mtime_ns}" for state in map(Path.stat, files)]
