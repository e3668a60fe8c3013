"""Run `segcli train` as its command does, and note the time after each epoch.

Run by run.py, in the environment of segcli.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from _shared import MEAN, STD, Clock, Spec, pairs


def config(spec: Spec) -> dict[str, Any]:
    """Write the experiment of these settings."""
    if spec.ndim == 2:
        dataset: dict[str, Any] = {"paths": {"root": spec.data}, "num_channels": 3, "mean": MEAN, "std": STD}
        parts: dict[str, float] = {"bce": 0.5, "dice": 0.5}
        cut: dict[str, Any] = {}
        tile: dict[str, Any] = {}
    else:
        held_out = [image.name.removesuffix(".nii.gz") for image, _ in pairs(spec, "val")]
        dataset = {
            "format": "nifti_volumes",
            "task": "multiclass",
            "paths": {"root": spec.data},
            "classes": ["background", "ball", "tube"],
            "split": {"val": held_out},
        }
        parts = {"cross_entropy": 1.0, "dice": 1.0}
        cut = {"patch_size": [spec.patch] * 3, "patches_per_image": spec.patches}
        cut["preprocessing"] = {"normalize": "per_image"}
        tile = {"tile": [spec.patch] * 3, "overlap": 0.25}
    model: dict[str, Any] = {"type": "unet", "depths": spec.depths}
    if spec.encoder:
        stages = {"encoder_depth": len(spec.depths), "decoder_channels": spec.depths}
        model = {"type": "smp", "architecture": "unet", "encoder": spec.encoder, **stages}
    return {
        "name": "peers",
        "dataset": dataset,
        "data": {
            "batch_size": spec.batch,
            "num_workers": spec.workers,
            "augmentation": {"preset": "light"},
            **cut,
        },
        "model": model,
        "training": {
            "epochs": spec.epochs,
            "optimizer": {"type": "adamw", "learning_rate": spec.rate, "weight_decay": 0.01},
            "scheduler": "constant",
            "loss": parts,
            "metrics": ["dice"],
            "amp": spec.amp,
        },
        "inference": tile,
        "output": {"dir": spec.out + "/run"},
        "seed": spec.seed,
        "device": spec.device,
    }


def dice_of(event: Any, spec: Spec) -> float:
    """Return the mean Dice on the held-out images, for volumes without the background."""
    if spec.ndim == 2:
        return float(event.val["val_dice"] if "val_dice" in event.val else event.val["dice"])
    (scores,) = event.per_class.values()
    own = [value for name, value in scores.items() if name != "background"]
    return float(sum(own) / len(own))


def main() -> None:
    """Write the config, and run the command."""
    spec = Spec.given()
    out = Path(spec.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.yaml").write_text(yaml.safe_dump(config(spec)))
    from segcli.cli import progress

    clock, shown = Clock(spec), progress.PlainProgress.epoch

    def epoch(self: Any, event: Any) -> None:
        shown(self, event)
        clock.epoch_over(dice_of(event, spec))

    progress.PlainProgress.epoch = epoch  # type: ignore[method-assign]  # the command has no hook for others
    sys.argv = ["segcli", "train", str(out / "config.yaml")]
    from segcli.__main__ import main as command

    command()


if __name__ == "__main__":
    main()
