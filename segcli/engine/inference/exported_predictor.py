"""Predictors made from exported ONNX files. This module and its imports do not load PyTorch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segcli.config.schema import DatasetSection, Inference
from segcli.core.errors import CheckpointError, ConfigError, DataError
from segcli.core.registry import TASKS
from segcli.core.types import Array
from segcli.data.pipeline import Pipeline
from segcli.data.settings import DataSettings
from segcli.datasets import Layout
from segcli.engine.export.description import Description, told_of_file
from segcli.engine.export.portable import open_portable
from segcli.engine.inference.predictor import Candidate, Overrides, Predictor
from segcli.tasks import Task

__all__ = ["exported", "of_exported"]


def exported(path: Path, overrides: Overrides) -> Candidate:
    """Take an ONNX file as a candidate.

    Raises:
        SegcliError: The same errors as `of_exported`.
    """
    predictor = of_exported(path, overrides)
    layout = predictor.layout
    extensions: Sequence[str] = getattr(layout.config, "extensions", ())
    return Candidate(path, type(layout), type(predictor.task), lambda: predictor, extensions)


def of_exported(path: Path, overrides: Overrides, *, threads: int = 0) -> Predictor:
    """Open an ONNX file as a predictor, which runs without PyTorch.

    Args:
        path: The file.
        overrides: Settings that replace those of the file; test-time augmentation is off unless set.
        threads: Threads of onnxruntime; 0 takes OMP_NUM_THREADS, or the default of onnxruntime.

    Raises:
        ConfigError: The file is a PyTorch file, or a package is missing.
        CheckpointError: The file cannot be opened.
    """
    if path.suffix.lower() in (".torchscript", ".pt2"):
        raise ConfigError(
            f"`{path}` can contain program code, which segcli does not run",
            hint="use `segcli export --format onnx` to write a file for prediction",
        )
    network = open_portable(path, threads=threads)
    described = network.description
    with told_of_file(path, "dataset"):
        dataset = DatasetSection.model_validate(described.dataset)
        layout: Layout = dataset.build()
    task: Task = TASKS.load(described.task)(dataset.spec, described.class_offsets, described.calibrated)
    with told_of_file(path, "preprocessing"):
        settings = DataSettings.model_validate(described.preprocessing)
    keys = ("threshold", "tile", "overlap", "tta", "scales", "postprocess", "fov")
    with told_of_file(path):
        inference = Inference.model_validate({key: getattr(described, key) for key in keys})
    inference = inference.changed(described.ndim, overrides.threshold, overrides.tta, overrides.tile)
    _refuse_misfit(path, described, layout, task)

    def forward(images: Array) -> dict[str, Array]:
        if described.baked:
            images = np.ascontiguousarray(np.moveaxis(images, 1, -1))
            if images.dtype.name != described.input_dtype:
                raise DataError(
                    f"`{path}` takes {described.input_dtype} images, but this image has {images.dtype}",
                    hint="convert the image, or export without `--bake`",
                )
        found = network(images)
        channels = found[task.output].shape[1] if task.output in found else 0
        if channels != len(task.classes):
            raise _misfit(path, f"its network gives {channels} channels of `{task.output}` for {len(task.classes)}")
        return {each.name: found[each.name] for each in task.predicting if each.name in found}

    return Predictor(
        name=described.run,
        source=path,
        layout=layout,
        pipeline=Pipeline(settings, dataset.spec, stride=described.multiple),
        task=task,
        inference=inference,
        forward=forward,
        takes_stored=described.baked,
    )


def _misfit(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"`{path}` has a wrong description: {what}",
        hint="use a file that `segcli export` of this version wrote",
    )


def _refuse_misfit(path: Path, described: Description, layout: Layout, task: Task) -> None:
    """Refuse a file whose description contradicts its data set or its task.

    Raises:
        CheckpointError: The description contradicts them.
    """
    if layout.ndim != described.ndim:
        raise _misfit(path, f"`ndim` is {described.ndim}, but `dataset.format` has {layout.ndim} axes")
    if [entry["name"] for entry in described.classes] != list(task.classes):
        raise _misfit(path, "`classes` are not those of `dataset`")
    if task.output not in described.outputs:
        raise _misfit(path, f"`outputs` lack `{task.output}`")
