"""The part of `segcli predict` that is about classes of whole images: a table with probabilities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from segcli.commands.predict import PREDICTIONS, PredictOptions
from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly
from segcli.engine.checkpoint_predictor import opened
from segcli.engine.events import Listener
from segcli.engine.inference import Inferer
from segcli.engine.predictor import Wanted
from segcli.engine.runtime import out_of_memory
from segcli.engine.stopping import StopSignal
from segcli.report.classes import Row, write_answers
from segcli.report.results import Predicted

__all__ = ["classify"]

TABLE = "predictions.csv"


def classify(
    inputs: Sequence[str], checkpoints: Sequence[Path], wanted: Wanted, options: PredictOptions, *, listener: Listener
) -> Predicted:
    """Find the class of every sample that the inputs name, and write the table.

    The answer is the mean of the probabilities of its crops, and of several runs their mean. A sample that cannot be
    read is noted and passed over.

    Args:
        inputs: Folders of samples, folders of one, and files.
        checkpoints: Those that predict.
        wanted: Instead of what their runs say.
        options: What is written.
        listener: Hears what happens.

    Raises:
        DataError: The inputs name no sample.
        ConfigError: The table would overwrite a file, the runs tell other classes apart, or an option is for masks.
        SegcliError: A checkpoint or the device fail.
    """
    _refuse(wanted, options)
    members = [opened(path, wanted) for path in checkpoints]
    parts, name = members[0], "+".join(dict.fromkeys(member.run.name for member in members))
    for member, path in zip(members, checkpoints, strict=True):
        if member.task.classes != parts.task.classes:
            raise ConfigError(
                f"`{checkpoints[0]}` and `{path}` differ in the classes ({', '.join(parts.task.classes)} and "
                f"{', '.join(member.task.classes)})",
                hint="runs that are averaged tell the same classes apart",
            )
    done = Predicted(name, checkpoints[0], options.out or PREDICTIONS / name)
    target = done.folder / TABLE
    if target.exists() and not options.overwrite:
        raise ConfigError(
            f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
        )
    found = [_samples(member, inputs) for member in members]
    inferers = [member.inferer() for member in members]
    rows = []
    listener.stage("prediction", len(found[0]))
    with StopSignal():
        for key, cases in found[0].items():
            try:
                each = [
                    np.mean([_probabilities(member, inferer, case) for case in samples[key]], axis=0)
                    for member, inferer, samples in zip(members, inferers, found, strict=True)
                ]
            except DataError as error:
                done.failed.append({"file": str(cases[0].image), "message": error.message})
                listener.warn(error.message)
            else:
                rows.append(Row(key[1], np.mean(each, axis=0), len(cases)))
                told = dict(zip(parts.task.classes, map(float, rows[-1].probs), strict=True))
                found_class = parts.task.classes[rows[-1].found]
                done.written.append({"image": str(cases[0].image), "class": found_class, "probabilities": told})
            listener.advance()
    if rows:
        write_answers(target, rows, parts.task.classes, parts.layout.whole or "image")
        done.tables.append(target)
    return done


def _refuse(wanted: Wanted, options: PredictOptions) -> None:
    """Name what classes of whole images do not have.

    Raises:
        ConfigError: It was asked for.
    """
    asked = {
        "--threshold": wanted.threshold is not None,
        "--tile": wanted.tile is not None,
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


def _samples(parts: Assembly, inputs: Sequence[str]) -> dict[tuple[Path, str], list[Case]]:
    """Crops of each sample, by its file or folder and its name.

    Raises:
        DataError: An input names none.
    """
    samples: dict[tuple[Path, str], list[Case]] = {}
    for text in inputs:
        found = parts.layout.inputs(Path(text)) if Path(text).exists() else []
        if not found:
            raise DataError(
                f"no samples in `{text}`", hint="name a folder of samples, the folder of one, or a TIFF stack"
            )
        for case in found:
            samples.setdefault((case.image, case.part_of or case.id), []).append(case)
    return samples


def _probabilities(parts: Assembly, inferer: Inferer, case: Case) -> Array:
    """Probabilities `(K)` of one crop."""
    sample = parts.layout.read_unlabelled(case)
    ready = parts.pipeline.for_prediction(parts.pipeline.resized(sample), sample.size)
    image = torch.from_numpy(ready.arrays["image"])[None].to(parts.device, memory_format=parts.memory_format)
    try:
        with torch.inference_mode():
            probs: Array = parts.task.probabilities(inferer.logits(image)[parts.task.output])[0].cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error) or error from error
    return probs
