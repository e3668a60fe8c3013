"""The part of `segcli predict` that is about classes of whole images: a table with probabilities."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segcli.commands.predict_images import PredictOptions
from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.samples import Case
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Overrides, Predictor
from segcli.engine.stopping import StopSignal
from segcli.report.classes import Row, write_answers
from segcli.report.results import Predicted

__all__ = ["classify"]

TABLE = "predictions.csv"


def classify(
    inputs: Sequence[str],
    opened: Sequence[Callable[[], Predictor]],
    overrides: Overrides,
    options: PredictOptions,
    *,
    listener: Listener,
) -> Predicted:
    """Find the class of every sample that the inputs name, and write the table.

    The answer is the mean of the probabilities of its crops, and of several networks their mean, each of which reads
    samples in its own way. A sample that cannot be read is noted and passed over.

    Args:
        inputs: Folders of samples, folders of one, and files.
        opened: Open the networks.
        overrides: Instead of what their runs say.
        options: What is written.
        listener: Hears what happens.

    Raises:
        DataError: The inputs name no sample.
        ConfigError: The table would overwrite a file, the networks tell other classes apart, or an option is for
            masks.
        SegcliError: A network or the device fail.
    """
    _refuse(overrides, options)
    members = [each() for each in opened]
    first, name = members[0], "+".join(dict.fromkeys(member.name for member in members))
    for member in members[1:]:
        if member.task.classes != first.task.classes:
            raise ConfigError(
                f"`{first.source}` and `{member.source}` differ in the classes ({', '.join(first.task.classes)} and "
                f"{', '.join(member.task.classes)})",
                hint="runs that are averaged tell the same classes apart",
            )
    done = Predicted(name, first.source, options.folder(name))
    target = done.folder / TABLE
    if target.exists() and not options.overwrite:
        raise ConfigError(
            f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
        )
    found = [_samples(member, inputs) for member in members]
    rows = []
    listener.stage("prediction", len(found[0]))
    with StopSignal():
        for key, cases in found[0].items():
            try:
                each = [_found(member, samples, key) for member, samples in zip(members, found, strict=True)]
            except DataError as error:
                done.failed.append({"file": str(cases[0].image), "message": error.message})
                listener.warn(error.message)
            else:
                rows.append(Row(key[1], np.mean(each, axis=0), len(cases)))
                told = dict(zip(first.task.classes, map(float, rows[-1].probs), strict=True))
                found_class = first.task.classes[rows[-1].found]
                done.written.append({"image": str(cases[0].image), "class": found_class, "probabilities": told})
            listener.advance()
    if rows:
        write_answers(target, rows, first.task.classes, first.layout.whole or "image")
        done.tables.append(target)
    return done


Samples = dict[tuple[Path, str], list[Case]]
"""Crops of each sample, by its file or folder and its name."""


def _found(member: Predictor, samples: Samples, key: tuple[Path, str]) -> Array:
    """Probabilities `(K)` of one sample, the mean over its crops.

    Raises:
        DataError: It cannot be read, or is none to this network.
    """
    if key not in samples:
        raise DataError(f"`{member.source}` finds no sample `{key[1]}` in `{key[0]}`, and the first network does")
    probs: Array = np.mean([member.of_whole(member.layout.read_unlabelled(case)) for case in samples[key]], axis=0)
    return probs


def _refuse(overrides: Overrides, options: PredictOptions) -> None:
    """Name what classes of whole images do not have.

    Raises:
        ConfigError: It was asked for.
    """
    asked = {
        "--threshold": overrides.threshold is not None,
        "--tile": overrides.tile is not None,
        "--overlay": options.overlays,
        "--video": options.video is not None,
        "--uncertainty": options.uncertainty,
        "--skip-existing": options.skip_existing,
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise ConfigError(
                f"`{name}` is for masks, and this run finds one class for each image",
                hint=f"leave it out; `{TABLE}` has all probabilities",
            )


def _samples(parts: Predictor, inputs: Sequence[str]) -> Samples:
    """Samples that the inputs name.

    Raises:
        DataError: An input names none.
    """
    samples: Samples = {}
    for text in inputs:
        found = parts.layout.inputs(Path(text)) if Path(text).exists() else []
        if not found:
            raise DataError(
                f"no samples in `{text}`", hint="name a folder of samples, the folder of one, or a TIFF stack"
            )
        for case in found:
            samples.setdefault((case.image, case.part_of or case.id), []).append(case)
    return samples
