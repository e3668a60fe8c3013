"""Preparation of a training: check the data, make the loaders and the trainer."""

from collections.abc import Sequence
from typing import Any

from segcli.config.agreement import doubts, without_effect
from segcli.config.schema import Run
from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.data.checks import Finding, raise_on_error
from segcli.data.fingerprint import fingerprint
from segcli.data.samples import Case
from segcli.data.sources import chunks_left_out
from segcli.datasets import scale_mistake
from segcli.engine.assembly import Assembly, assemble
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import described_device, overlooked_gpu
from segcli.engine.stopping import StopSignal
from segcli.engine.training.activations import observed_layers
from segcli.engine.training.balance import with_class_weights
from segcli.engine.training.batches import check_batches
from segcli.engine.training.trainer import Trainer

__all__ = ["checked_cases", "open_session"]


def open_session(
    run: Run,
    folder: RunFolder,
    listener: Listener,
    stop: StopSignal,
    *,
    resumed: bool = False,
    rehearsal: bool = False,
) -> Trainer:
    """Check the data, make all parts, and return the trainer before its first step.

    Args:
        run: The run.
        folder: Run folder for the output.
        listener: Receives notices and warnings.
        stop: Signal that asks for a stop at the next safe point.
        resumed: The weights will come from a checkpoint, so pretrained weights are not loaded.
        rehearsal: Write no files: neither the split nor the pixel counts of the training masks.

    Raises:
        SegcliError: A problem that can be found before the training starts.
    """
    for message in doubts(run):
        listener.warn(message)
    for message in without_effect(run):
        listener.notice(message)
    run = with_class_weights(run, listener, keep=not rehearsal)
    parts = assemble(run, pretrained=not resumed)
    listener.notice(_described(parts))
    for note in parts.notes:
        listener.notice(note)
    for reason in (parts.precision.refused, overlooked_gpu() if run.device == "auto" else None):
        if reason is not None:
            listener.notice(reason)
    if parts.precision.slow is not None:
        listener.warn(parts.precision.slow)
    # of a resumed run, a checkpoint would say where
    _keep_split(parts, listener, write=not (rehearsal or resumed))
    cases = checked_cases(parts, ["train", *(["val"] if parts.layout.has("val") else [])], listener)
    train_cases, val_cases = cases["train"], cases.get("val", [])
    if not val_cases:
        listener.notice("no validation images: no validation, no best checkpoint, no pictures, no early stopping")
    check_batches(run, parts.layout, train_cases)
    mistake = scale_mistake(parts.layout, train_cases) if run.data.preprocessing.normalize is True else None
    if mistake is not None:
        listener.warn("{} ({})".format(*mistake))
    listener.notice(f"data: {_counted(train_cases, val_cases, parts.layout.whole or 'image')}")
    _ = parts.pipeline  # an error in the augmentation shows here, before files are decoded
    if run.logging.log_activations:
        observed_layers(run, parts.network)  # an unknown layer shows here
    source = parts.source([*train_cases, *val_cases], listener)
    return Trainer(
        parts,
        folder,
        parts.train_loader(train_cases, source),
        parts.evaluation_loader(val_cases, source) if val_cases else None,
        dataset={"train": _fingerprint(parts, train_cases), "val": _fingerprint(parts, val_cases)},
        listener=listener,
        stop=stop,
    )


def checked_cases(parts: Assembly, splits: Sequence[str], listener: Listener) -> dict[str, list[Case]]:
    """List the cases of splits after the checks that need no decoding; warn of what may be read wrongly.

    Raises:
        DataError: A split has faults.
    """
    layout, cases = parts.layout, {}
    found: list[Finding] = []
    for split in splits:
        cases[split] = here = layout.cases(split)
        left_out = chunks_left_out(split, here, layout.ndim, layout.page)
        found += raise_on_error([*layout.inspect(split), *layout.foreign_links(here), *left_out])
    for finding in [*found, *layout.compared(splits)]:
        if finding.severity == "warning":
            listener.warn(f"{finding.message} ({finding.hint})")
    return cases


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
    if division.warning is not None:
        listener.warn("{} ({})".format(*division.warning))
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
