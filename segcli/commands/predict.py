"""`segcli predict`: masks for files, folders and globs."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segcli.commands.classify import classify
from segcli.commands.locate import Located
from segcli.commands.predict_volumes import Saving, predict_volumes
from segcli.config.load import run_from_values
from segcli.config.schema import Run
from segcli.core.errors import ConfigError, DataError
from segcli.core.registry import DATASETS, TASKS
from segcli.core.types import Array
from segcli.data.images import natural_key, write_png
from segcli.data.painting import overlay
from segcli.data.samples import Sample
from segcli.engine.assembly import Assembly, assemble, load_weights
from segcli.engine.checkpoint import Checkpoint, read_checkpoint
from segcli.engine.events import Listener
from segcli.engine.inference import Inferer
from segcli.engine.runtime import out_of_memory
from segcli.engine.stopping import StopSignal
from segcli.report.results import Predicted
from segcli.report.video import video_to

__all__ = ["PredictOptions", "predict"]

PREDICTIONS = Path("outputs") / "predictions"


@dataclass(frozen=True)
class PredictOptions:
    """What is written, and how."""

    out: Path | None = None
    """Folder of the results; `outputs/predictions/<run>` when left out."""
    overlays: bool = False
    """Also write the image with the mask's outline on it."""
    probabilities: bool = False
    """Also write the probability as a 16-bit image."""
    threshold: float | None = None
    tile: int | None = None
    tta: bool | None = None
    video: Path | None = None
    """Also write the overlays as a video, in the order of the images."""
    fps: float = 10.0
    """Frames per second of the video."""
    overwrite: bool = False

    @property
    def saving(self) -> "Saving":
        """What volumes have of it."""
        for name, asked in (("--overlay", self.overlays), ("--video", self.video is not None)):
            if asked:
                raise ConfigError(
                    f"`{name}` is for 2D images", hint="leave it out; `--probabilities` works for volumes"
                )
        return Saving(probabilities=self.probabilities, overwrite=self.overwrite)


def predict(
    inputs: Sequence[str],
    located: Located,
    options: PredictOptions,
    *,
    overrides: Sequence[str] = (),
    listener: Listener,
) -> Predicted:
    """Segment images of any size; each mask has the name and the size of its image.

    An image that cannot be read is noted and passed over.

    Raises:
        DataError: No input is an image.
        ConfigError: A result would overwrite a file.
        SegcliError: The checkpoint or the device fail.
    """
    path = located.for_prediction()
    checkpoint = read_checkpoint(path)
    run = run_from_values(checkpoint.header["config"], overrides, source=str(path))
    if not TASKS.load(run.task_name).has_pixels:
        answered = Predicted(run.name, path, options.out or PREDICTIONS / run.name)
        run = run.predicting(tta=options.tta)
        classify(inputs, partial(_opened, run, checkpoint, path), answered, listener, overwrite=options.overwrite)
        return answered
    files = _files(inputs, DATASETS.load(run.dataset.format).endings)
    run = run.predicting(threshold=options.threshold, tta=options.tta, tile=options.tile)
    folder = options.out or PREDICTIONS / run.name
    if DATASETS.load(run.dataset.format).ndim == 3:
        done = Predicted(run.name, path, folder)
        open_parts = partial(_opened, run, checkpoint, path)
        predict_volumes(files, open_parts, done, options.saving, listener)
        return done
    targets = _targets(files, folder, overwrite=options.overwrite)
    if options.video is not None and options.video.exists() and not options.overwrite:
        raise ConfigError(f"`{options.video}` exists", hint="replace it with `--overwrite`, or give another name")
    parts = _opened(run, checkpoint, path)
    inferer = parts.inferer()
    done = Predicted(run.name, path, folder)
    listener.stage("prediction", len(files))
    with StopSignal(), video_to(options.video, options.fps) as add_frame:
        for source, target in targets.items():
            try:
                sample = parts.layout.read_input(source)
                probs = _probabilities(parts, inferer, sample)
            except DataError as error:
                done.failed.append({"file": str(source), "message": error.message})
                listener.warn(error.message)
            else:
                done.written.append(_write(parts, source, sample.image, target, probs, options, add_frame))
            listener.advance()
    return done


