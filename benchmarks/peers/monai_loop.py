"""Train the U-Net of segcli in MONAI's usual loop: dictionary transforms, `CacheDataset`, its losses and its scores.

Run by run.py, in an environment with MONAI, nibabel and Pillow.
"""

from typing import Any

from _shared import MEAN, STD, Spec, begin, fit, loading, pairs, unet
from monai import transforms as t
from monai.data import CacheDataset, DataLoader, decollate_batch, list_data_collate
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss, DiceLoss
from monai.metrics import DiceMetric
from monai.utils import set_determinism
from torch.nn import BCEWithLogitsLoss

BOTH = ["image", "label"]


def steps(spec: Spec, split: str) -> list[Any]:
    """List the transforms of a split, the random ones last, so that `CacheDataset` keeps what is before them."""
    fixed: list[Any] = [t.LoadImaged(BOTH), t.EnsureChannelFirstd(BOTH)]
    if spec.ndim == 2:
        fixed += [
            t.ScaleIntensityRanged(BOTH, 0.0, 255.0, 0.0, 1.0),
            t.NormalizeIntensityd("image", subtrahend=MEAN, divisor=STD, channel_wise=True),
        ]
        drawn = [
            t.RandFlipd(BOTH, prob=0.5, spatial_axis=0),
            t.RandScaleIntensityd("image", 0.15, prob=0.5),
            t.RandShiftIntensityd("image", 0.15, prob=0.5),
        ]
    else:
        fixed += [t.Orientationd(BOTH, axcodes="RAS", labels=None), t.NormalizeIntensityd("image")]
        cut = t.RandCropByPosNegLabeld(
            BOTH, "label", [spec.patch] * 3, pos=1, neg=1, num_samples=spec.patches, image_key="image"
        )
        drawn = [cut, t.RandGaussianNoised("image", prob=1.0, std=0.02), t.RandScaleIntensityd("image", 0.1, prob=1.0)]
    return [*fixed, *(drawn if split == "train" else [])]


class Batches:
    """Reads pairs of image and mask with MONAI's loader."""

    def __init__(self, spec: Spec, split: str) -> None:
        files = [{"image": image, "label": label} for image, label in pairs(spec, split)]
        cached = CacheDataset(files, t.Compose(steps(spec, split)), num_workers=None, progress=False)
        crops = spec.patches if spec.ndim == 3 else 1  # the loader joins the crops of its volumes
        size = spec.batch // crops if split == "train" else 1
        assert size or split != "train"
        self.loader = DataLoader(
            cached,
            batch_size=size,
            shuffle=split == "train",
            collate_fn=list_data_collate,
            **loading(spec),
        )

    def __iter__(self) -> Any:
        """Yield batches."""
        for batch in self.loader:
            yield batch["image"], batch["label"]


def main() -> None:
    """Train."""
    spec = Spec.given()
    begin(spec)
    set_determinism(spec.seed)
    measure = DiceMetric(include_background=spec.ndim == 2, reduction="none")
    classes = 1 if spec.ndim == 2 else 3
    sharp = t.Compose([t.Activations(sigmoid=True), t.AsDiscrete(threshold=0.5)])
    if spec.ndim == 3:
        sharp = t.AsDiscrete(argmax=True, to_onehot=classes)
    label = t.AsDiscrete(to_onehot=classes if spec.ndim == 3 else None)
    bce, soft = BCEWithLogitsLoss(), DiceLoss(sigmoid=True)
    both = DiceCELoss(to_onehot_y=True, softmax=True)

    def loss(logits: Any, mask: Any) -> Any:
        return both(logits, mask) if spec.ndim == 3 else 0.5 * bce(logits, mask) + 0.5 * soft(logits, mask)

    def dice(logits: Any, mask: Any) -> list[float]:
        scores = measure([sharp(x) for x in decollate_batch(logits)], [label(x) for x in decollate_batch(mask)])
        measure.reset()
        means: list[float] = scores.mean(1).tolist()
        return means

    def sliding(network: Any, image: Any) -> Any:
        return sliding_window_inference(image, [spec.patch] * 3, 4, network, overlap=0.25, mode="gaussian")

    network = unet(spec.ndim, 3 if spec.ndim == 2 else 1, classes, spec.depths)
    infer = sliding if spec.ndim == 3 else None
    fit(spec, network, Batches(spec, "train"), Batches(spec, "val"), loss=loss, dice=dice, infer=infer)


if __name__ == "__main__":
    main()
