"""Opens a training: data checked, loaders ready, trainer made."""

from collections.abc import Sequence

from segcli.config.schema import Run
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import shown
from segcli.data.checks import raise_on_error
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly, assemble
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import described_device, overlooked_gpu
from segcli.engine.stopping import StopSignal
from segcli.engine.training.activations import observed_layers
from segcli.engine.training.balance import fingerprint, with_class_weights
from segcli.engine.training.trainer import Trainer

__all__ = ["open_session"]


def open_session(
    run: Run,
    folder: RunFolder,
    listener: Listener,
    stop: StopSignal,
    *,
    resumed: bool = False,
    rehearsal: bool = False,
) -> Trainer:
    """Check the data, make all parts, and give the trainer, before its first step.

    Args:
        run: The run.
        folder: Where it is written.
        listener: Hears what happens.
        stop: Asks for a stop at the next safe point.
        resumed: The weights will come from a checkpoint: pretrained ones are not looked for.
        rehearsal: Write nothing: neither a split that was drawn nor what was counted in the training masks.

    Raises:
        SegcliError: Anything that would spoil the training and shows before it starts.
    """
    run = with_class_weights(run, listener, keep=not rehearsal)
    parts = assemble(run, pretrained=not resumed)
    listener.notice(_described(parts))
    for note in parts.notes:
        listener.notice(note)
    for told in (parts.precision.refused, overlooked_gpu() if run.device == "auto" else None):
        if told is not None:
            listener.notice(told)
    # of a resumed run, a checkpoint would say where
    _keep_split(parts, listener, write=not (rehearsal or resumed))
    train_cases = _checked(parts, "train", listener)
    val_cases = _checked(parts, "val", listener) if parts.layout.has("val") else []
    if not val_cases:
        listener.notice("no validation images: no validation, no best checkpoint, no pictures, no early stopping")
    _check_one_size(parts, train_cases)
    listener.notice(f"data: {len(train_cases)} training and {len(val_cases)} validation images")
    _ = parts.pipeline  # a mistake in the augmentation shows here, before files are decoded
    if run.logging.log_activations:
        observed_layers(run, parts.network)  # and an unknown layer here
    source = parts.source([*train_cases, *val_cases], listener)
    return Trainer(
        parts,
        folder,
        parts.train_loader(train_cases, source),
        parts.evaluation_loader(val_cases, source) if val_cases else None,
        dataset={"train": fingerprint(train_cases), "val": fingerprint(val_cases)},
        listener=listener,
        stop=stop,
    )


def _checked(parts: Assembly, split: str, listener: Listener) -> list[Case]:
    """Cases of a split after the checks that need no decoding."""
    cases = parts.layout.cases(split)
    for finding in raise_on_error(parts.layout.inspect(split)):
        if finding.severity == "warning":
            listener.warn(f"{finding.message} ({finding.hint})")
    return cases


def _keep_split(parts: Assembly, listener: Listener, *, write: bool) -> None:
    """Write the split file of a split that was drawn, where the format keeps one; tell what its file leaves out."""
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


def _check_one_size(parts: Assembly, cases: Sequence[Case]) -> None:
    """Images of a batch must have one size; told before the first epoch and not somewhere in it."""
    data = parts.run.data
    if data.batch_size == 1 or data.patch_size or parts.pipeline.image_size:
        return
    sizes: dict[tuple[int, ...], Case] = {}
    for case in cases:
        sizes.setdefault(parts.pipeline.network_size(parts.layout.size(case)), case)
    if len(sizes) > 1:
        told = " and ".join(f"`{case.place}` {'x'.join(map(str, size))}" for size, case in list(sizes.items())[:2])
        raise ConfigError(
            f"training images differ in size ({told}) and cannot share a batch of {data.batch_size}",
            hint="set `data.image_size` to resize them, `data.patch_size` to train on crops, or `data.batch_size=1`",
        )


def _described(parts: Assembly) -> str:
    count = sum(parameter.numel() for parameter in parts.network.parameters())
    chosen = ", chosen by `device: auto`" if parts.run.device == "auto" else ""
    where = f"on {described_device(parts.device)}{chosen}"
    return f"model {parts.run.model.type} with {count:,} parameters {where}, {parts.precision.name}"
