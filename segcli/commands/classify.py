"""The part of `segcli predict` that is about classes of whole images: a table with probabilities."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly
from segcli.engine.events import Listener
from segcli.engine.inference import Inferer
from segcli.engine.runtime import out_of_memory
from segcli.engine.stopping import StopSignal
from segcli.report.classes import Row, write_answers
from segcli.report.results import Predicted

__all__ = ["classify"]

TABLE = "predictions.csv"


def classify(
    inputs: Sequence[str], opened: Callable[[], Assembly], done: Predicted, listener: Listener, *, overwrite: bool
) -> None:
    """Find the class of every sample that the inputs name, the mean over its crops, and write the table.

    A sample that cannot be read is noted and passed over.

    Raises:
        DataError: The inputs name no sample.
        ConfigError: The table would overwrite a file.
        DeviceError: The device fails.
    """
    target = done.folder / TABLE
    if target.exists() and not overwrite:
        raise ConfigError(
            f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
        )
    parts = opened()
    samples: dict[tuple[Path, str], list[Case]] = {}
    for text in inputs:
        found = parts.layout.inputs(Path(text)) if Path(text).exists() else []
        if not found:
            raise DataError(
                f"no samples in `{text}`", hint="name a folder of samples, the folder of one, or a TIFF stack"
            )
        for case in found:
            samples.setdefault((case.image, case.part_of or case.id), []).append(case)
    inferer = parts.inferer()
    rows = []
    listener.stage("prediction", len(samples))
    with StopSignal():
        for (_, name), cases in samples.items():
            try:
                probs = np.mean([_probabilities(parts, inferer, case) for case in cases], axis=0)
            except DataError as error:
                done.failed.append({"file": str(cases[0].image), "message": error.message})
                listener.warn(error.message)
            else:
                rows.append(Row(name, probs, len(cases)))
                found_class = parts.task.classes[rows[-1].found]
                told = dict(zip(parts.task.classes, map(float, probs), strict=True))
                done.written.append({"image": str(cases[0].image), "class": found_class, "probabilities": told})
            listener.advance()
    if rows:
        write_answers(target, rows, parts.task.classes, parts.layout.whole or "image")
        done.tables.append(target)


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
