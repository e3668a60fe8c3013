"""Train a U-Net with bare PyTorch: plain, or with bf16, channels-last and kept memory (`tricks`).

Run by run.py, in the environment of segcli.
"""

from typing import Any

import numpy as np
import torch
from _shared import Spec, begin, fit, loading, pairs, pictures, unet, windows
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset


class Volumes(Dataset[tuple[Any, Any]]):
    """Reads volumes once and keeps them; cuts random crops in training, half of them on a class drawn by chance."""

    def __init__(self, spec: Spec, split: str) -> None:
        import nibabel

        self.patch = spec.patch if split == "train" else None
        self.patches = spec.patches if split == "train" else 1
        stored = nibabel.Nifti1Image.from_filename
        self.read = [tuple(np.asarray(stored(path).dataobj) for path in pair) for pair in pairs(spec, split)]
        self.read = [((image - image.mean()) / image.std(), mask) for image, mask in self.read]
        self.rng = np.random.default_rng(spec.seed)

    def __len__(self) -> int:
        """Return the number of crops in an epoch."""
        return len(self.read) * self.patches

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Cut and augment a crop."""
        image, mask = self.read[index % len(self.read)]
        if self.patch is not None:
            centre = self.rng.integers(0, image.shape)
            if self.rng.random() < 0.5:
                classes = np.unique(mask[mask > 0])
                inside = np.argwhere(mask == self.rng.choice(classes))
                centre = inside[self.rng.integers(len(inside))]
            most = [length - self.patch for length in image.shape]
            corner = np.clip(centre - self.patch // 2, 0, most)
            window = tuple(slice(start, start + self.patch) for start in corner)
            image, mask = image[window] * self.rng.uniform(0.9, 1.1), mask[window]
            image = image + self.rng.normal(0.0, 0.02, image.shape)
        return torch.from_numpy(image.astype(np.float32))[None], torch.from_numpy(mask.astype(np.int64))


def bce_and_dice(logits: Any, mask: Any) -> Any:
    """Add half of each, for one mask."""
    probs = logits.sigmoid()
    overlap, total = (probs * mask).sum((1, 2, 3)), probs.sum((1, 2, 3)) + mask.sum((1, 2, 3))
    soft = (1 - (2 * overlap + 1) / (total + 1)).mean()
    return 0.5 * functional.binary_cross_entropy_with_logits(logits, mask) + 0.5 * soft


def cross_entropy_and_dice(logits: Any, mask: Any) -> Any:
    """Add both, for exclusive classes."""
    probs, truth = logits.softmax(1), functional.one_hot(mask, logits.shape[1]).movedim(-1, 1)
    overlap, total = (probs * truth).flatten(2).sum(2), probs.flatten(2).sum(2) + truth.flatten(2).sum(2)
    return functional.cross_entropy(logits, mask) + (1 - (2 * overlap + 1) / (total + 1)).mean()


def dice_of_mask(logits: Any, mask: Any) -> list[float]:
    """Return the Dice of each picture."""
    found = logits >= 0
    both = (found & (mask > 0)).sum((1, 2, 3))
    scores: list[float] = (2 * both / (found.sum((1, 2, 3)) + mask.sum((1, 2, 3)))).tolist()
    return scores


def dice_of_classes(logits: Any, mask: Any) -> list[float]:
    """Return the mean Dice of the structures of each volume."""
    found, scores = logits.argmax(1), []
    for each, truth in zip(found, mask, strict=True):
        parts = [(each == k, truth == k) for k in range(1, logits.shape[1])]
        scores.append(sum(float(2 * (a & b).sum() / (a.sum() + b.sum())) for a, b in parts) / len(parts))
    return scores


def main() -> None:
    """Train."""
    spec = Spec.given()
    begin(spec)
    if spec.tricks and not spec.on_gpu:
        from segcli.core.heap import keep_freed_memory
        from segcli.core.process import command_line

        with command_line():  # only a command keeps freed memory
            assert keep_freed_memory()
    if spec.ndim == 2:
        train, val = pictures(spec, "train"), pictures(spec, "val")
        fit(spec, unet(2, 3, 1, spec.depths), train, val, loss=bce_and_dice, dice=dice_of_mask)
        return
    train = DataLoader(Volumes(spec, "train"), spec.batch, shuffle=True, **loading(spec))
    val = DataLoader(Volumes(spec, "val"), 1, **loading(spec))

    def sliding(network: Any, image: Any) -> Any:
        total = torch.zeros(len(image), 3, *image.shape[2:], device=image.device)
        count = torch.zeros(image.shape[2:], device=image.device)
        assert spec.patch is not None
        for window in windows(image.shape[2:], spec.patch):
            total[(slice(None), slice(None), *window)] += network(image[(slice(None), slice(None), *window)]).float()
            count[window] += 1
        return total / count

    network = unet(3, 1, 3, spec.depths)
    fit(spec, network, train, val, loss=cross_entropy_and_dice, dice=dice_of_classes, infer=sliding)


if __name__ == "__main__":
    main()
