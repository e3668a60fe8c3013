"""What `same_bits.py` compares of each kind of file: tensors, arrays, pixels, and the keys of documents."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Leaf = np.ndarray | str
Reader = Callable[[Path], Iterator[tuple[str, Leaf]]]
IGNORED = {"environment.yaml", "memory.csv"}
"""Files that tell of the machine and the moment."""
VOLATILE = {"elapsed_s", "size_mib"}
"""Keys that tell of them; the size of an exported file depends on the path of the code that is noted in it."""


def tensors(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Tensors of a checkpoint, and the keys of its header."""
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name)
            yield name, (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for key, text in (file.metadata() or {}).items():
            if not key.endswith("checksum"):
                yield from leaves(json.loads(text), key)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Leaf]]:
    """Each value of nested dicts and lists with its dotted key."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if str(key) not in VOLATILE:
                yield from leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, repr(value)


def onnx_file(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Weights and operations; the rest of the file names lines of source code."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for weight in model.graph.initializer:
        yield weight.name, numpy_helper.to_array(weight)
    yield "operations", " ".join(node.op_type for node in model.graph.node)
    for entry in model.metadata_props:
        if entry.key == "segcli":
            yield from leaves(json.loads(entry.value))


def torchscript_file(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Weights."""
    import torch

    for name, tensor in torch.jit.load(path).state_dict().items():
        yield name, tensor.numpy()


def hdf5_file(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Data sets."""
    import h5py

    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                values = np.asarray(file[name][()])
                yield name, repr(values.tolist()) if values.dtype == object else values


def nifti_file(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Voxels as stored, and where they lie."""
    import nibabel

    image = nibabel.load(path)
    yield "voxels", np.asarray(image.dataobj)
    yield "affine", image.affine


def zarr_folder(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Its array, or the arrays of its levels."""
    import zarr

    opened = zarr.open(path, mode="r")
    for name, array in [("array", opened)] if isinstance(opened, zarr.Array) else opened.arrays():
        yield name, np.asarray(array[:])


def picture(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Pixels."""
    import cv2

    yield "pixels", cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def tiff_file(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Pixels or voxels."""
    import tifffile

    yield "pixels", tifffile.imread(path)


def video(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Frames."""
    import cv2

    film, number = cv2.VideoCapture(str(path)), 0
    while (read := film.read())[0]:
        yield f"frame {number}", read[1]
        number += 1


def events(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Values and pictures of TensorBoard by tag and step, without memory; its graph names lines of source code."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for event in EventFileLoader(str(path)).Load():
        for value in (value for value in event.summary.value if value.tag != "__run_graph__"):
            if value.tag.startswith("memory/"):
                continue
            yield f"{value.tag} at {event.step}", hashlib.sha256(value.tensor.SerializeToString()).hexdigest()


def document(path: Path) -> Iterator[tuple[str, Leaf]]:
    """Keys of a YAML or JSON file."""
    yield from leaves(yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


READERS: dict[str, Reader] = {
    ".safetensors": tensors,
    ".yaml": document,
    ".json": document,
    ".onnx": onnx_file,
    ".torchscript": torchscript_file,
    ".h5": hdf5_file,
    ".gz": nifti_file,
    ".nii": nifti_file,
    ".zarr": zarr_folder,
    ".png": picture,
    ".tif": tiff_file,
    ".mp4": video,
    ".npy": lambda path: iter([("array", np.load(path))]),
    ".csv": lambda path: iter([("text", path.read_text())]),
}


def found(folder: Path) -> Iterator[tuple[str, Path, Reader]]:
    """Each file that counts, by its path within the folder, and what reads it."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        within = "cache" in name.parts or any(parent.suffix == ".zarr" for parent in name.parents)
        reader = events if "tfevents" in path.name else READERS.get(path.suffix)
        if reader and not within and path.name not in IGNORED and (path.is_file() or path.suffix == ".zarr"):
            yield str(name.with_name("events") if reader is events else name), path, reader


def digest(leaf: Leaf, folder: Path) -> str:
    """SHA-256 of an array with its type and shape; a short text as it is, without the paths of the two sides."""
    if isinstance(leaf, str):
        text = leaf.replace(f"{folder}/before", ".").replace(f"{folder}/after", ".")
        return text if len(text) <= 60 else hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(f"{leaf.dtype}{leaf.shape}".encode() + np.ascontiguousarray(leaf).tobytes()).hexdigest()
