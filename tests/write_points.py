"""Every command that writes, with the small files it works on: what a full or read-only disk must not break."""

from pathlib import Path

import cv2
import numpy as np
import zarr
from factories import (
    experiment,
    nuclei_experiment,
    volumes_experiment,
    write_experiment,
    write_folders,
    write_hdf5,
    write_nifti,
    write_nuclei,
)

from segcli.cli.main import run

NEW = "new"
"""Folder on the disk that is full or cannot be written to."""
POINTS: dict[str, str] = {
    "run folder, lock, checkpoints, TensorBoard, report": f"train tiny.yaml name=new output.dir={NEW}/run",
    "checkpoints of a resumed run": f"resume {NEW}/kept training.epochs=3",
    "cross-validation": f"train tiny.yaml name=new output.dir={NEW}/folds --folds 2",
    "disk cache": f"train tiny.yaml name=cached --overwrite data.cache=disk data.cache_dir={NEW}/cache",
    "scores, figures and masks of an evaluation": f"eval tiny --out {NEW}/scores",
    "masks, probabilities, overlays": f"predict data/test/image --run tiny --overlay --probabilities --out {NEW}/masks",
    "masks as TIFF": f"predict large.tif --run tiny --out {NEW}/tiff",
    "masks as Zarr": f"predict large.zarr --run tiny --out {NEW}/zarr",
    "video": f"predict data/test/image --run tiny --out elsewhere --overwrite --video {NEW}/film.mp4",
    "masks as HDF5": f"predict volumes/test.h5 --run volumes --out {NEW}/hdf5",
    "masks as NIfTI": f"predict nifti/imagesTr --run volumes --out {NEW}/nifti",
    "classes as CSV": f"predict nuclei/0001 --run nuclei --out {NEW}/csv",
    "export to ONNX": f"export tiny --out {NEW}/onnx",
    "export to TorchScript": f"export tiny --format torchscript --out {NEW}/script",
    "export to PT2": f"export tiny --format pt2 --out {NEW}/pt2",
    "generated images": f"data sample vessels {NEW}/vessels --size 64",
    "generated volumes": f"data sample organs {NEW}/organs --size 32",
    "generated stacks": f"data sample nuclei {NEW}/nuclei --size 32",
    "converted volumes": f"data convert nifti {NEW}/converted",
    "converted pictures": f"data convert data/train {NEW}/pictures --images image --labels label",
    "split file": f"data split {NEW}/split.yaml",
    "report of the memory forecast": f"profile-memory tiny.yaml --html {NEW}/memory.html",
}
"""What is written, and the command that writes it."""


def prepare(folder: Path) -> None:
    """Write data sets and train three runs in the working folder."""
    values = experiment(
        write_folders(folder / "data"), training__epochs=2, logging={"tensorboard": True, "log_images": True}
    )
    write_experiment(folder / "tiny.yaml", {**values, "name": "tiny"})
    volumes = volumes_experiment(write_hdf5(folder / "volumes"), name="volumes", training__epochs=1)
    write_experiment(folder / "volumes.yaml", volumes)
    nuclei = nuclei_experiment(write_nuclei(folder / "nuclei"), name="nuclei", training__epochs=1)
    nuclei["dataset"]["split"] = {"val": 0.25}
    write_experiment(folder / "nuclei.yaml", nuclei)
    for name in ("tiny", "volumes", "nuclei"):
        assert run(["train", f"{name}.yaml", "--quiet"]) == 0
    write_nifti(folder / "nifti", 3)
    pixels = cv2.imread(str(folder / "data/test/image/00.png"))
    cv2.imwrite(str(folder / "large.tif"), pixels)
    zarr.save_array(folder / "large.zarr", np.ascontiguousarray(pixels[:, :, ::-1]))


def make_disk(folder: Path) -> None:
    """Write what lies on the disk before it is full: a run to go on with, and a data set without a split file."""
    (folder / "kept").mkdir(parents=True)
    for path in Path("outputs/experiments/tiny").rglob("*"):
        if path.is_file():
            target = folder / "kept" / path.relative_to("outputs/experiments/tiny")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    values = experiment(write_folders(folder / "split"))["dataset"]
    write_experiment(
        folder / "split.yaml",
        {**values, "paths": {"root": f"{folder}/split/train"}, "split": {"by": "fraction", "val": 0.3}},
    )


def unfinished(folder: Path) -> list[str]:
    """Name files that a failed write left behind."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    hidden = [path for path in folder.rglob(".*") if path.name.endswith(".part") or path.name.startswith(".tmp")]
    empty = [path for path in files if not path.stat().st_size and path.name != ".lock" and "tfevents" not in path.name]
    return sorted({str(path) for path in [*hidden, *empty]})
