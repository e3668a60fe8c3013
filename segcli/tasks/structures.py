"""Several structures, each a mask of its own that may overlap others, and each present or absent."""

import numpy as np

from segcli.core.arrays import A, sigmoid, spread
from segcli.core.types import Array, Batch, Mask, Output
from segcli.data.samples import Sample
from segcli.tasks import Task

__all__ = ["Structures"]


class Structures(Task):
    """Sigmoid on each channel; a structure is present where the network says so, or else where its mask is not empty.

    The mask of a structure that the network judges absent is empty.
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
    def outputs(self) -> tuple[Output, ...]:
        """A mask for each structure."""
        return (Output(self.output, self.spec.num_classes),)

    @property
    def extras(self) -> tuple[Output, ...]:
        """Presence, and what goes with it, of networks for structures that may be absent."""
        pixels = {"presence": False, "gate": False, "attention": True, "confidence": False}
        return tuple(Output(name, self.spec.num_classes, has_pixels) for name, has_pixels in pixels.items())

    def targets(self, batch: Batch) -> Batch:
        """Masks `(B, K, *S)`, valid voxels `(B, 1, *S)` and presence `(B, K)`, boolean.

        A structure is present where the mask of this very image, which may be a crop, has a voxel that counts.
        """
        mask, valid = batch["mask"].movedim(-1, 1).bool(), batch["valid"].bool().unsqueeze(1)
        return {**batch, "mask": mask, "valid": valid, "presence": (mask & valid).flatten(2).any(2)}

    def probabilities(self, logits: A, presence: A | None = None) -> A:
        """Sigmoid; 0 throughout where a structure was judged absent."""
        probs = sigmoid(logits)
        return probs if presence is None else probs * spread(presence, probs)

    def presence(self, outputs: dict[str, A]) -> A | None:
        """By the gate of the network, where it has one."""
        return outputs["gate"] >= 0 if "gate" in outputs else None

    def decide(self, probs: Array, threshold: float) -> Array:
        """1 in each mask `(*S, K)`, 0 elsewhere."""
        return np.moveaxis(probs >= threshold, 0, -1).astype(np.uint8)

    def answer(self, truth: Array) -> Array:
        """Masks are the answer."""
        return truth

    def painted(self, answer: Array) -> Array:
        """Each structure in its colour on black, the last on top."""
        return self.tinted(answer)[0]

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Each structure in its colour where it is found, the last on top."""
        picture = np.zeros((*answer.shape[:-1], 3), np.uint8)
        for position, color in enumerate(self.colors):
            picture[answer[..., position] > 0] = color
        return picture, (answer > 0).max(axis=-1)

    def shares(self, answer: Array) -> dict[str, float]:
        """Of each structure."""
        shares = (answer > 0).reshape(-1, answer.shape[-1]).mean(axis=0)
        return dict(zip(self.classes, shares.tolist(), strict=True))

    @property
    def no_counts(self) -> Array:
        """Counts of a case without pixels: of each structure, then of all pixels."""
        return np.zeros(self.spec.num_classes + 1, np.int64)

    def counts(self, sample: Sample) -> Array | None:
        """Count the pixels of each structure, then all pixels, since structures may overlap."""
        mask = sample.maps.get(self.output)
        return None if mask is None else np.array([*(mask[sample.valid] > 0).sum(axis=0), sample.valid.sum()])

    def present(self, counts: Array) -> Mask | None:
        """Whether each structure has a pixel."""
        present: Mask = counts[:-1] > 0
        return present

    def class_shares(self, counts: Array) -> dict[str, float]:
        """Share of all pixels that each structure has."""
        return dict(zip(self.classes, (counts[:-1] / max(counts[-1], 1)).tolist(), strict=True))
