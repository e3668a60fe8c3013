"""Findings of `segcli data check` that show only when all cases of a data set were read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain

from segcli.commands.tiny_objects import Objects, tiny_objects
from segcli.config.document import Problem
from segcli.config.schema import Run
from segcli.core.errors import DataError, SegcliError
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.kept import Images
from segcli.data.faults.neighbours import divided_neighbours
from segcli.data.faults.numbers import far_numbers, padded_patches, spacings_differ
from segcli.data.faults.repeated import repeated
from segcli.data.faults.spelling import names_to_confuse, numbers_missing
from segcli.data.faults.unlike import unlike_the_others
from segcli.data.moments import Moments, rounded
from segcli.data.samples import Case, Sample
from segcli.datasets import Layout
from segcli.tasks import Task

__all__ = ["Numbers", "intensities", "measured_numbers", "misfit_of_numbers", "of_whole_set", "with_network"]

SPREAD = 10.0
"""Largest ratio of the brightest to the darkest case that one normalisation fits."""
Numbers = tuple[list[float], list[float]]
"""Mean and standard deviation of each channel."""


def of_whole_set(
    layout: Layout, cases: Mapping[str, Sequence[Case]], images: Images, told: Sequence[Finding]
) -> Iterator[Finding]:
    """Compare the cases of all splits with each other.

    Args:
        layout: The data set.
        cases: Cases of each split.
        images: Descriptions of their images.
        told: Findings on single cases.
    """
    yield from repeated(images, lambda i: _pixels(layout, images.cases[i]))
    if not any(layout.together(case) != case.id for case in chain.from_iterable(cases.values())):
        yield from divided_neighbours(images)
    yield from unlike_the_others(images, lambda i: _with_mask(layout, images.cases[i]))
    every = list(chain.from_iterable(cases.values()))
    yield from names_to_confuse(dict.fromkeys(path for case in every for path in case.files))
    if not _leaves_out(layout):
        yield from numbers_missing(dict.fromkeys(case.part_of or case.id for case in every), layout.root, told)
    if layout.ndim == 3:
        yield from spacings_differ(_spacings(layout, every))


def _pixels(layout: Layout, case: Case) -> Array | None:
    sample, _ = layout.examine(case)
    return None if sample is None else sample.image


def _with_mask(layout: Layout, case: Case) -> Sample | None:
    """Read a case with its mask, which need not be what a network learns."""
    sample, _ = layout.examine(case)
    if sample is None or "mask" in sample.maps:
        return sample
    mask = layout.mask_beside(case)
    return None if mask is None else Sample(layout.unmasked(case, sample).image, {"mask": mask})


def _leaves_out(layout: Layout) -> bool:
    """Tell whether keys of the data set leave out cases, so that numbers are missing on purpose."""
    chosen = ("class_filter", "sample_fraction")
    return any(getattr(layout.config, key, None) not in (None, 1.0) for key in chosen)


def _spacings(layout: Layout, cases: Sequence[Case]) -> dict[Case, tuple[float, ...]]:
    found = {}
    for case in cases:
        with suppress(DataError):  # reported with the case
            spacing = layout.spacing(case)
            if spacing is not None:
                found[case] = spacing
    return found


def measured_numbers(layout: Layout, together: Moments | None) -> Numbers | None:
    """Compute mean and deviation of the training images from their moments; None if none were measured."""
    if together is None or together.count == 0 or len(together.means) != layout.spec.num_channels:
        return None
    mean, std = rounded(together.mean, together.std)
    return mean, [value or 1.0 for value in std]


def misfit_of_numbers(problem: Problem, measured: Numbers | None) -> Finding:
    """Report `mean` and `std` that do not fit each other or the channels, with the measured ones to paste."""
    ours = "remove both: training measures them"
    hint = ours if measured is None else f"write `mean: {measured[0]}` and `std: {measured[1]}`, or {ours}"
    return Finding("refused_by_train", "error", None, f"`{problem.origin.text}`: {problem.message}", hint)


def with_network(
    run: Run | None,
    layout: Layout,
    task: Task,
    cases: Sequence[Case],
    objects: Objects,
    numbers: Numbers | None,
) -> Iterator[Finding]:
    """Compare the training cases with the numbers of the data set and, of a run, with its patches and its network."""
    spec = layout.spec
    if numbers is not None and spec.mean is not None and spec.std is not None:
        yield from far_numbers(spec.mean, spec.std, *numbers)
    if run is None:
        return
    if run.data.patch_size is not None:
        with suppress(DataError):
            size = run.data.image_size or run.dataset.image_size
            sizes = [tuple(size) if size else layout.size(case) for case in cases]
            yield from padded_patches(run.data.patch_size, sizes)
    if objects:
        from segcli.engine.training.batches import stride_of  # noqa: PLC0415 - a data set alone needs no PyTorch

        with suppress(SegcliError):  # a network that cannot be made is reported with the run
            stride = stride_of(run, layout)
            yield from tiny_objects(run, stride or 1, objects, task.names)


def intensities(layout: Layout, split: str, bright: Sequence[float]) -> Iterator[Finding]:
    """Find cases with so different intensities that one mean cannot normalise all of them."""
    if len(bright) < 2 or max(bright) < SPREAD * min(bright):
        return
    message = (
        f"intensities of `{split}` differ from case to case: the brightest voxels (99.5th percentile) range from "
        f"{min(bright):.4g} to {max(bright):.4g}"
    )
    hint = "`data.preprocessing.normalize=per_image` gives each case a mean of 0 and a deviation of 1"
    if layout.spec.mean is None and layout.normalizes == "per_image":
        hint = f"{hint}; it is the default of this format"
        yield Finding("intensities_differ", "info", None, message, hint)
    else:
        hint = f"take `mean` and `std` out and set {hint}"
        yield Finding("intensities_differ", "warning", None, message, hint)
