"""A metric: a function of one predicted and one true mask."""

import numpy as np


def area_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Error of the area as a share of the true area; NaN where the true mask is empty."""
    if not truth.any():
        return float("nan")
    return float(abs(int(prediction.sum()) - int(truth.sum())) / truth.sum())


area_error.higher_is_better = False  # type: ignore[attr-defined]
