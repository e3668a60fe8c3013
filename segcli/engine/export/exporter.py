"""Write a network to a portable file: ONNX, TorchScript, torch.export."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segcli import __version__
from segcli.core.files import plain
from segcli.core.onnx_runtime import load_onnxruntime
from segcli.core.optional import optional
from segcli.core.types import Array
from segcli.engine.assembly import Assembly
from segcli.engine.export.description import KEY, SCALES, Description
from segcli.engine.export.formats import Format
from segcli.engine.export.pooling import of_any_size
from segcli.engine.export.portable import PortableNetwork
from segcli.engine.export.seal import EMPTY, SEAL, seal
from segcli.models import Network
from segcli.tasks import Task

__all__ = ["Exportable", "ExportedNetwork", "Normalization", "describe", "quantise", "write_file"]

AXES = {2: "HW", 3: "DHW"}
INPUT = "image"


@dataclass(frozen=True)
class Normalization:
    """Normalisation of stored pixels that is built into an exported file."""

    dtype: str
    """Data type of the stored pixels; a key of `SCALES`."""
    mean: Array | None
    """Mean of each channel on the scale 0 to 1; None if pixels are only scaled."""
    std: Array | None

    @classmethod
    def of(cls, parts: Assembly, dtype: str) -> "Normalization":
        """Take the normalisation of the run's own pipeline."""
        if not parts.run.data.preprocessing.normalize:
            return cls(dtype, None, None)
        return cls(dtype, parts.pipeline.mean, parts.pipeline.std)


class Exportable(nn.Module):
    """Network in the form in which it is exported; `(B, C, *S) -> {name: (B, K, *S)}`.

    Args:
        network: Network to export; it is copied to the CPU.
        task: Task that computes the probabilities.
        half: Compute in 16 bits; the data types of inputs and outputs stay the same.
        baked: Normalisation to build into the file, which then takes stored pixels `(B, *S, C)` and also returns
            `probabilities`. None leaves both to the program that runs the file.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, network: Network, task: Task, *, half: bool = False, baked: Normalization | None = None) -> None:
        super().__init__()
        copied = copy.deepcopy(network).to("cpu").eval()
        self.network = copied.half() if half else copied
        self.task = task
        self.halved = half
        self.baked = baked
        shape = (1, -1, *[1] * network.io.ndim)
        for name in ("mean", "std"):
            values = getattr(baked, name, None)
            self.register_buffer(name, None if values is None else torch.from_numpy(values).view(shape))
        self.eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return raw outputs by name, and probabilities if normalisation is built in."""
        x = image if self.baked is None else self._normalized(image, SCALES[self.baked.dtype])
        outputs = self.network(x.half() if self.halved else x)
        outputs = {name: values.float() for name, values in outputs.items()}
        if self.baked is not None:
            outputs["probabilities"] = self.task.probabilities(outputs[self.task.output], self.task.presence(outputs))
        return outputs

    def _normalized(self, image: Tensor, scale: float) -> Tensor:
        x = image.movedim(-1, 1).float() / scale
        return x if self.mean is None or self.std is None else (x - self.mean) / self.std


