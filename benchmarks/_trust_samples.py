"""Small whole files of every kind that segcli reads, each with the call that reads it, for `trust_files.py`."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from segcli.commands.data import check_data, split_data
from segcli.config.load import load_dataset
from segcli.core.errors import SegcliError
from segcli.data.images import read_image, read_labels, read_voxels
from segcli.engine.events import Silent
from segcli.files import create, open_picture, read_header

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import factories

Read = Callable[[Path], object]
Sample = tuple[bytes, Read, bool]
"""Content of a whole file, the call that reads it, and whether it is text."""


def samples(folder: Path) -> dict[str, Sample]:
    """Make one file of each kind; the ending of its name is that of the format."""
    folder.mkdir()
    found = {name: (content, reader(ndim), False) for name, (content, ndim) in pictures(folder).items()}
    return {**found, **folders(folder), **tables(folder)}


def reader(ndim: int, place: Callable[[Path], Path] | None = None) -> Read:
    """Read header, a corner and the whole of a picture or volume, each refusal aside."""

    def read(path: Path) -> None:
        path = path if place is None else place(path)
        whole = ((read_image, read_labels)[path.stat().st_size % 2],) if ndim == 2 else (read_voxels,)
        for call in (lambda each: read_header(each, ndim), corner, *whole):
            attempt(call, path)

    def corner(path: Path) -> None:
        with open_picture(path, ndim) as picture:
            picture.read(tuple(slice(0, min(length, 4)) for length in picture.size))

    return read


refused: list[str] = []
"""What the last read was refused with; a case of several calls counts as refused if one was."""


def attempt(call: Read, path: Path) -> None:
    """Call, and keep a refusal in words."""
    try:
        call(path)
    except SegcliError as error:
        refused.append(str(error))


def pictures(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Make files of one picture or volume, with the number of their axes."""
    import cv2
    import nibabel
    import tifffile
    from PIL import Image

    rng = np.random.default_rng(0)
    grey, colour = (rng.integers(0, 255, shape, dtype=np.uint8) for shape in ((24, 20), (24, 20, 3)))
    found: dict[str, tuple[bytes, int]] = {}

    def written(name: str, pixels: np.ndarray, **options: object) -> None:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        found[name] = buffer.getvalue(), 3 if name.startswith("stack") else 2

    for ending in ("png", "jpg", "bmp", "gif", "webp"):
        for kind, pixels in (("grey", grey), ("colour", colour)):
            Image.fromarray(pixels).save(folder / f"made.{ending}")
            found[f"{kind}.{ending}"] = (folder / f"made.{ending}").read_bytes(), 2
    Image.fromarray(colour).quantize(8).save(folder / "made.png")
    found["palette.png"] = (folder / "made.png").read_bytes(), 2
    found["deep.png"] = cv2.imencode(".png", rng.integers(0, 65535, (24, 20, 3), dtype=np.uint16))[1].tobytes(), 2
    rgb: dict[str, dict[str, object]] = {
        "plain": {}, "packed": {"compression": "zlib"}, "tiled": {"tile": (16, 16)}, "big": {"bigtiff": True},
        "imagej": {"imagej": True}, "jpeg": {"compression": "jpeg"}, "rows": {"rowsperstrip": 3},
    }  # fmt: skip
    for kind, options in rgb.items():
        written(f"{kind}.tif", colour, photometric="rgb", **options)
    written("planes.tif", np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate")
    written("float.tif", rng.random((24, 20), np.float32), photometric="minisblack")
    written("large.ome.tif", colour, photometric="rgb", metadata={"axes": "YXS"})
    written("stack.tif", rng.integers(0, 255, (6, 8, 8), dtype=np.uint16), compression="zlib")
    spaced = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    written("stack_imagej.tif", rng.random((6, 8, 8), np.float32), imagej=True, metadata=spaced, resolution=(1, 1))
    written("stack.ome.tif", rng.integers(0, 255, (6, 8, 8), dtype=np.uint8), metadata={"axes": "ZYX"})
    for name, size in (("a.npy", (24, 20)), ("b.npy", (6, 12, 9)), ("b.nii", (6, 12, 9)), ("b.nii.gz", (6, 12, 9))):
        with create(folder / name, size, np.uint8) as add:
            add(rng.integers(0, 255, size).astype(np.uint8))
        found[name] = (folder / name).read_bytes(), len(size)
    for name in ("float.nii", "float.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(rng.random((5, 6, 7), np.float32), np.diag([1, 2, 3, 1.0])), folder / name)
        found[name] = (folder / name).read_bytes(), 3
    return found


def folders(folder: Path) -> dict[str, Sample]:
    """Make the files of which a Zarr folder and a DICOM series consist."""
    found: dict[str, Sample] = {}

    def within(whole: Path, target: Path) -> Callable[[Path], Path]:
        def put(path: Path) -> Path:
            path.replace(target)
            return whole

        return put

    _write_zarr(folder)
    for version in (2, 3):
        whole = folder / f"v{version}.zarr"
        for target in sorted(path for path in whole.rglob("*") if path.is_file())[:3]:
            text = target.name in ("zarr.json", ".zarray", ".zattrs")
            name = f"zarr{version}_{target.name.strip('.')}"
            found[name] = target.read_bytes(), reader(2, within(whole, target)), text
    for name, count in (("slice.dcm", 3), ("alone.dcm", 1)):
        planes = np.random.default_rng(0).integers(0, 900, (count, 8, 8))
        whole = factories.write_dicom(folder / name.replace(".", "_"), planes)
        target = whole / f"{count // 2}.dcm"
        found[name] = target.read_bytes(), reader(3, within(whole, target)), False
    return found


def _write_zarr(folder: Path) -> None:
    """Write in a process of its own: the threads of zarr would stop every later fork that reads."""
    child = os.fork()
    if child == 0:
        import zarr

        for version in (2, 3):
            array = zarr.create_array(
                folder / f"v{version}.zarr", shape=(40, 30), chunks=(16, 16), dtype="uint8", zarr_format=version
            )
            array[:] = np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8)
        os._exit(0)
    os.waitpid(child, 0)


def tables(folder: Path) -> dict[str, Sample]:
    """Make data sets whose side files say what is in them, read as `segcli data check` reads them."""
    found: dict[str, Sample] = {}

    def checked(name: str, root: Path, target: Path, *, text: bool, **keys: object) -> None:
        config = root / "dataset.yaml"
        config.write_text(yaml.safe_dump({"name": "m", "paths": {"root": str(root)}, **keys}))
        if name == "split.yaml":
            split_data(load_dataset(config, (), whole_run=False))

        def check(path: Path) -> None:
            path.replace(target)
            attempt(lambda file: check_data(load_dataset(file, (), whole_run=False), listener=Silent()), config)

        found[name] = target.read_bytes(), check, text

    counts = {"train": 1, "val": 1}
    for kind in ("plain", "packed"):
        root = factories.write_hdf5(folder / kind, counts, size=(6, 5, 4))
        if kind == "packed":
            _pack(root / "train.h5")
        checked(f"{kind}.h5", root, root / "train.h5", text=False, format="hdf5_volumes")
    root = factories.write_hdf5(folder / "hdf5", counts, size=(6, 5, 4))
    checked("metadata.json", root, root / "metadata.json", text=True, format="hdf5_volumes")
    for name, split in (("classes.csv", {"train": ["Video_000"], "val": ["Video_001"]}), ("split.yaml", {"val": 0.5})):
        root = factories.write_sequences(folder / name, {"Video_000": 1, "Video_001": 1}, size=(24, 32))
        rows = [(each["name"], *each["color"]) for each in factories.street_classes()]  # type: ignore[misc]
        (root / "classes.csv").write_text("\n".join(["name,r,g,b", *(",".join(map(str, row)) for row in rows)]) + "\n")
        keys = {"format": "sequences", "classes_file": "classes.csv", "split": split}
        checked(name, root, root / name, text=True, **keys)
    cropped = {"format": "tiff_volumes", "crop_size": [4, 8, 8], "split": {"val": 0.5}}
    for name, place in (("samples.csv", "classes.csv"), ("slice.tif", "0001/raw/z1.tif")):
        root = factories.write_nuclei(folder / name, 4, size=(4, 8, 8))
        checked(name, root, root / place, text=name != "slice.tif", **cropped)
    root = factories.write_nifti(folder / "nifti", 2)
    (root / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "ball", "2": "box"}}))
    checked("dataset.json", root, root / "dataset.json", text=True, format="nifti_volumes", split={"val": 0.5})
    return found


def _pack(path: Path) -> None:
    import h5py

    with h5py.File(path, "a") as file:
        images = file["images"][:]
        del file["images"]
        file.create_dataset("images", data=images, compression="gzip")
        file["case_ids"] = ["x"]
