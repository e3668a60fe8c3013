"""Predictor of a checkpoint."""

from pathlib import Path

import torch

from segcli.config.load import run_from_values
from segcli.core.registry import DATASETS, TASKS
from segcli.core.types import Array
from segcli.datasets import Layout
from segcli.engine.assembly import Assembly, assemble, load_weights
from segcli.engine.checkpoint import read_checkpoint, read_header
from segcli.engine.predictor import Predictor, Wanted
from segcli.engine.runtime import out_of_memory
from segcli.engine.sliding import Forward
from segcli.tasks import Task

__all__ = ["layout_of", "of_checkpoint", "opened", "task_of"]


def layout_of(path: Path) -> type[Layout]:
    """Format of the data set that a checkpoint was trained on; reads its header alone.

    Raises:
        SegcliError: It cannot be read.
    """
    run = run_from_values(read_header(path)["config"], source=str(path))
    layout: type[Layout] = DATASETS.load(run.dataset.format)
    return layout


def task_of(path: Path) -> type[Task]:
    """Task that a checkpoint was trained for; reads its header alone.

    Raises:
        SegcliError: It cannot be read.
    """
    run = run_from_values(read_header(path)["config"], source=str(path))
    task: type[Task] = TASKS.load(run.task_name)
    return task


def opened(path: Path, wanted: Wanted) -> Assembly:
    """Parts of the run of a checkpoint, with its weights, on the run's device.

    Raises:
        SegcliError: The checkpoint or the device fail.
    """
    checkpoint = read_checkpoint(path)
    run = run_from_values(checkpoint.header["config"], source=str(path))
    parts = assemble(run.predicting(threshold=wanted.threshold, tta=wanted.tta, tile=wanted.tile))
    load_weights(parts.network, checkpoint, path)
    parts.network.eval()
    return parts


def of_checkpoint(path: Path, wanted: Wanted) -> Predictor:
    """Predictor of a checkpoint, on the run's device and in its precision.

    Raises:
        SegcliError: The checkpoint or the device fail.
    """
    parts = opened(path, wanted)
    run = parts.run
    return Predictor(
        name=run.name,
        source=path,
        layout=parts.layout,
        pipeline=parts.pipeline,
        task=parts.task,
        inference=run.inference,
        forward=_forward(parts),
        batch_size=1 if parts.device.type == "cpu" else run.data.batch_size,
    )


def _forward(parts: Assembly) -> Forward:
    def forward(images: Array) -> dict[str, Array]:
        try:
            with torch.inference_mode(), parts.precision.autocast():
                image = torch.from_numpy(images).to(parts.device, memory_format=parts.memory_format)
                outputs = parts.network(image)
            return {
                name: values.float().cpu().numpy()
                for name, values in outputs.items()
                if name == "mask" or values.ndim < image.ndim
            }
        except (RuntimeError, MemoryError) as error:
            raise out_of_memory(error) or error from error

    return forward
