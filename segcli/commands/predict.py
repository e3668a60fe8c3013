"""`segcli predict`: masks for files, folders and globs."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import ConfigError, DataError
from segcli.core.types import Array
from segcli.data.images import EXTENSIONS, natural_key, write_png
from segcli.data.painting import overlay
from segcli.engine.events import Listener
from segcli.engine.predictor import Predictor
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
    video: Path | None = None
    """Also write the overlays as a video, in the order of the images."""
    fps: float = 10.0
    """Frames per second of the video."""
    overwrite: bool = False


def predict(
    inputs: Sequence[str],
    opened: Callable[[], Predictor],
    options: PredictOptions,
    *,
    listener: Listener,
) -> Predicted:
    """Segment images of any size; each mask has the name and the size of its image.

    An image that cannot be read is noted and passed over. PyTorch is loaded by what opens the network, or not at all.

    Args:
        inputs: Files, folders and globs.
        opened: Opens the network, once the inputs are found.
        options: What is written.
        listener: Hears what happens.

    Raises:
        DataError: No input is an image.
        ConfigError: A result would overwrite a file.
        SegcliError: The network or the device fail.
    """
    files = _files(inputs)
    parts = opened()
    folder = options.out or PREDICTIONS / parts.name
    targets = _targets(files, folder, overwrite=options.overwrite)
    if options.video is not None and options.video.exists() and not options.overwrite:
        raise ConfigError(f"`{options.video}` exists", hint="replace it with `--overwrite`, or give another name")
    done = Predicted(parts.name, parts.source, folder)
    listener.stage("prediction", len(files))
    with StopSignal(), video_to(options.video, options.fps) as add_frame:
        for source, target in targets.items():
            try:
                sample = parts.layout.read_input(source)
                probs = parts.probabilities(sample)
            except DataError as error:
                done.failed.append({"file": str(source), "message": error.message})
                listener.warn(error.message)
            else:
                done.written.append(_write(parts, source, sample.image, target, probs, options, add_frame))
            listener.advance()
    return done


def _files(inputs: Sequence[str]) -> list[Path]:
    """Image files that the inputs name, each once."""
    endings = {f".{extension}" for extension in EXTENSIONS}
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            inside = [entry for entry in path.iterdir() if entry.suffix.lower() in endings and entry.name[0] != "."]
            if not inside:
                raise DataError(f"no images in `{path}`", hint=f"files end in {', '.join(EXTENSIONS)}")
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


def _write(
    parts: Predictor,
    source: Path,
    image: Array,
    target: Path,
    probs: Array,
    options: PredictOptions,
    add_frame: Callable[[Path, Array], None] | None,
) -> dict[str, Any]:
    task = parts.task
    answer = task.decide(probs, parts.inference.threshold)
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
