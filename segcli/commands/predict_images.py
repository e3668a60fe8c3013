"""The part of `segcli predict` that is about 2D images: masks for files, folders and globs."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segcli.core.errors import ConfigError, DataError
from segcli.core.files import remove_leftovers
from segcli.core.names import safe_name
from segcli.core.types import Array
from segcli.data.classes.painting import overlay
from segcli.data.images import natural_key
from segcli.data.samples import Sample
from segcli.datasets import Layout
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Prediction, Predictor
from segcli.engine.stopping import StopSignal
from segcli.files import Picture, create, is_picture_folder, open_picture
from segcli.files.png import PNG
from segcli.report.results import Predicted
from segcli.report.video import video_to

__all__ = ["Converted", "PredictOptions", "files_of", "predict_images", "read_ahead", "targets_of"]

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
    uncertainty: bool = False
    """Also write how uncertain each pixel is, as a 16-bit image."""
    video: Path | None = None
    """Also write the overlays as a video, in the order of the images."""
    fps: float = 10.0
    """Frames per second of the video."""
    overwrite: bool = False
    skip_existing: bool = False
    """Pass over images whose mask is there."""

    def folder(self, name: str) -> Path:
        """Give the folder of the results of a network, whose name a file may say."""
        return self.out or PREDICTIONS / safe_name(name)


def predict_images(
    inputs: Sequence[str],
    opened: Callable[[], Predictor],
    options: PredictOptions,
    *,
    endings: Sequence[str],
    listener: Listener,
) -> Predicted:
    """Segment 2D images of any size; each mask has the name and the size of its image.

    An image that cannot be read is noted and passed over. PyTorch is loaded by what opens the network, or not at all.

    Args:
        inputs: Files, folders and globs.
        opened: Opens the network, once the inputs are found.
        options: What is written.
        endings: What names end in that are taken from a folder.
        listener: Hears what happens.

    Raises:
        DataError: No input is an image.
        ConfigError: A result would overwrite a file.
        SegcliError: The network or the device fail.
    """
    files = files_of(inputs, endings, lambda path: is_picture_folder(path, 2))
    parts = opened()
    folder = options.folder(parts.name)
    if options.video is not None and options.video.exists() and not options.overwrite:
        raise ConfigError(f"`{options.video}` exists", hint="replace it with `--overwrite`, or give another name")
    names = {path: folder / safe_name(f"{path.stem}{'.tif' if _is_large(path, parts) else '.png'}") for path in files}
    targets = targets_of(names, options)
    done = Predicted(parts.name, parts.source, folder)
    if options.skip_existing:
        remove_leftovers(folder)
        done.skipped.extend(str(source) for source, target in targets.items() if target.exists())
        targets = {source: target for source, target in targets.items() if not target.exists()}
    listener.stage("prediction", len(targets))
    with (
        StopSignal(),
        video_to(options.video, options.fps) as add_frame,
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as writer,
    ):
        writing: Future[dict[str, Any]] | None = None
        try:
            for source, reading in read_ahead(reader, targets, lambda path: _read(parts, path)):
                target = targets[source]
                try:
                    image = reading.result()
                    if isinstance(image, Picture):
                        done.written.append(_write_large(parts, image, target, options, listener))
                        listener.advance()
                        continue
                    prediction = parts.predict(image)
                except DataError as error:
                    done.failed.append({"file": str(source), "message": error.message})
                    listener.warn(error.message)
                    listener.advance()
                    continue
                if writing is not None:  # one image waits at most, whatever is slower
                    done.written.append(writing.result())
                writing = writer.submit(_write, parts, source, image.image, target, prediction, options, add_frame)
                listener.advance()
        finally:
            if writing is not None:
                done.written.append(writing.result())
    return done


def _read(parts: Predictor, path: Path) -> Sample | Picture:
    picture = open_picture(path, 2)
    if parts.can_stream and picture.is_large:
        return picture
    with picture:
        return Sample(parts.layout.converted(picture.read(), path))


Job = TypeVar("Job")
Found = TypeVar("Found")


def read_ahead(
    pool: Executor, jobs: Iterable[Job], read: Callable[[Job], Found]
) -> Iterator[tuple[Job, "Future[Found]"]]:
    """Each job with what was read for it, while the next one is being read."""
    waiting: list[tuple[Job, Future[Found]]] = []
    for job in jobs:
        waiting.append((job, pool.submit(read, job)))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def files_of(inputs: Sequence[str], endings: Sequence[str], is_one: Callable[[Path], bool]) -> list[Path]:
    """Image files that the inputs name, each once.

    Args:
        inputs: Files, folders and globs.
        endings: What names end in that are taken from a folder.
        is_one: Whether a folder is one image, such as a Zarr array.

    Raises:
        DataError: An input is nothing, or a folder has no such file.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir() and not is_one(path):
            inside = [
                entry
                for entry in path.iterdir()
                if (entry.name.lower().endswith(tuple(endings)) or (entry.is_dir() and is_one(entry)))
                and entry.name[0] != "."
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
            found |= dict.fromkeys(match for match in matches if match.is_file() or is_one(match))
    return list(found)


def targets_of(names: dict[Path, Path], options: PredictOptions) -> dict[Path, Path]:
    """Result of each image, where nothing is in its way.

    Args:
        names: The same, unchecked.
        options: Whether results are replaced or passed over.

    Raises:
        ConfigError: A result would overwrite another, an image, or what is there.
    """
    owners: dict[Path, Path] = {}
    for source, target in names.items():
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
        if target.exists() and not (options.overwrite or options.skip_existing):
            raise ConfigError(
                f"`{target}` exists",
                hint="replace it with `--overwrite`, go on with `--skip-existing`, or give another folder with `--out`",
            )
    return names


def _is_large(path: Path, parts: Predictor) -> bool:
    """Whether the image is read in parts."""
    if not parts.can_stream:
        return False
    try:
        with open_picture(path, 2) as picture:
            return picture.is_large
    except DataError:  # told when its turn comes
        return False


def _write(
    parts: Predictor,
    source: Path,
    image: Array,
    target: Path,
    prediction: Prediction,
    options: PredictOptions,
    add_frame: Callable[[Path, Array], None] | None,
) -> dict[str, Any]:
    task = parts.task
    answer = task.decide(prediction.probs, parts.inference.threshold)
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
        pictures["probability"] = _in_16_bits(prediction.probs.max(axis=0))
    if options.uncertainty:
        pictures["uncertainty"] = _in_16_bits(prediction.uncertainty)
    written: dict[str, Any] = {"image": str(source)}
    for kind, picture in reversed(pictures.items()):  # the mask last: where it is, everything is
        path = target if kind == "mask" else target.with_name(f"{target.stem}_{kind}.png")
        PNG.write(path, picture)
        written[kind] = str(path)
    return {**written, "share": _told(task.shares(answer))}


def _in_16_bits(values: Array) -> Array:
    """Values from 0 to 1 as 0 to 65535."""
    scaled: Array = np.rint(values * 65535).astype(np.uint16)
    return scaled


def _told(shares: dict[str, float]) -> dict[str, float] | float:
    """Of one mask, its share alone."""
    return shares if len(shares) > 1 else next(iter(shares.values()))


@dataclass(frozen=True)
class Converted:
    """A large image as those of the data set."""

    image: Picture
    layout: Layout

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size."""
        return self.image.size

    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels of a window."""
        return self.layout.converted(self.image.read(window), self.image.path)


def _write_large(
    parts: Predictor, image: Picture, target: Path, options: PredictOptions, listener: Listener
) -> dict[str, Any]:
    """Predict and write an image band by band, as tiled TIFF."""
    if options.overlays or options.video is not None:
        listener.warn(f"`{image.path}` is too large for an overlay or a video: its mask alone is written")
    task = parts.task
    samples = parts.layout.as_stored(np.zeros((1, 1), np.uint8)).shape[2:]
    wanted = {"mask": True, "probability": options.probabilities, "uncertainty": options.uncertainty}
    paths = {
        kind: target if kind == "mask" else target.with_name(f"{target.stem}_{kind}.tif")
        for kind, asked in wanted.items()
        if asked
    }
    shares: dict[str, float] = {}
    try:
        with ExitStack() as stack:  # which closes the mask last: where it is, everything is
            writers = {
                kind: stack.enter_context(
                    create(path, image.size, np.uint8, channels=samples[0] if samples else 0)
                    if kind == "mask"
                    else create(path, image.size, np.uint16)
                )
                for kind, path in paths.items()
            }
            for rows, prediction in parts.bands(Converted(image, parts.layout), target.parent):
                answer = task.decide(prediction.probs, parts.inference.threshold)
                writers["mask"](parts.layout.as_stored(answer))
                if options.probabilities:
                    writers["probability"](_in_16_bits(prediction.probs.max(axis=0)))
                if options.uncertainty:
                    writers["uncertainty"](_in_16_bits(prediction.uncertainty))
                weight = (rows.stop - rows.start) / image.size[0]
                for name, share in task.shares(answer).items():
                    shares[name] = shares.get(name, 0.0) + weight * share
    finally:
        image.close()
    written = {kind: str(path) for kind, path in paths.items()}
    return {"image": str(image.path), **written, "share": _told(shares)}
