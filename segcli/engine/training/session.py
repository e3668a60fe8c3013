"""Preparation of a training: check the data, make the loaders and the trainer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch

from segcli.config.agreement import doubts, without_effect
from segcli.config.schema import Run
from segcli.core.errors import CheckpointError, ConfigError, DataError, DeviceError, SegcliError
from segcli.core.files import shown
from segcli.core.platform import usable_processors
from segcli.data.checks import Finding, raise_on_error, warnings_of
from segcli.data.fingerprint import fingerprint
from segcli.data.pipeline import Source
from segcli.data.samples import Case
from segcli.data.sources import chunks_left_out
from segcli.datasets import Layout
from segcli.engine.assembly import Assembly, assemble
from segcli.engine.assembly.components import freezing_of
from segcli.engine.capacity import many_parameters
from segcli.engine.doubtful_data import divided_subjects, scale_mistake, split_findings
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import described_device, overlooked_gpu, unused_gpus
from segcli.engine.stopping import StopSignal
from segcli.engine.training.activations import observed_layers
from segcli.engine.training.batches import check_batches
from segcli.engine.training.caching import with_chosen_cache
from segcli.engine.training.measured import with_measured_numbers
from segcli.engine.training.precision.switches import set_gpu_switches
from segcli.engine.training.precision.timed import with_decided_precision
from segcli.engine.training.reasons.refused import refuse_changed_sizes, refuse_places, refuse_precision
from segcli.engine.training.stepping.lockstep import THREADS
from segcli.engine.training.trainer import Trainer
from segcli.engine.weights import with_weights_file
from segcli.engine.world import World
from segcli.nn.rates import described_rates

__all__ = ["check_parts", "checked_cases", "open_session", "refusals"]


def open_session(
    run: Run,
    folder: RunFolder,
    listener: Listener,
    stop: StopSignal,
    *,
    resumed: bool = False,
    rehearsal: bool = False,
    world: World | None = None,
) -> Trainer:
    """Check the data, make all parts, and return the trainer before its first step.

    Args:
        run: The run.
        folder: Run folder for the output.
        listener: Receives notices and warnings.
        stop: Signal that asks for a stop at the next safe point.
        resumed: The weights will come from a checkpoint, so pretrained weights are not loaded.
        rehearsal: Write no files: neither the split nor the pixel counts of the training masks.
        world: Processes that share the training; the first one measures and writes. Default: this one alone.

    Raises:
        SegcliError: A problem that can be found before the training starts.
    """
    world = world or World.alone()
    _remark_on(run, listener)
    _fix_threads(run, listener, world)
    parts = assemble(run if resumed else with_weights_file(run), pretrained=not resumed)
    parts = with_decided_precision(parts, listener, world, resumed=resumed, keep=not rehearsal)
    _tell_of(parts, listener, world)
    _keep_split(parts, listener, write=world.is_first and not (rehearsal or resumed))  # a checkpoint says where
    cases = checked_cases(parts, ["train", *(["val"] if parts.layout.has("val") else [])], listener)
    train_cases, val_cases = cases["train"], cases.get("val", [])
    if not val_cases:
        listener.notice("no validation images: no validation, no best checkpoint, no pictures, no early stopping")
    listener.stage("preparing")
    check_batches(run, parts.layout, train_cases)
    check_parts(parts, train_cases)
    for finding in many_parameters(run, parts.network, parts.task, parts.layout, train_cases):
        listener.warn(f"{finding.message} ({finding.hint})")
    # all images are read now: whatever is refused without that was refused before
    numbers = with_measured_numbers(parts.run, listener, keep=not rehearsal) if world.is_first else None
    measured = world.told(numbers)
    assert measured is not None
    parts = parts.with_numbers(measured)
    if run.data.preprocessing.normalize is True and (mistake := scale_mistake(parts.layout, train_cases)):
        listener.warn("{} ({})".format(*mistake))
    listener.notice(f"data: {_counted(train_cases, val_cases, parts.layout.whole or 'image')}")
    _refuse_other_cases(world, train_cases, val_cases)
    source = _source(parts, train_cases, val_cases, listener, world, reads_few=rehearsal)
    return Trainer(
        parts,
        folder,
        parts.train_loader(train_cases, source, rank=world.rank, size=world.size),
        parts.evaluation_loader(val_cases, source) if val_cases else None,
        dataset={"train": _fingerprint(parts, train_cases), "val": _fingerprint(parts, val_cases)},
        listener=listener,
        stop=stop,
        world=world,
    )


def _fix_threads(run: Run, listener: Listener, world: World) -> None:
    """Compute with a fixed number of threads if the bits of the sums must not depend on the machine."""
    if run.training.reduce == "fast":
        return
    torch.set_num_threads(THREADS)
    count = usable_processors()
    if world.is_alone and count > THREADS:
        listener.warn(
            f"`training.reduce: exact` computes with 1 thread in each process, and this machine has {count} "
            "processors: `--processes` uses more of them and gives the same bits"
        )
    else:
        listener.notice("`training.reduce: exact` computes with 1 thread in each process")


def _tell_of(parts: Assembly, listener: Listener, world: World) -> None:
    """Tell of network, device and processes."""
    run = parts.run
    listener.notice(_described(parts))
    is_auto = run.device == "auto"
    for note in (
        *parts.notes,
        *_rates(parts),
        parts.precision.refused,
        set_gpu_switches(parts.device, run.training, parts.precision.name),
        overlooked_gpu() if is_auto else None,
        unused_gpus(parts.device) if is_auto and world.is_alone else None,
        None if world.is_alone else f"{world.size} processes share each batch of {run.data.batch_size}",
    ):
        if note is not None:
            listener.notice(note)


def _refuse_other_cases(world: World, *splits: Sequence[Case]) -> None:
    """Make sure that all processes share the same images.

    Raises:
        DataError: Another machine has other images.
    """
    lists = world.gathered([[case.id for case in cases] for cases in splits])
    other = next((rank for rank, found in enumerate(lists) if found != lists[0]), None)
    if other is not None:
        raise DataError(
            f"process {other} finds other images than process 0",
            hint="the data set must be the same on all machines",
        )


def _source(
    parts: Assembly, train: Sequence[Case], val: Sequence[Case], listener: Listener, world: World, *, reads_few: bool
) -> Source:
    """Make the source of all images; the first process decides `data.cache: auto`, and the run's config keeps that."""
    if not reads_few:
        chosen = None
        if world.is_first:
            chosen = with_chosen_cache(parts, train, val, processes=world.size)
        told = world.told(chosen)
        assert told is not None
        parts.run, reason = told
        if reason:
            listener.notice(reason)
    return parts.source([*train, *val], listener)