def _opened(run: Run, checkpoint: Checkpoint, path: Path) -> Assembly:
    """Parts of a run with the weights of a checkpoint."""
    parts = assemble(run)
    load_weights(parts.network, checkpoint, path)
    parts.network.eval()
    return parts


def _files(inputs: Sequence[str], endings: Sequence[str]) -> list[Path]:
    """Image files that the inputs name, each once."""
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            inside = [
                entry
                for entry in path.iterdir()
                if entry.name.lower().endswith(tuple(endings)) and entry.name[0] != "."
            ]
            if not inside:
                raise DataError(f"no images in `{path}`", hint=f"files end in {', '.join(endings)}")
            found |= dict.fromkeys(sorted(inside, key=natural_key))
        elif path.exists():
            found[path] = None
        else:
            matches = sorted(map(Path, glob.glob(text, recursive=True)), key=natural_key)  # noqa: PTH207 - absolute too
            if not matches:
                raise DataError(f"no file, folder or match for `{text}`")
            found |= dict.fromkeys(match for match in matches if match.is_file())
    return list(found)


def _targets(files: list[Path], folder: Path, *, overwrite: bool) -> dict[Path, Path]:
    """Result of each image: its stem in the folder."""
    targets = {path: folder / f"{path.stem}.png" for path in files}
    owners: dict[Path, Path] = {}
    for source, target in targets.items():
        if target in owners:
            raise ConfigError(
                f"`{owners[target]}` and `{source}` would both be written to `{target}`",
                hint="predict them in two calls, each with its own `--out`",
            )
        owners[target] = source
        if target.absolute() == source.absolute():
            raise ConfigError(
                f"the mask of `{source}` would replace the image", hint="give another folder with `--out`"
            )
        if target.exists() and not overwrite:
            raise ConfigError(
                f"`{target}` exists", hint="replace it with `--overwrite`, or give another folder with `--out`"
            )
    return targets


def _probabilities(parts: Assembly, inferer: Inferer, sample: Sample) -> Array:
    """Probabilities `(K, *S)` at the size of the file."""
    stored = sample.size
    ready = parts.pipeline.for_prediction(parts.pipeline.resized(sample), stored)
    image = torch.from_numpy(ready.arrays["image"])[None].to(parts.device, memory_format=parts.memory_format)
    try:
        with torch.inference_mode():
            logits = ready.geometry.restore(inferer.logits(image)["mask"])
            probs: Array = parts.task.probabilities(logits)[0].cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error) or error from error
    return probs


def _write(
    parts: Assembly,
    source: Path,
    image: Array,
    target: Path,
    probs: Array,
    options: PredictOptions,
    add_frame: Callable[[Path, Array], None] | None,
) -> dict[str, Any]:
    task = parts.task
    answer = task.decide(probs, parts.run.inference.threshold)
    pictures = {"mask": parts.layout.as_stored(answer)}
    if task.target == "classes":
        # the mask has the coding of the data set's own; the other one stands beside it
        other = ("color", task.painted(answer)) if pictures["mask"].ndim == 2 else ("index", answer)
        pictures[other[0]] = other[1]
    if options.overlays or add_frame is not None:
        over = overlay(image, *task.tinted(answer))
        if options.overlays:
            pictures["overlay"] = over
        if add_frame is not None:
            add_frame(source, over)
    if options.probabilities:
        # of classes, the probability of the one that was found
        pictures["probability"] = np.rint(probs.max(axis=0) * 65535).astype(np.uint16)
    written: dict[str, Any] = {"image": str(source)}
    for kind, picture in pictures.items():
        path = target if kind == "mask" else target.with_name(f"{target.stem}_{kind}.png")
        write_png(path, picture)
        written[kind] = str(path)
    shares = task.shares(answer)
    return {**written, "share": shares if len(shares) > 1 else next(iter(shares.values()))}
