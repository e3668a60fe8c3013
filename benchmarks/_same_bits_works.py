"""What `same_bits.py` trains and then does with what it trained: one `Work` for each kind of data and of use.

In commands and configs `{data}` is the folder of generated samples, `{extras}` that of the files made from them, and
`{trained}` the folder in which the training of the same work was recorded with the code before; `{own}` names the
file of a user's own network.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = {"vessels": 64, "scenes": 48, "organs": 32, "nuclei": 32}
"""Kinds of `segcli data sample`, with the height of an image."""


@dataclass(frozen=True)
class Work:
    """Commands of `segcli`, without the word itself."""

    config: dict[str, Any] = field(default_factory=dict)
    """Experiment, written to `config.yaml` beside the runs; `run` is its name."""
    train: tuple[str, ...] = ("train config.yaml --json",)
    use: tuple[str, ...] = ()
    """List the commands that use a copy of the recorded run `run`; `later` is a second copy, for `resume`."""
    stop_after: int | None = None
    """Batches after which `OWN` sends its own process a SIGTERM while it trains."""
    codes: tuple[int, ...] = (0,)
    """Exit codes that a recording may have."""


def experiment(
    dataset: str | dict[str, Any], model: dict[str, Any], training: dict[str, Any], **sections: Any
) -> dict[str, Any]:
    """Keys of a tiny experiment of three epochs."""
    batches = {"batch_size": 2, "num_workers": 0, "limit_batches": 8}
    return {
        "name": "run",
        "dataset": dataset,
        "model": model,
        "training": {"epochs": 3, "optimizer": {"type": "adam", "learning_rate": 0.02}} | training,
        "data": batches | sections.pop("data", {}),
        "logging": {"tensorboard": False, "visualization_interval": None},
        "device": "cpu",
    } | sections


RESUME = "resume later/experiments/run training.epochs=4 --json"
MODEL = "{trained}/../use/outputs/exports/run/run"
EXTRA = {"probabilities": "--probabilities --uncertainty --overlay --json"}

WORKS: dict[str, Work] = {
    "samples": Work(
        train=tuple(f"data sample {kind} {kind} --size {size} --json" for kind, size in SAMPLES.items()),
    ),
    "vessels": Work(
        experiment(
            "{data}/vessels/dataset.yaml",
            {"type": "unet", "depths": [4, 8]},
            {
                "optimizer": {"type": "adamw", "learning_rate": 0.03, "weight_decay": 0.01},
                "scheduler": {"type": "one_cycle"},
                "loss": {"bce": 0.5, "dice": 0.5},
                "metrics": ["dice", "iou", "auc", "hd95", "cldice"],
                "gradient_accumulation_steps": 2,
                "ema": {"decay": 0.9},
            },
            data={
                "batch_size": 4,
                "limit_batches": None,
                "patch_size": [32, 32],
                "patches_per_image": 2,
                "augmentation": {"preset": "heavy"},
            },
            logging={"tensorboard": True, "log_images": True, "image_log_frequency": 1, "log_activations": True},
            inference={"postprocess": {"fill_holes": True, "min_size": 5}},
        ),
        use=(
            RESUME,
            "eval run --split val --threshold best-on-val --json",
            "eval run --tta --json --out tta",
            "predict {data}/vessels/test/image --run run --out plain --video plain/all.mp4 " + EXTRA["probabilities"],
            "predict {extras}/photo.tif --run run --out tiles --tile 64 " + EXTRA["probabilities"],
            "predict {extras}/photo.tif --run run --out turns --tta " + EXTRA["probabilities"],
            "predict {extras}/photo.tif --run run --run later/experiments/run --out two " + EXTRA["probabilities"],
            "predict {extras}/photo.zarr --run run --out window --tile 64 --uncertainty --json",
            "export run --json",
            "export run --bake --json --out baked",
            "export run --format torchscript --json",
            f"predict {{extras}}/photo.tif --model {MODEL}.onnx --out onnx {EXTRA['probabilities']}",
            f"predict {{extras}}/photo.tif --model {MODEL}.onnx --out onnx_tta --tta --tile 64 --json",
            "data check {trained}/config.yaml --json",
            "data stats {trained}/config.yaml --json",
            "profile-memory {trained}/config.yaml --vram 8GiB --json",
        ),
    ),
    "scenes": Work(
        experiment(
            "{data}/scenes/dataset.yaml",
            {"type": "unet", "depths": [4, 8, 8], "stem_stride": 2},
            {
                "optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.9},
                "scheduler": {"type": "poly"},
                "loss": {"cross_entropy": {"class_weights": "inverse"}, "dice": 1.0},
                "metrics": ["mean_iou", "pixel_accuracy", "class_accuracy"],
                "amp": "bf16",
            },
            data={
                "augmentation": {"preset": "street"},
                "cache": "memory",
                "image_size": [32, 48],
                "limit_batches": None,
            },
            inference={
                "tta": "horizontal",
                "scales": [0.75, 1.0, 1.25],
                "undo_class_weights": 0.5,
                "postprocess": {"classes": {"car": {"min_size": 3}}},
            },
        ),
        use=(
            RESUME,
            "eval run --json",
            "predict {data}/scenes/Images/Video_004 --run run --out plain " + EXTRA["probabilities"],
            "predict {extras}/scene.zarr --run run --out window --tile 32 --json",
            "export run --json",
            f"predict {{data}}/scenes/Images/Video_004 --model {MODEL}.onnx --out onnx {EXTRA['probabilities']}",
            "data check {trained}/config.yaml --json",
            "data stats {trained}/config.yaml --json",
        ),
    ),
    "organs": Work(
        experiment(
            "{data}/organs/dataset.yaml",
            {"type": "sadaan", "depths": [4, 8], "features": 8, "hidden": 4, "absence_bias": 0.5},
            {
                "scheduler": {"type": "cosine", "min_lr": 0.0001},
                "warmup_epochs": 0.5,
                "loss": {  # `confidence`: the loss of the first versions
                    "type": "sadaan",
                    "dice": 4.0,
                    "absence": 0.2,
                    "false_positive_suppression": 0.1,
                    "confidence": 0.1,
                },
                "metrics": ["dice", "presence_accuracy", "surface_dice", "false_positive_volume"],
                "gradient_clip_norm": 5.0,
                "ema": {"decay": 0.9},
            },
            data={
                "limit_batches": None,
                "augmentation": {"preset": "medium", "rotation_degrees": 8, "noise_std": 0.05},
            },
            inference={"threshold": 0.36},
        ),
        use=(
            RESUME,
            "eval run --json",
            "predict {data}/organs/test.h5 --run run --out plain " + EXTRA["probabilities"],
            "predict {extras}/body.nii.gz --run run --out kinds_nifti --tile 32 " + EXTRA["probabilities"],
            "predict {extras}/body.nii.gz --run run --out turns --tta " + EXTRA["probabilities"],
            "export run --json",
            f"predict {{extras}}/body.nii.gz --model {MODEL}.onnx --out onnx {EXTRA['probabilities']}",
            "data check {trained}/config.yaml --json",
            "data stats {trained}/config.yaml --json",
            "profile-memory {trained}/config.yaml --json",
            "predict {extras}/body.tif --run run --out kinds_tiff --tile 32 " + EXTRA["probabilities"],
            "predict {extras}/body.zarr --run run --out kinds_zarr --tile 32 " + EXTRA["probabilities"],
        ),
    ),
    "nifti": Work(
        experiment(
            {
                "format": "nifti_volumes",
                "paths": {"root": "{extras}/nifti"},
                "num_channels": 1,
                "classes": ["liver", "spleen"],
                "numbers": [1, 2],
                "split": {"val": 0.25, "test": 0.25},
            },
            {"type": "unet", "depths": [4, 8], "checkpoint_activations": True},
            {
                "scheduler": {"type": "plateau", "patience": 1},
                "loss": {"focal": 1.0, "tversky": 1.0},
                "metrics": ["dice", "hd95", "assd"],
                "early_stopping": {"enabled": True, "monitor": "val_loss", "patience": 5},
            },
            data={"patch_size": [16, 16, 16], "patches_per_image": 2, "augmentation": {"preset": "light"}},
            inference={"postprocess": {"largest_component": True}},
        ),
        use=(
            RESUME,
            "eval run --json",
            "predict {extras}/nifti/imagesTr {extras}/body.tif --run run --out plain --tile 32 "
            + EXTRA["probabilities"],
        ),
    ),
    "nuclei": Work(
        experiment(
            "{data}/nuclei/dataset.yaml",
            {
                "type": "vgg3d",
                "depths": [4, 8],
                "convolutions": 1,
                "classifier_size": 16,
                "freeze_features": True,
                "unfreeze_every": 1,
            },
            {
                "scheduler": {"type": "cosine"},
                "loss": {"type": "cross_entropy", "class_weights": "inverse", "label_smoothing": 0.05},
                "metrics": ["accuracy", "f1", "top2"],
            },
            data={"augmentation": {"preset": "nuclei"}, "preprocessing": {"normalize": "min_max"}},
        ),
        train=("train config.yaml --json", "train config.yaml --folds 2 name=folds training.epochs=1 --json"),
        use=(
            RESUME,
            "eval run --json",
            "predict {data}/nuclei --run run --out plain --json",
            "export run --json",
            f"predict {{data}}/nuclei --model {MODEL}.onnx --out onnx --json",
            "data check {trained}/config.yaml --json",
        ),
    ),
    "cells": Work(
        experiment(
            {"paths": {"root": "{extras}/cells"}, "num_channels": 1, "num_classes": 1},
            {"type": "sa_unet", "depths": [4, 8], "keep_prob": 0.8, "block_size": 3},
            {
                "scheduler": {"type": "step", "step_size": 1},
                "loss": {
                    "bce": {"weight": 1.0, "pos_weight": 5.0},
                    "focal_tversky": 0.5,
                    "lovasz": 0.5,
                    "boundary": 0.001,
                    "soft_cldice": 0.1,
                },
                "metrics": ["dice", "mcc", "average_precision"],
            },
            data={"num_workers": 2, "cache": "disk", "preprocessing": {"normalize": "per_image"}},
            checkpoint={"save_every": 1},
        ),
        use=(RESUME, "eval run --json", "predict {extras}/large.tif --run run --out large --tile 1024 --json"),
    ),
    "own": Work(
        experiment(
            "{data}/vessels/dataset.yaml",
            {"type": "{extras}/own.py:Own", "width": 4},
            {
                "loss": {"bce": {"weight": 1.0, "pos_weight": 5.0}},
                "metrics": ["dice"],
                "ema": {"decay": 0.9},
                "gradient_accumulation_steps": 2,
            },
            data={"batch_size": 2, "limit_batches": None, "augmentation": {"preset": "medium"}},
            checkpoint={"every_minutes": 0},
            debug={"on_nan": "skip", "on_oom": "halve"},
        ),
        use=(
            "resume later/experiments/run {own} --json",
            "predict {extras}/photo.tif --run later/experiments/run {own} --json",
        ),
        stop_after=7,
        codes=(0, 143),
    ),
    "networks": Work(
        experiment(
            "{data}/vessels/dataset.yaml",
            {"type": "unet", "depths": [4, 8], "dropout": 0.2},
            {"epochs": 1, "loss": {"dice": {"pooled": True}}, "metrics": ["dice"]},
            data={"limit_batches": 2},
        ),
        train=tuple(
            f"train config.yaml name={keys.split(',')[0]} --json model='{{{{type: {keys}}}}}'"
            for keys in (
                "unet, depths: [4, 8], dropout: 0.2",
                "utrans, depths: [4, 8], transformer_depth: 1, transformer_heads: 2",
                "roinet, depths: [4, 4, 4, 4, 4, 4], kernel_size: 3",
                "transroinet, depths: [4, 4, 4, 4, 4, 4], kernel_size: 3, transformer_depth: 1, transformer_heads: 2",
                "deeplabv3_plus, backbone: resnet18, channels: 8",
            )
        ),
    ),
}

LONG = {"camvid_deeplabv3_plus": "data.limit_batches=8"}
"""Recipes whose first epoch takes more than three minutes of one thread, and what shortens it."""

OWN = '''
"""A network of a user; it stops its own training as a terminal would."""

import os
import signal

from torch import nn


class Own(nn.Module):
    def __init__(self, in_channels, out_channels, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout2d(0.2)
        )
        self.head = nn.Conv2d(width, out_channels, 1)
        self.batches = 0

    def forward(self, image):
        self.batches += self.training
        if self.training and self.batches == int(os.environ.get("SAME_BITS_STOP_AFTER", "0")):
            os.kill(os.getpid(), signal.SIGTERM)
        return self.head(self.layers(image))
'''


def write_extras(data: Path, extras: Path) -> None:
    """Write files of other formats and sizes, made from the generated samples."""
    import cv2
    import h5py
    import nibabel
    import tifffile
    import zarr

    extras.mkdir(parents=True)
    (extras / "own.py").write_text(OWN)
    for split in ("train", "val", "test"):
        for kind in ("image", "label"):
            (extras / "cells" / split / kind).mkdir(parents=True)
            for path in sorted((data / "vessels" / split / kind).iterdir()):
                cv2.imwrite(
                    str(extras / "cells" / split / kind / path.name), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
                )
    photo = cv2.imread(str(data / "vessels/test/image/001.png"))[:, :, ::-1]
    photo = np.tile(photo, (2, 3, 1))[:100, :150]
    tifffile.imwrite(extras / "photo.tif", photo, photometric="rgb")
    zarr.save_array(extras / "photo.zarr", photo)
    frame = next(iter(sorted((data / "scenes/Images/Video_004").iterdir())))
    zarr.save_array(extras / "scene.zarr", np.ascontiguousarray(cv2.imread(str(frame))[:, :, ::-1]))
    large = np.tile(photo[:64, :64, 1], (128, 129))
    tifffile.imwrite(extras / "large.tif", large, tile=(256, 256), compression="zlib", photometric="minisblack")
    with h5py.File(data / "organs/test.h5") as file:
        bodies, masks = file["images"][:], file["masks"][:]
    turned = np.diag([-5.0, 4.0, 6.0, 1.0])
    body = (np.tile(bodies[0], (1, 2, 1)) * 1000).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(body, turned), extras / "body.nii.gz")
    tifffile.imwrite(extras / "body.tif", body.transpose(2, 0, 1).astype(np.uint16), photometric="minisblack")
    zarr.save_array(extras / "body.zarr", body.astype(np.uint16))
    for number, (image, mask) in enumerate(zip(bodies, masks, strict=True)):
        truth = (mask[0] + 2 * mask[1] * (1 - mask[0])).astype(np.uint8)
        for folder, voxels in (("imagesTr", image.astype(np.float32)), ("labelsTr", truth)):
            path = extras / "nifti" / folder / f"case_{number:03d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels[: 32 - number], turned), path)
