"""Multi-label segmentation: structures with separate masks that may overlap, each present or absent."""

import math

import numpy as np

from segcli.core.arrays import A, sigmoid, spread
from segcli.core.types import Array, Batch, Mask, Output
from segcli.data.samples import Sample
from segcli.tasks import Task

__all__ = ["Structures"]


class Structures(Task):
    """Sigmoid on each channel; a structure is present if its mask has a voxel.

    The mask of a structure that the network's gate predicts as absent is empty.
    """

    activation = "sigmoid"
    default_loss = "dice"
    default_metrics = ("dice", "presence_accuracy")
    evaluation_metrics = (
        "dice",
        "iou",
        "precision",
        "recall",
        "hd95",
        "assd",
        "surface_dice",
        "presence_accuracy",
        "presence_sensitivity",
        "presence_specificity",
        "presence_ece",
        "false_positive_volume",
    )
    present_only = True

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The channels of the mask, one for each structure."""
        return (Output(self.output, self.spec.num_classes),)

    @property
    def extras(self) -> tuple[Output, ...]:
        """Optional outputs of networks that predict the presence of structures."""
        count = self.spec.num_classes
        return (
            Output("presence", count, has_pixels=False),
            Output("gate", count, has_pixels=False),
            Output("attention", count),
            Output("confidence", count, has_pixels=False, follows="gate" if "confidence" in self.calibrated else None),
        )

    def targets(self, batch: Batch) -> Batch:
        """Convert masks `(B, K, *S)` and valid voxels `(B, 1, *S)` to boolean and add presence `(B, K)`.

        A structure is present if its mask has a valid voxel in this image, which may be a crop.
        """
        mask, valid = batch["mask"].movedim(-1, 1).bool(), batch["valid"].bool().unsqueeze(1)
        return {**batch, "mask": mask, "valid": valid, "presence": (mask & valid).flatten(2).any(2)}

    def probabilities(self, logits: A, presence: A | None = None) -> A:
        """Apply the sigmoid; the whole channel is 0 if a structure is predicted as absent."""
        probs = sigmoid(logits)
        return probs if presence is None else probs * spread(presence, probs)

    def presence(self, outputs: dict[str, A]) -> A | None:
        """Predict presence from the gate of the network; None if it has no gate."""
        return outputs["gate"] >= 0 if "gate" in outputs else None

    def certainty(self, outputs: dict[str, A]) -> dict[str, A]:
        """Compute the probability of presence, and the confidence in it if the loss of the run has calibrated it."""
        named = {"probability": "presence"} | ({"confidence": "confidence"} if "confidence" in self.calibrated else {})
        return {name: sigmoid(outputs[output]) for name, output in named.items() if output in outputs}

    def decide(self, probs: Array, threshold: float) -> Array:
        """Return 1 in each mask `(*S, K)` and 0 elsewhere."""
        return np.moveaxis(probs >= threshold, 0, -1).astype(np.uint8)

    def answer(self, truth: Array) -> Array:
        """Return the masks unchanged."""
        return truth

    def painted(self, answer: Array) -> Array:
        """Draw each structure in its colour on black, the last one on top."""
        return self.tinted(answer)[0]

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Return the colour of each structure and the pixels it covers, the last structure on top."""
        picture = np.zeros((*answer.shape[:-1], 3), np.uint8)
        for position, color in enumerate(self.colors):
            picture[answer[..., position] > 0] = color
        return picture, (answer > 0).max(axis=-1)

    def shares(self, answer: Array) -> dict[str, float]:
        """Compute the share of voxels of each structure."""
        shares = (answer > 0).reshape(-1, answer.shape[-1]).mean(axis=0)
        return dict(zip(self.classes, shares.tolist(), strict=True))

    @property
    def no_counts(self) -> Array:
        """Return the counts of a case without pixels: of each structure, then of all pixels."""
        return np.zeros(self.spec.num_classes + 1, np.int64)

    def counts(self, sample: Sample) -> Array | None:
        """Count the pixels of each structure, then all pixels, since structures may overlap."""
        mask = sample.maps.get(self.output)
        if mask is None:
            return None
        inside = sample.valid if "valid" in sample.maps else None
        pixels = (mask[..., number] > 0 for number in range(mask.shape[-1]))
        counts = [np.count_nonzero(each if inside is None else each & inside) for each in pixels]
        return np.array([*counts, math.prod(sample.size) if inside is None else np.count_nonzero(inside)])

    def present(self, counts: Array) -> Mask | None:
        """Tell which structures have a pixel."""
        present: Mask = counts[:-1] > 0
        return present

    def class_shares(self, counts: Array) -> dict[str, float]:
        """Compute the share of all pixels of each structure; NaN without a pixel."""
        shares = counts[:-1] / counts[-1] if counts[-1] else np.full(len(self.classes), np.nan)
        return dict(zip(self.classes, shares.tolist(), strict=True))