def check_parts(parts: Assembly, cases: Sequence[Case]) -> None:
    """Refuse an augmentation that cannot be made or changes sizes, and layers that the network does not have.

    Args:
        parts: Parts of the run.
        cases: Training images.

    Raises:
        ConfigError: A key of the run has no meaning for this network or these images.
    """
    refuse_changed_sizes(parts.run, parts.layout, parts.pipeline.augment, cases)
    if parts.run.logging.log_activations:
        observed_layers(parts.run, parts.network)


def refusals(run: Run, layout: Layout) -> Iterator[Finding]:
    """Find why a training would not begin, beside the faults of its data, and what it would say about its network.

    Each reason is looked for by itself, on the CPU: that a GPU is missing here says nothing about the machine of the
    training.
    """
    yield from _raised(lambda: refuse_places(run), reported=(DataError,))
    yield from _raised(lambda: refuse_precision(run, run.device))
    here, cases, training = run.model_copy(update={"device": "cpu"}), [], []
    with suppress(DataError):  # reported with the split that cannot be read
        training = layout.cases("train")
        cases = [*training, *(layout.cases("val") if layout.has("val") else [])]
        yield from _raised(lambda: check_batches(run, layout, training))
    try:
        parts = assemble(with_weights_file(here), pretrained=True)
    except SegcliError as error:
        yield _refusal(error)
        return
    yield from many_parameters(run, parts.network, parts.task, layout, training)
    refused = [*_raised(lambda: parts.network.freeze(freezing_of(run))), *_raised(lambda: _rates(parts))]
    yield from refused
    yield from _raised(lambda: check_parts(parts, training))
    yield from _raised(lambda: parts.cache_notice(cases))
    if not refused:
        yield from _fine_tuning(parts)


