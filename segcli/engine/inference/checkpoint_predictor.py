"""Predictors made from checkpoints."""

from pathlib import Path

import torch

from segcli.config.load import run_from_values
from segcli.config.own_code import CodePermit
from segcli.core.heap import keep_freed_blocks
from segcli.core.registry import TASKS
from segcli.core.types import Array
from segcli.engine.assembly import Assembly, assemble, load_weights
from segcli.engine.checkpoint import read_checkpoint, read_header
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.joint.small_images import SmallImages
from segcli.engine.inference.predictor import Candidate, Forward, Overrides, Predictor
from segcli.engine.runtime import out_of_memory
from segcli.nn.fused import fuse

__all__ = ["of_checkpoint", "trained"]


def trained(path: Path, overrides: Overrides, permit: CodePermit | None = None) -> Candidate:
    """Take a checkpoint as a candidate; only its header is read.

    Raises:
        SegcliError: The checkpoint cannot be read.
    """
    run = run_from_values(read_header(path)["config"], source=str(path), permit=permit)
    layout, task = run.dataset.kind, TASKS.load(run.task_name)
    extensions = (run.dataset.model_extra or {}).get("extensions", ())
    return Candidate(path, layout, task, lambda: of_checkpoint(path, overrides, permit), extensions)


def of_checkpoint(path: Path, overrides: Overrides, permit: CodePermit | None = None) -> Predictor:
    """Open a checkpoint as a predictor, on the run's device and in its precision.

    Raises:
        SegcliError: The checkpoint cannot be used, or the device fails.
    """
    checkpoint = read_checkpoint(path)
    run = run_from_values(checkpoint.header["config"], source=str(path), permit=permit)
    run = run.predicting(threshold=overrides.threshold, tta=overrides.tta, tile=overrides.tile).on(overrides.device)
    parts = assemble(run)
    notice = parts.prepare_prediction()
    load_weights(parts.network, checkpoint, path)
    parts.network.eval()
    forward, is_cpu = _forward(parts), parts.device.type == "cpu"
    if is_cpu:
        keep_freed_blocks()
        if parts.precision.dtype is None:
            fuse(parts.network)
    return Predictor(
        name=run.name,
        source=path,
        layout=parts.layout,
        pipeline=parts.pipeline,
        task=parts.task,
        inference=run.inference,
        forward=SmallImages(forward, NumPyArrays()) if is_cpu else forward,
        batch_size=parts.at_once,
        joins_small=is_cpu and parts.layout.ndim == 2,
        notice=notice,
    )


def _forward(parts: Assembly) -> Forward:
    names = [output.name for output in parts.task.predicting]

    def forward(images: Array) -> dict[str, Array]:
        try:
            with torch.inference_mode(), parts.precision.autocast():
                image = torch.from_numpy(images).to(parts.device, memory_format=parts.memory_format)
                outputs = parts.network(image)
            return {name: outputs[name].float().cpu().numpy() for name in names if name in outputs}
        except (RuntimeError, MemoryError) as error:
            raise out_of_memory(error) or error from error

    return forward
