"""`segcli export`: write the network to a file, and compare the file with the original before it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from segcli.commands.chosen_split import refuse_without
from segcli.commands.evaluate import TESTS
from segcli.commands.locate import EXPORTS, Located
from segcli.commands.other_data import SCORES, results_name
from segcli.commands.places import run_of_checkpoint
from segcli.config.own_code import PREDICTING, CodePermit
from segcli.config.schema import MetricSection, Run
from segcli.core.errors import CheckpointError, ConfigError, DataError
from segcli.core.files import read_keys, replacing
from segcli.core.names import safe_name
from segcli.core.randomness import generator
from segcli.core.types import Array
from segcli.data.checks import raise_on_error
from segcli.data.samples import Sample, example_of, pad_end, padded_size
from segcli.datasets import SPLITS
from segcli.engine.assembly import Assembly, assemble, load_weights
from segcli.engine.assembly.components import make_metrics
from segcli.engine.checkpoint import Checkpoint, read_checkpoint
from segcli.engine.events import Listener
from segcli.engine.export.description import SCALES, Description, Difference
from segcli.engine.export.exporter import Exportable, ExportedNetwork, Normalization, describe, quantise, write_file
from segcli.engine.export.formats import FORMATS, Format
from segcli.engine.export.parity import Tried, compared, run_in_fresh_process
from segcli.engine.export.portable import open_portable
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.stopping import StopSignal
from segcli.report.model_card import Card, write_card
from segcli.report.results import Exported

__all__ = ["ExportOptions", "export"]

TOLERANCE = {"float32": 1e-4, "float16": 2e-2}
"""Largest accepted difference of an exported network, by precision."""
LEAST = {2: 32, 3: 16}
"""Smallest input in pixels along each axis, by number of axes."""
MOST = {2: 512, 3: 96}
"""Largest crop of a real image in pixels along each axis, by number of axes."""
SHARES = (0.5, 0.75, 1.0)
"""Sizes of the crops of a real image, as shares of the largest crop."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export."""

    format: Format = "onnx"
    out: Path | None = None
    """Folder of the file; None for `outputs/exports/<run>`, with the name of a checkpoint other than the best."""
    half: bool = False
    """Store numbers with 16 bits."""
    int8: bool = False
    """Store weights with 8 bits; ONNX only."""
    bake: bool = False
    """Include normalisation and activation in the file."""
    tolerance: float | None = None
    """Largest accepted difference; None for the value in `TOLERANCE`."""
    max_dice_loss: float = 0.02
    """Largest accepted loss of Dice on the validation images with `int8`."""
    overwrite: bool = False
    model_files: Sequence[Path] = ()
    """Python files of the user's own code that may run."""

    @property
    def precision(self) -> str:
        """Precision of the numbers in the file."""
        return "int8" if self.int8 else "float16" if self.half else "float32"

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            ConfigError: Two options exclude each other.
        """
        if self.int8 and self.half:
            raise ConfigError("`--half` and `--int8` exclude each other", hint="choose one of them")
        if self.int8 and self.format != "onnx":
            raise ConfigError(f"`--int8` needs `--format onnx`, got `--format {self.format}`")


def export(located: Located, options: ExportOptions, *, overrides: Sequence[str] = (), listener: Listener) -> Exported:
    """Export the best checkpoint of a run, or a checkpoint file, to a file that runs without segcli.

    The file is checked in a separate process before it gets its name. A file that differs therefore never exists.

    Raises:
        ConfigError: Options exclude each other, a package is missing, or the file exists already.
        CheckpointError: The exported network differs from the original by more than the tolerance.
        SegcliError: The checkpoint or the data fail.
    """
    options.check()
    path = located.for_prediction()
    checkpoint = read_checkpoint(path)
    permit = CodePermit(options.model_files, listener.notice, PREDICTING)
    run = _on_cpu(run_of_checkpoint(checkpoint, located, overrides, permit, listener))
    folder = options.out or EXPORTS / f"{run.name}{located.mark}"
    target = _target(folder, run, options)
    card = Card(folder / "README.md", overwrite=options.overwrite)
    card.check()
    parts = assemble(run)
    if options.int8 and not parts.task.has_pixels:
        raise ConfigError(
            f"`--int8` is judged by the Dice of masks, but `{run.name}` predicts one class for each image",
            hint="export with `--half`",
        )
    load_weights(parts.network, checkpoint, path)
    parts.network.eval()
    real = _real_image(parts, listener)
    baked = _baked_dtype(parts, real) if options.bake else None
    description = describe(
        parts, epoch=checkpoint.header["progress"]["epoch"], precision=options.precision, baked=baked
    )
    tried = _inputs(parts, real, baked)
    with StopSignal() as stop, replacing(target) as temporary:
        listener.notice(f"writing {target}")
        listener.stage("writing and comparing")
        rows = _write(temporary, parts, description, options, tried)
        dice = _dice(parts, temporary, listener) if options.int8 else None
        _refuse(rows, dice, options)
        size = temporary.stat().st_size
        stop.raise_if_asked()  # the exporter may have caught it
    done = Exported(
        run=run.name,
        checkpoint=path,
        file=target,
        card=card.path,
        format=options.format,
        precision=options.precision,
        baked=baked,
        size_mib=size / 2**20,
        tolerance=None if options.int8 else _tolerance(options),
        differences=rows,
        dice=dice,
        example=_example(parts),
    )
    write_card(card, done, description, _facts(run, located, checkpoint))
    return done


def _on_cpu(run: Run) -> Run:
    """Move the run to the CPU, where every format can be written and compared."""
    training = run.training.model_copy(update={"channels_last": False, "amp": "off", "compile": False})
    return run.model_copy(update={"device": "cpu", "training": training})


def _target(folder: Path, run: Run, options: ExportOptions) -> Path:
    ending = next(suffix for suffix, kind in FORMATS.items() if kind == options.format)
    words = [*(["baked"] if options.bake else []), *([] if options.precision == "float32" else [options.precision])]
    target = folder / safe_name(f"{'_'.join([run.name, *words])}{ending}")
    if target.exists() and not options.overwrite:
        raise ConfigError(
            f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
        )
    return target


# ---- inputs to compare on


def _real_image(parts: Assembly, listener: Listener) -> tuple[str, Sample] | None:
    """Read an image of the data set, from the validation split if there is one; None if its files are missing."""
    try:
        case = parts.layout.cases(_usual_split(parts))[0]
        return case.image.name, parts.pipeline.resized(parts.layout.read(case))
    except DataError as error:
        listener.warn(f"compared on random inputs only: {error.message}")
        return None


def _usual_split(parts: Assembly) -> str:
    return next(name for name in ("val", "test", "train") if parts.layout.has(name))


def _example(parts: Assembly) -> Path | None:
    """Choose an image to predict; None if the files of the data set are missing."""
    try:
        return example_of(parts.layout.cases(_usual_split(parts)))
    except DataError:
        return None


def _baked_dtype(parts: Assembly, real: tuple[str, Sample] | None) -> str:
    """Find the data type of the images that the file will take."""
    preprocessing = parts.run.data.preprocessing
    if preprocessing.by_image:
        raise ConfigError(
            f"`--bake` cannot include `data.preprocessing.normalize: {preprocessing.normalize}`, which needs the "
            "whole image before it is padded or cut into tiles",
            hint="export without `--bake`",
        )
    if real is None:
        raise DataError(
            "`--bake` needs an image of the data set, to find the data type of its pixels",
            hint="set the folder of the data set with `dataset.paths.root=FOLDER`",
        )
    dtype = real[1].image.dtype.name
    if dtype not in SCALES:
        raise ConfigError(
            f"`--bake` takes pixels of {', '.join(SCALES)}, but `{real[0]}` has {dtype}",
            hint="export without `--bake`, or convert the images",
        )
    return dtype


def _sizes(parts: Assembly) -> list[tuple[int, ...]]:
    """Choose three sizes for tests; a network with a fixed size gets only this size.

    The axes of the second and of the third size all differ.
    """
    if parts.network.needs_size and parts.network.io.size is not None:
        return [parts.network.io.size] * 3
    multiple, ndim = parts.pipeline.multiple, parts.layout.ndim
    unit = max(2, -(-LEAST[ndim] // multiple)) * multiple
    return [
        (unit,) * ndim,
        tuple(unit + multiple * axis for axis in range(ndim)),
        tuple(unit + multiple * (ndim - axis) for axis in range(ndim)),
    ]


def _inputs(parts: Assembly, real: tuple[str, Sample] | None, baked: str | None) -> list[Tried]:
    """Make random and real inputs, three sizes each, in the format of the file."""
    channels, rng = parts.run.dataset.num_channels, generator(parts.run.seed, "export")
    tried = []
    for count, size in enumerate(_sizes(parts), start=1):
        if baked is None:
            image = rng.standard_normal((count, channels, *size), dtype=np.float32)
        elif baked == "float32":
            image = rng.random((count, *size, channels), dtype=np.float32)
        else:
            image = rng.integers(0, np.iinfo(baked).max + 1, (count, *size, channels)).astype(baked)
        tried.append(Tried("random", image))
    if real is not None:
        name, sample = real
        tried += [Tried(name, _cut(parts, sample.image, share, baked)) for share in SHARES]
    return tried


def _cut(parts: Assembly, image: Array, share: float, baked: str | None) -> Array:
    """Cut a share of the image, or of the largest crop, from its middle, in the format of the file."""
    have = image.shape[:-1]
    sizes = [max(int(min(length, MOST[len(have)]) * share), 1) for length in have]
    if parts.network.needs_size:
        sizes = list(have)
    starts = [(length - size) // 2 for length, size in zip(have, sizes, strict=True)]
    piece = image[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))]
    padded = padded_size(piece.shape[:-1], parts.pipeline.multiple)
    if baked is not None:
        return np.array(pad_end(piece, padded, mirror=True)[None])
    ready = pad_end(parts.pipeline.normalised(piece), padded, mirror=True)
    return np.ascontiguousarray(np.moveaxis(ready, -1, 0)[None])


# ---- writing and comparing


def _write(
    path: Path, parts: Assembly, description: Description, options: ExportOptions, tried: list[Tried]
) -> list[Difference]:
    """Write the file and compare it."""
    baked = Normalization.of(parts, description.input_dtype) if description.baked else None
    original = Exportable(parts.network, parts.task, baked=baked)
    written = Exportable(parts.network, parts.task, baked=baked, half=True) if options.half else original
    example = tried[1].image  # two images of unequal sides, so that the exporter takes no size for a constant
    if options.int8:
        exact = path.with_name(f"{path.name}.exact")
        try:
            write_file(exact, "onnx", written, description.model_copy(update={"precision": "float32"}), example)
            quantise(exact, path, description)
        finally:
            exact.unlink(missing_ok=True)
    else:
        write_file(path, options.format, written, description, example)
    with torch.inference_mode():
        expected = [
            {name: values.numpy() for name, values in original(torch.from_numpy(entry.image)).items()}
            for entry in tried
        ]
    found = run_in_fresh_process(path, options.format, tried)

    def probabilities(logits: Array) -> Array:
        return parts.task.probabilities(torch.from_numpy(logits)).numpy()

    return compared(tried, expected, found, probabilities, parts.task.output)


def _tolerance(options: ExportOptions) -> float:
    return TOLERANCE[options.precision] if options.tolerance is None else options.tolerance


def _refuse(rows: list[Difference], dice: dict[str, float] | None, options: ExportOptions) -> None:
    """Refuse an exported file that differs from the original.

    Raises:
        CheckpointError: The outputs differ by more than the tolerance, or Dice falls too much.
    """
    if dice is not None:
        lost = dice["checkpoint"] - dice["exported"]
        if not lost <= options.max_dice_loss:
            raise CheckpointError(
                f"with `--int8` Dice on the validation images falls from {dice['checkpoint']:.4f} to "
                f"{dice['exported']:.4f}, by more than {options.max_dice_loss:g}; the file was removed",
                hint="export with `--half`, or allow a larger loss with `--max-dice-loss`",
            )
        return
    tolerance = _tolerance(options)
    for row in rows:
        if row.exceeds(tolerance):
            raise CheckpointError(
                f"the exported network differs from the original on `{row.input}` of shape "
                f"{'x'.join(map(str, row.shape))}: raw outputs up to {row.logits:.2g}, probabilities up to "
                f"{row.probabilities:.2g}, tolerance {tolerance:g}; the file was removed",
                hint="try another `--format`, or allow a larger difference with `--tolerance`",
            )


def _dice(parts: Assembly, path: Path, listener: Listener) -> dict[str, float]:
    """Compute Dice of the checkpoint and of the exported file on the validation images.

    Raises:
        ConfigError: There are no validation images.
        DataError: An image cannot be read.
    """
    refuse_without(parts.layout, "val", "validation split, on which `--int8` is judged", "export with `--half`")
    training = parts.run.training.model_copy(update={"metrics": [MetricSection(type="dice")]})
    alone = replace(parts, metrics=make_metrics(parts.run.model_copy(update={"training": training})))
    cases = alone.layout.cases("val")
    raise_on_error(alone.layout.inspect("val"))
    networks: dict[str, nn.Module] = {
        "checkpoint": alone.network,
        "exported": ExportedNetwork(open_portable(path, "onnx")),
    }
    dice = {}
    for name, network in networks.items():
        listener.stage(f"Dice of the {name}", len(cases))
        loader = alone.evaluation_loader(cases, alone.source(cases, listener))
        try:
            scored = evaluate(alone, network, loader, after_batch=listener.advance)
        except (RuntimeError, MemoryError) as error:
            raise loader.explained(error) or error from error
        finally:
            loader.close()
        dice[name] = scored.tally.averages()["dice"]
    return dice


# ---- for the model card


def _facts(run: Run, located: Located, checkpoint: Checkpoint) -> dict[str, Any]:
    """Collect config, data set and scores for the model card."""
    scores, path = {}, located.for_prediction()
    for split in SPLITS:
        table = TESTS / results_name(run.name, split, mark=located.mark) / SCORES
        values = read_keys(table)
        same = values.get("epoch") == checkpoint.header["progress"]["epoch"]
        if same and Path(str(values.get("checkpoint", ""))).absolute() == path.absolute():
            scores[split] = values
    return {"config": run.resolved(), "dataset": checkpoint.header["dataset"], "scores": scores}
