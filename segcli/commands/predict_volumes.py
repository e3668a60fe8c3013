"""The part of `segcli predict` that is about volumes: each answer in the format and geometry of its input."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segcli.commands.predict import PREDICTIONS, PredictOptions, files_of
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import write_text
from segcli.core.types import Array
from segcli.data.samples import Case, Sample
from segcli.engine.assembly import Assembly
from segcli.engine.checkpoint_predictor import layout_of, opened
from segcli.engine.events import Listener
from segcli.engine.inference import Inferer
from segcli.engine.predictor import Wanted
from segcli.engine.runtime import out_of_memory
from segcli.engine.stopping import StopSignal
from segcli.report.results import Predicted

__all__ = ["predict_volumes"]

TABLE = "presence.csv"


def predict_volumes(
    inputs: Sequence[str], checkpoints: Sequence[Path], wanted: Wanted, options: PredictOptions, *, listener: Listener
) -> Predicted:
    """Segment every case of volume files, write masks and a table of what is present.

    A file or case that cannot be read is noted and passed over.

    Args:
        inputs: Files, folders and globs.
        checkpoints: The one that predicts, alone.
        wanted: Instead of what its run says.
        options: What is written.
        listener: Hears what happens.

    Raises:
        DataError: No input is a volume.
        ConfigError: A result would overwrite a file, or an option is for 2D images.
        SegcliError: The checkpoint or the device fail.
    """
    _refuse(checkpoints, options)
    path = checkpoints[0]
    files = files_of(inputs, layout_of(path).endings)
    parts = opened(path, wanted)
    done = Predicted(parts.run.name, path, options.out or PREDICTIONS / parts.run.name)
    _refuse_overwriting(files, done.folder, options)
    inferer = parts.inferer()
    cases: list[Case] = []
    for path in files:
        try:
            cases += parts.layout.inputs(path)
        except DataError as error:
            _note(done, path, error, listener)
    listener.stage("prediction", len(cases))
    with StopSignal():
        for case in cases:
            try:
                sample = parts.layout.read_unlabelled(case)
                probs, present = _predicted(parts, inferer, sample)
                _write(parts, case, probs, present, done, options)
            except DataError as error:
                _note(done, case.image, error, listener)
            listener.advance()
    parts.layout.close_answers(done.folder)
    if done.presence:
        write_text(done.folder / TABLE, _table(done.presence))
    return done


def _refuse(checkpoints: Sequence[Path], options: PredictOptions) -> None:
    """Name what volumes do not have.

    Raises:
        ConfigError: It was asked for.
    """
    asked = {
        "--overlay": options.overlays,
        "--video": options.video is not None,
        "--uncertainty": options.uncertainty,
        "--skip-existing": options.skip_existing,
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise ConfigError(f"`{name}` is for 2D images", hint="leave it out; `--probabilities` works for volumes")
    if len(checkpoints) > 1:
        raise ConfigError(
            f"volumes are predicted by one run, got {' and '.join(f'`{path}`' for path in checkpoints)}",
            hint="several runs are averaged for 2D images only",
        )


def _note(done: Predicted, path: Path, error: DataError, listener: Listener) -> None:
    done.failed.append({"file": str(path), "message": error.message})
    listener.warn(error.message)


def _refuse_overwriting(files: Sequence[Path], folder: Path, options: PredictOptions) -> None:
    owners: dict[str, Path] = {}
    for path in files:
        target = folder / path.name
        if path.name in owners:
            raise ConfigError(
                f"`{owners[path.name]}` and `{path}` would both be written to `{target}`",
                hint="predict them in two calls, each with its own `--out`",
            )
        owners[path.name] = path
        if target.absolute() == path.absolute():
            raise ConfigError(f"the masks of `{path}` would replace it", hint="give another folder with `--out`")
        if target.exists() and not options.overwrite:
            raise ConfigError(
                f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
            )


def _predicted(parts: Assembly, inferer: Inferer, sample: Sample) -> tuple[Array, Array | None]:
    """Probabilities `(K, *S)` at the size of the file, and what the network judged present."""
    ready = parts.pipeline.for_prediction(parts.pipeline.resized(sample), sample.size)
    image = torch.from_numpy(ready.arrays["image"])[None].to(parts.device, memory_format=parts.memory_format)
    try:
        with torch.inference_mode():
            outputs = inferer.logits(image)
            presence = parts.task.presence(outputs)
            restored = ready.geometry.restore(outputs["mask"])
            probs: Array = parts.task.probabilities(restored, presence)[0].cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error) or error from error
    return probs, None if presence is None else presence[0].cpu().numpy()


def _write(
    parts: Assembly, case: Case, probs: Array, judged: Array | None, done: Predicted, options: PredictOptions
) -> None:
    answer = parts.task.decide(probs, parts.run.inference.threshold)
    written: dict[str, Any] = {"image": case.place, "mask": str(parts.layout.save_answer(done.folder, case, answer))}
    if options.probabilities:
        written["probabilities"] = str(parts.layout.save_probabilities(done.folder, case, probs))
    written["share"] = parts.task.shares(answer)
    done.written.append(written)
    if not parts.layout.overlaps:
        return
    spacing = parts.layout.input_spacing(case)
    size, unit = (1.0, "voxels") if spacing is None else (float(np.prod(spacing)), "mm³")
    voxels = answer.reshape(-1, answer.shape[-1]).sum(axis=0, dtype=np.int64)
    present = voxels > 0 if judged is None else judged
    done.presence.append(
        {
            "case": case.id,
            "file": str(case.image),
            "structures": {
                name: {"present": bool(there), "volume": float(count) * size, "unit": unit}
                for name, there, count in zip(parts.task.classes, present, voxels, strict=True)
            },
        }
    )


def _table(presence: list[dict[str, Any]]) -> str:
    """One line for each structure of each case."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "case", "structure", "present", "volume", "unit"])
    for entry in presence:
        for name, found in entry["structures"].items():
            volume = f"{found['volume']:.6g}"
            writer.writerow([entry["file"], entry["case"], name, int(found["present"]), volume, found["unit"]])
    return stream.getvalue()
