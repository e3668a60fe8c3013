"""Multi-label segmentation: structures with separate masks that may overlap, each present or absent."""

from typing import TYPE_CHECKING

import numpy as np

from segcli.core.types import Array, Batch, Mask, Outputs
from segcli.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Structures"]


class Structures(Task):
    """Sigmoid on each channel; a structure is present if the network's gate, or else a non-empty mask, says so.

    The mask of a structure that the network predicts as absent is empty.
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
        "false_positive_volume",
    )
    present_only = True

    @property
    def outputs(self) -> dict[str, int]:
        """The channels of the mask, one for each structure."""
        return {"mask": self.spec.num_classes}

    @property
    def extras(self) -> dict[str, int]:
        """Optional outputs of networks that predict the presence of structures."""
        return dict.fromkeys(("presence", "gate", "attention", "confidence"), self.spec.num_classes)

    def targets(self, batch: Batch) -> Batch:
        """Convert masks `(B, K, *S)` and valid voxels `(B, 1, *S)` to boolean and add presence `(B, K)`.

        A structure is present if its mask has a valid voxel in this image, which may be a crop.
        """
        mask, valid = batch["mask"].movedim(-1, 1).bool(), batch["valid"].bool().unsqueeze(1)
        return {**batch, "mask": mask, "valid": valid, "presence": (mask & valid).flatten(2).any(2)}

    def probabilities(self, logits: "Tensor", presence: "Tensor | None" = None) -> "Tensor":
        """Apply the sigmoid; the whole channel is 0 if a structure is predicted as absent."""
        probs = logits.float().sigmoid()
        return probs if presence is None else probs * presence.view(*presence.shape, *[1] * (probs.ndim - 2))

    def presence(self, outputs: Outputs) -> "Tensor | None":
        """Predict presence from the gate of the network; None if it has no gate."""
        return outputs["gate"] >= 0 if "gate" in outputs else None

    def presence_of(self, outputs: dict[str, Array]) -> Mask | None:
        """Predict presence from the mean gate probability of the networks that have a gate."""
        if "gate" not in outputs:
            return None
        # tanh(gate / 2) = 2 sigmoid(gate) - 1, which keeps the sign of a single gate, however small
        present: Mask = np.tanh(outputs["gate"].astype(np.float64) / 2).sum(axis=0) >= 0
        return present

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