class ExportedNetwork(nn.Module):
    """Exported file in the place of the original network, so that it can be evaluated in the same way."""

    def __init__(self, file: PortableNetwork) -> None:
        super().__init__()
        self.file = file

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return raw outputs for normalised images; if the file normalises by itself, undo the normalisation first."""
        description, x = self.file.description, image.numpy()
        if description.baked:
            x = np.moveaxis(x, 1, -1)
            if description.normalize and description.mean is not None and description.std is not None:
                x = x * np.array(description.std, np.float32) + np.array(description.mean, np.float32)
            x = x * np.float32(SCALES[description.input_dtype])
            x = np.rint(x) if description.input_dtype != "float32" else x
            x = np.ascontiguousarray(x.astype(description.input_dtype))
        return {name: torch.from_numpy(values) for name, values in self.file(np.ascontiguousarray(x)).items()}


def describe(parts: Assembly, *, epoch: int, precision: str, baked: str | None) -> Description:
    """Make the description that is stored in the file."""
    run, spec, spatial = parts.run, parts.run.dataset.spec, AXES[parts.layout.ndim]
    dataset = {
        key: value
        for key, value in run.dataset.model_dump().items()
        if key not in ("paths", "split", "sample", "classes_file") and (key != "channels" or value is not None)
    }
    stated = [entry.color for entry in spec.classes]
    colors = stated if len(stated) == len(parts.task.classes) else [None] * len(parts.task.classes)
    return Description(
        run=run.name,
        model=Path(run.model.type).name,
        task=run.task_name,
        epoch=epoch,
        ndim=parts.layout.ndim,
        in_channels=spec.num_channels,
        channels=spec.channels,
        classes=[
            {"name": name} if color is None else {"name": name, "color": list(color)}
            for name, color in zip(parts.task.classes, colors, strict=True)
        ],
        input_name=INPUT,
        input_dtype=baked or "float32",
        input_axes=f"BC{spatial}" if baked is None else f"B{spatial}C",
        outputs=[*parts.network.io.outputs, *(["probabilities"] if baked else [])],
        precision=precision,
        baked=baked is not None,
        stride=parts.network.stride,
        size=list(parts.network.io.size) if parts.network.needs_size and parts.network.io.size else None,
        multiple=parts.pipeline.multiple,
        normalize=run.data.preprocessing.normalize,
        mean=spec.mean,
        std=spec.std,
        threshold=run.inference.threshold,
        tile=None if run.inference.tile is None else list(run.inference.tile),
        overlap=run.inference.overlap,
        tta=run.inference.tta,
        scales=run.inference.scales,
        class_offsets=list(parts.task.offsets),
        calibrated=[name for name in parts.task.calibrated if name in parts.network.io.outputs],
        postprocess=run.inference.postprocess.model_dump(),
        fov=run.inference.fov or "none",
        dataset=plain(dataset),
        preprocessing=plain(
            {
                "image_size": run.data.image_size,
                "preprocessing": run.data.preprocessing.model_dump(),
            }
        ),
        segcli=__version__,
    )


def write_file(path: Path, kind: Format, network: Exportable, description: Description, example: Array) -> None:
    """Write the network to a file; batch and spatial sizes stay variable.

    PyTorch writes into memory: its own writer aborts the process when the disk is full.

    Args:
        path: File to write.
        kind: Format of the file.
        network: Network on the CPU.
        description: Description for the metadata.
        example: Example input of at least two images; all its sizes differ.
    """
    image = torch.from_numpy(example)
    with torch.no_grad(), _hushed():
        if kind == "torchscript":
            traced = torch.jit.trace(network, (image,), strict=False, check_trace=False)  # type: ignore[no-untyped-call]
            path.write_bytes(traced.save_to_buffer(_extra_files={f"{KEY}.json": description.as_json()}))
            return
        sizes = _free_sizes(description)
        if kind == "onnx":
            _write_onnx(path, network, description, image, sizes)
            return
        program = torch.export.export(network, (image,), dynamic_shapes={"image": sizes})
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={f"{KEY}.json": description.as_json()})
        path.write_bytes(content.getbuffer())


@contextmanager
def _hushed() -> Iterator[None]:
    """Suppress the exporters' warnings about PyTorch's own code; the result is verified afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _free_sizes(description: Description) -> dict[int, Any]:
    """Return the dynamic dimensions: the batch, and spatial sizes in multiples of the network's stride."""
    sizes: dict[int, Any] = {0: torch.export.Dim("batch")}
    for position, axis in enumerate(description.input_axes):
        if axis in "DHW" and description.size is None:
            step = torch.export.Dim(axis.lower())
            sizes[position] = description.stride * step if description.stride > 1 else step
    return sizes


def _write_onnx(path: Path, network: Exportable, description: Description, image: Tensor, sizes: Any) -> None:
    onnx = optional("onnx", extra="export", purpose="`--format onnx`")
    optional("onnxscript", extra="export", purpose="`--format onnx`")
    with of_any_size():
        program: Any = torch.onnx.export(
            network,
            (image,),
            dynamo=True,
            dynamic_shapes={"image": sizes},
            input_names=[description.input_name],
            output_names=description.outputs,
            verbose=False,
        )
    model = program.model_proto
    _fill_in(onnx, model, description)
    onnx.save(model, str(path))
    seal(path)


def _fill_in(onnx: Any, model: Any, description: Description) -> None:
    """Put the description into the metadata of an ONNX model, and its main values also as single entries."""
    entries = {
        KEY: description.as_json(),
        "classes": json.dumps([entry["name"] for entry in description.classes]),
        "mean": json.dumps(description.mean),
        "std": json.dumps(description.std),
        "stride": str(description.stride),
        "threshold": str(description.threshold),
        SEAL: EMPTY,
    }
    onnx.helper.set_model_props(model, entries)
    model.producer_name, model.producer_version = "segcli", description.segcli
    model.doc_string = f"{description.model}, run {description.run}, epoch {description.epoch}"


def quantise(source: Path, target: Path, description: Description) -> None:
    """Write an ONNX file with 8-bit weights and dynamic quantisation of activations."""
    onnx = optional("onnx", extra="export", purpose="`--int8`")
    quantization = load_onnxruntime("onnxruntime.quantization", purpose="`--int8`")
    with _hushed():
        quantization.quantize_dynamic(str(source), str(target), weight_type=quantization.QuantType.QUInt8)
    model = onnx.load(str(target))
    _fill_in(onnx, model, description)
    onnx.save(model, str(target))
    seal(target)