def _fine_tuning(parts: Assembly) -> Iterator[Finding]:
    """Tell what a training would load, freeze, and train at other rates; the network is frozen as in epoch 1."""
    training = parts.run.training
    if parts.run.model.weights is None and not training.freeze and not training.optimizer.rates:
        return
    frozen = parts.network.epoch_begins(0)
    for line in [*parts.notes, *([f"epoch 1: {frozen}"] if frozen else []), *_rates(parts)]:
        yield Finding("fine_tuning", "info", None, line, "")


def _refusal(error: SegcliError) -> Finding:
    return Finding("refused_by_train", "error", None, error.message, error.hint or "")


def _raised(
    check: Callable[[], object],
    reported: tuple[type[SegcliError], ...] = (CheckpointError, ConfigError, DeviceError),
) -> Iterator[Finding]:
    try:
        check()
    except reported as error:
        yield _refusal(error)
    except DataError:
        pass  # reported with the case that cannot be read


def _remark_on(run: Run, listener: Listener) -> None:
    """Tell of names that are not ours, values that are probably not meant, and keys without effect."""
    for message in run.readings:
        listener.notice(message)
    for message in doubts(run):
        listener.warn(message)
    for message in without_effect(run):
        listener.notice(message)


def checked_cases(parts: Assembly, splits: Sequence[str], listener: Listener) -> dict[str, list[Case]]:
    """List the cases of splits after the checks that need no decoding; warn of what may be read wrongly.

    Raises:
        DataError: A split has faults.
    """
    layout, cases = parts.layout, {}
    found: list[Finding] = []
    for split in splits:
        listener.stage(f"listing {split}")
        cases[split] = here = layout.cases(split)
        left_out = chunks_left_out(split, here, layout.ndim, layout.page)
        found += raise_on_error([*layout.inspect(split), *layout.foreign_links(here), *left_out])
    for text in warnings_of([*found, *layout.compared(splits), *_divided(layout, splits)]):
        listener.warn(text)
    return cases


def _divided(layout: Layout, splits: Sequence[str]) -> list[Finding]:
    """Find subjects in two splits; training looks at the test split, too, because that is what its scores are for."""
    if "train" not in splits:
        return []
    with suppress(DataError):  # `eval` tells the faults of the test split
        return divided_subjects(layout, [*splits, *(["test"] if layout.has("test") else [])])
    return divided_subjects(layout, splits)


def _rates(parts: Assembly) -> list[str]:
    return described_rates(parts.network, parts.run.training.optimizer.rates, parts.network.activation_layers())


def _counted(train: Sequence[Case], val: Sequence[Case], word: str) -> str:
    """Count the images of both splits; crops are counted as crops, with the number of their samples."""
    wholes = [len({case.part_of or case.id for case in cases}) for cases in (train, val)]
    counts = [len(train), len(val)]
    if counts == wholes:
        unit = f"{word}s" if any(case.part_of for case in train) else "images"
        return f"{counts[0]} training and {counts[1]} validation {unit}"
    crops = [f"crops of {whole} {word}{'s' * (whole != 1)}" for whole in wholes]
    return f"{counts[0]} training {crops[0]}, {counts[1]} validation {crops[1]}"


def _fingerprint(parts: Assembly, cases: Sequence[Case]) -> dict[str, Any]:
    return fingerprint(cases, {case.id: parts.layout.stratum(case) for case in cases})


def _keep_split(parts: Assembly, listener: Listener, *, write: bool) -> None:
    """Write a new split to the split file, if the format has one; warn about cases that the file leaves out."""
    division = parts.layout.division()
    if division is None:
        return
    for finding in split_findings(parts.layout):
        listener.warn(f"{finding.message} ({finding.hint})")
    if write and parts.layout.keeps_split and division.settings.draws and not division.kept:
        try:
            division.write()
        except DataError as error:  # the seed draws the same split in the next run
            listener.warn(f"{error.message}; `dataset.split.split_file` keeps the split elsewhere")
        else:
            listener.notice(f"split written to {shown(division.file)}")


def _described(parts: Assembly) -> str:
    count = sum(parameter.numel() for parameter in parts.network.parameters())
    chosen = ", chosen by `device: auto`" if parts.run.device == "auto" else ""
    where = f"on {described_device(parts.device)}{chosen}"
    return f"model {parts.run.model.type} with {count:,} parameters {where}, {parts.precision.name}"
