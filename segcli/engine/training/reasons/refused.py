"""Reasons against a training that need no pixels, for `segcli train` and `segcli data check` alike."""

import os
from collections.abc import Sequence
from pathlib import Path

from segcli.config.schema import Run
from segcli.core.errors import DataError, DeviceError
from segcli.core.files import file_above, shown
from segcli.data.cache import cache_folder
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.engine.runfolder import RunFolder

__all__ = ["refuse_changed_sizes", "refuse_places", "refuse_precision"]

SIZES = 4
"""Different sizes of training images on which the augmentation is tried."""


def refuse_places(run: Run) -> None:
    """Refuse a folder for the run, or for its cache, that cannot be written.

    Raises:
        DataError: A file is in its way, or there are no rights to write.
    """
    _refuse_folder(RunFolder(run.folder).path, "output.dir")
    if run.data.cache == "disk":
        _refuse_folder(cache_folder(run.data), "data.cache_dir")


def _refuse_folder(folder: Path, key: str) -> None:
    file = file_above(folder / "any")
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if file is None and os.access(there, os.W_OK):
        return
    why = f"there are no rights to write in `{shown(there)}`" if file is None else f"`{shown(file)}` is a file"
    raise DataError(f"cannot write `{shown(folder)}`: {why}", hint=f"set `{key}` to another folder")


def refuse_precision(run: Run, device: str) -> None:
    """Refuse a precision in which a device does not train.

    Args:
        run: The run.
        device: Type of the device, such as `cpu`.

    Raises:
        DeviceError: The device does not train in it.
    """
    if device == "cpu" and run.training.amp == "fp16":
        raise DeviceError("`training.amp: fp16` does not train on the CPU", hint="set `training.amp=off`")


def refuse_changed_sizes(run: Run, layout: Layout, augment: object, cases: Sequence[Case]) -> None:
    """Try the augmentation on images of the sizes that it gets, because it must keep them.

    Args:
        run: The run.
        layout: Its data set.
        augment: Its augmentation; that of volumes keeps all sizes.
        cases: Training images.

    Raises:
        ConfigError: It changes a size.
        DataError: A header cannot be read.
    """
    if not run.data.augmentation.transforms or layout.ndim != 2:
        return
    from segcli.data.transforms import Augmenter  # noqa: PLC0415 - albumentations takes seconds to import

    if not isinstance(augment, Augmenter) or not augment.moving:
        return
    patch, fixed = run.data.patch_size, run.data.image_size or run.dataset.image_size
    sizes: dict[tuple[int, int], None] = {}
    for case in cases:
        height, width = map(min, size := fixed or layout.size(case), patch or size)
        sizes[height, width] = None
        if fixed is not None or len(sizes) == SIZES:
            break
    for size in sizes:
        augment.refuse_changed_size(size)
