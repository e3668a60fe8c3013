"""Keys of the pipeline for microscopy: options of a program or flat YAML, with albumentations."""

from typing import Any

from segcli.config.earlier.flips import FLIPS
from segcli.config.earlier.row import Asked, Pipeline, Row, Undecided
from segcli.config.earlier.values import amount, number
from segcli.config.earlier.vessels import FOLDERS

__all__ = ["CELLS"]


def _transforms(value: Any, asked: Asked) -> list[dict[str, Any]]:
    """Read a list of albumentations transforms, by name or as `{name: parameters}`."""
    found = []
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            found.append({"type": entry})
        elif isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry.values())), dict | None):
            (kind, parameters), *_ = entry.items()
            found.append({"type": kind, **(parameters or {})})
        elif isinstance(entry, dict) and any(key in entry for key in ("type", "name", "transform")):
            kind = next(entry[key] for key in ("type", "name", "transform") if key in entry)
            rest = {key: item for key, item in entry.items() if key not in ("type", "name", "transform", "params")}
            found.append({"type": kind, **rest, **(entry.get("params") or {})})
        else:
            raise Undecided(f"`{entry}` names no transform; write `{{type: HorizontalFlip, p: 0.5}}`")
    return [entry for entry in found if entry["type"] not in ("Normalize", "ToTensorV2", "Resize", "ToTensor")]


CELLS = Pipeline(
    title="Cells and other scientific images",
    about="U-Net and SA-UNet on grey or RGB images, with options of a program or flat YAML, and albumentations.",
    format="image_folders",
    ndim=2,
    signs="sa_unet saunet sa-unet hflip vflip hflip_p vflip_p horizontal_flip_p augmentation.hflip augmentation.flip_p "
    "img_dir mask_dir bce_dice input_channels img_ext mask_ext drop_prob keep_prob block_size dropblock early_stopping "
    "flip_prob flip_probability",
    example="python train.py --model sa_unet --loss bce_dice --scheduler ReduceLROnPlateau --hflip_p 0.5 --lr 1e-3",
    rows=(
        Row("dataset", "~place", "a folder, or the name of the data set", keys="dataset.paths.root"),
        Row(
            "augmentation.transforms augmentation.list augmentation.pipeline albumentations augmentation.train "
            "transforms "
            "train_transforms",
            "data.augmentation.transforms",
            "a list of `{type: HorizontalFlip, p: 0.5}`; `Resize` and `Normalize` are other keys",
            _transforms,
        ),
        Row("keep_prob model.keep_prob", "model.keep_prob", "of `sa_unet`", number),
        Row(
            "drop_prob model.drop_prob dropblock_prob model.dropblock_prob",
            "model.keep_prob",
            "of `sa_unet`: 1 - it",
            lambda value, asked: round(1.0 - number(value, asked), 6),
        ),
        Row(
            "block_size model.block_size dropblock_size model.dropblock_size",
            "model.block_size",
            "of `sa_unet`",
            amount,
        ),
        Row("start_neurons model.start_neurons", "~width", "of the first level", amount, keys="model.depths"),
        Row("milestones scheduler.milestones", note="`step` has steps of one length"),
        *FOLDERS,
        *FLIPS,
    ),
)
"""Microscopy and other images, grey or RGB."""
