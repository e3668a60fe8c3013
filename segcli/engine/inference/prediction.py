"""Predicted probabilities of an image, and what follows from them. This module does not load PyTorch."""

from dataclasses import dataclass, field

import numpy as np

from segcli.core.types import Array, Mask

__all__ = ["Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Holds the prediction for an image, or for some of its rows."""

    probs: Array
    """Probabilities `(K, *S)`; for several networks, their mean."""
    every: Array
    """Probabilities `(N, K, *S)` of each of N networks, before postprocessing."""
    exclude: bool
    """True if classes exclude each other."""
    present: Mask | None = None
    """Mask `(K)`, true for each structure that the network judges present; None if the mask of pixels decides."""
    certainty: dict[str, Array] = field(default_factory=dict)
    """Probability of each presence and confidence in it, `(K)` each, as `Task.certainty`; a mean over networks."""
    inside: Mask | None = None
    """Field of view `(*S)`; None if the whole image is inside."""

    @property
    def confidence(self) -> Array:
        """Return the probability `(*S)` of the predicted class; 0 outside the field of view."""
        return self._within(self.probs.max(axis=0))

    @property
    def uncertainty(self) -> Array:
        """Return the uncertainty `(*S)` from 0 to 1; 0 outside the field of view.

        One network: entropy divided by its largest possible value. Several networks: twice the standard deviation of
        their probabilities, for the class where they differ most.
        """
        if len(self.every) > 1:
            spread: Array = 2.0 * self.every.std(axis=0).max(axis=0)
        else:
            spread = _entropy(self.every[0], exclude=self.exclude)
        return self._within(np.clip(spread, 0.0, 1.0))

    def there(self, has_voxels: Mask) -> list[bool]:
        """Tell which structures are there: the network judges them present, and they have a voxel.

        Args:
            has_voxels: True for each structure with a voxel, `(K)`.
        """
        there: list[bool] = (has_voxels if self.present is None else self.present & has_voxels).tolist()
        return there

    def _within(self, values: Array) -> Array:
        return values if self.inside is None else values * self.inside


def _entropy(probs: Array, *, exclude: bool) -> Array:
    """Compute the entropy of exclusive classes, or of the least certain of several masks; 1 where nothing is known."""
    inside = np.clip(probs, 1e-7, 1.0 - 1e-7)
    if exclude:
        entropy: Array = -(inside * np.log(inside)).sum(axis=0) / np.float32(np.log(len(probs)))
        return entropy
    single = -(inside * np.log(inside) + (1.0 - inside) * np.log(1.0 - inside)) / np.float32(np.log(2.0))
    most: Array = single.max(axis=0)
    return most
