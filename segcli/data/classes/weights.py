"""Class weights that compensate for how often each class occurs."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from segcli.core.kept import read_kept, write_kept
from segcli.core.types import Array
from segcli.data.samples import Case

__all__ = ["BETA", "SCHEMES", "Scheme", "class_pixels", "class_weights"]

Scheme = Literal["none", "inverse", "median_frequency", "effective_number"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
BETA = 0.9999999
"""Beta of the effective number: beyond about ten million pixels, a class gets hardly more weight."""


class _Reader(Protocol):
    def truth_of(self, case: Case) -> Array: ...


def class_weights(scheme: Scheme, pixels: Array, *, beta: float = BETA) -> list[float]:
    """Compute the weight of each class from its pixels in the training masks; 0 for a class that does not occur.

    - `inverse`: `N / (K n_k)` for `n_k` of `N` pixels; the mean weight over all pixels is 1.
    - `median_frequency`: median frequency over the frequency of the class, which is its share of the pixels of the
      images in which it occurs (Eigen and Fergus 2015, https://arxiv.org/abs/1411.4734).
    - `effective_number`: `(1 - beta) / (1 - beta^n_k)`, scaled to a sum of K (Cui et al. 2019,
      https://arxiv.org/abs/1901.05555).

    Args:
        scheme: Name of the formula.
        pixels: Valid pixels of each class in each image, `(N, K)`.
        beta: Beta of `effective_number`.

    Example:
        >>> class_weights("inverse", np.array([[30, 10], [0, 0]]))
        [0.6666666666666666, 2.0]
    """
    total = pixels.sum(axis=0).astype(float)
    here = total > 0
    weights = np.zeros(len(total))
    if scheme == "none" or not here.any():
        return [1.0] * len(total)
    if scheme == "inverse":
        weights[here] = total.sum() / (here.sum() * total[here])
    elif scheme == "median_frequency":
        around = ((pixels > 0) * pixels.sum(axis=1, keepdims=True)).sum(axis=0)
        frequency = total[here] / around[here]
        weights[here] = np.median(frequency) / frequency
    else:
        weights[here] = (1.0 - beta) / -np.expm1(total[here] * np.log(beta))
        weights *= here.sum() / weights.sum()
    found: list[float] = weights.tolist()
    return found


def class_pixels(reader: _Reader, cases: Sequence[Case], num_classes: int, cache: Path | None = None) -> Array:
    """Count the valid pixels of each class in each image, `(N, K)` int64; the file `cache` keeps the counts.

    Raises:
        DataError: A mask cannot be read.
    """
    counts = None if cache is None else _kept(cache)
    if counts is not None and counts.shape == (len(cases), num_classes):
        return counts

    with ThreadPoolExecutor() as pool:  # decoders release the interpreter lock
        pixels = np.stack(list(pool.map(reader.truth_of, cases)))
    if cache is not None:
        write_kept(cache, {"pixels": pixels.tolist()})
    return pixels


def _kept(cache: Path) -> Array | None:
    """Read the counts of a cache; None if there is no file, or a damaged one."""
    try:
        return np.array((read_kept(cache) or {})["pixels"], np.int64)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
