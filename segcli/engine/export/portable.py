"""Run networks from files that `segcli export` wrote.

ONNX files run without PyTorch: neither this module nor any module that it imports loads PyTorch.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import CheckpointError, nearest
from segcli.core.onnx_runtime import load_onnxruntime
from segcli.core.optional import optional
from segcli.core.types import Array
from segcli.engine.export.description import KEY, Description
from segcli.engine.export.formats import FORMATS, Format
from segcli.engine.export.seal import is_sealed

__all__ = ["PortableNetwork", "open_portable"]

SEALED_SINCE = 4
"""Version of the description since which every ONNX file holds a checksum."""


class PortableNetwork:
    """Exported network, ready to run on the CPU."""

    def __init__(self, description: Description, forward: Callable[[Array], dict[str, Array]]) -> None:
        self.description = description
        self._forward = forward

    def __call__(self, image: Array) -> dict[str, Array]:
        """Return the outputs by name, as NumPy arrays.

        Args:
            image: Normalised image `(B, C, *S)` float32; for a file with built-in normalisation stored pixels
                `(B, *S, C)` in `input_dtype`.
        """
        return self._forward(image)


def open_portable(path: Path, kind: Format | None = None, *, threads: int = 0) -> PortableNetwork:
    """Open an exported network.

    Args:
        path: File of the network.
        kind: Format of the file; taken from the suffix when left out.
        threads: Threads of onnxruntime; 0 uses OMP_NUM_THREADS, or the default of onnxruntime.

    Raises:
        CheckpointError: The file is missing, damaged, or not written by `segcli export`.
        ConfigError: A package that is needed to run the file is not installed.
    """
    if not path.is_file():
        raise CheckpointError(f"no exported network at `{path}`", hint="`segcli export RUN` writes one")
    if kind is None and path.suffix.lower() not in FORMATS:
        close = nearest(path.suffix, list(FORMATS))
        hint = f"did you mean `{path.with_suffix(close)}`?" if close else f"files end in {', '.join(FORMATS)}"
        raise CheckpointError(f"`{path}` is not an exported network", hint=hint)
    kind = kind or FORMATS[path.suffix.lower()]
    return {"onnx": _open_onnx, "torchscript": _open_torchscript, "pt2": _open_pt2}[kind](path, threads)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    detail = " ".join(str(error).split())[:120]
    return CheckpointError(f"exported network `{path}` cannot be opened ({detail})", hint="export the run again")


def _fails(path: Path, image: Array, error: Exception) -> CheckpointError:
    shape, detail = "x".join(map(str, image.shape)), " ".join(str(error).split())[:120]
    return CheckpointError(
        f"the network in `{path}` fails on {image.dtype} of shape {shape} ({detail})",
        hint="use a smaller `--tile` if memory ran out, otherwise export the run again",
    )


def _described(text: str | bytes | None, path: Path) -> Description:
    if not text:
        raise CheckpointError(
            f"`{path}` holds a network but no segcli description", hint="use a file that `segcli export` wrote"
        )
    return Description.from_json(text, path)


def _open_onnx(path: Path, threads: int) -> PortableNetwork:
    runtime = load_onnxruntime(purpose="an ONNX file")
    sealed = is_sealed(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # no busy waiting
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a different class for each reason
        raise _damaged(path, error) from error
    description = _described(session.get_modelmeta().custom_metadata_map.get(KEY), path)
    if not sealed and description.format >= SEALED_SINCE:
        raise CheckpointError(
            f"exported network `{path}` is damaged (it has lost its checksum)", hint="copy the file again"
        )
    names = [output.name for output in session.get_outputs()]

    def forward(image: Array) -> dict[str, Array]:
        try:
            return dict(zip(names, session.run(names, {description.input_name: image}), strict=True))
        except Exception as error:  # a different class for each reason
            raise _fails(path, image, error) from error

    return PortableNetwork(description, forward)


def _open_torchscript(path: Path, _threads: int) -> PortableNetwork:
    torch = optional("torch", extra="export", purpose="a TorchScript file")
    extra: dict[str, Any] = {f"{KEY}.json": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns that TorchScript is deprecated, but the user chose it
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra).eval()
    except (RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error
    return PortableNetwork(_described(extra[f"{KEY}.json"], path), _with_torch(torch, module))


def _open_pt2(path: Path, _threads: int) -> PortableNetwork:
    torch = optional("torch", extra="export", purpose="a file of torch.export")
    extra: dict[str, Any] = {f"{KEY}.json": ""}
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")
            module = torch.export.load(stream, extra_files=extra).module()
    except Exception as error:  # many kinds of exceptions: not an archive, another version
        raise _damaged(path, error) from error
    return PortableNetwork(_described(extra[f"{KEY}.json"], path), _with_torch(torch, module))


def _with_torch(torch: Any, module: Any) -> Callable[[Array], dict[str, Array]]:
    def forward(image: Array) -> dict[str, Array]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(np.ascontiguousarray(image)))
        return {name: values.numpy() for name, values in outputs.items()}

    return forward
