"""Number of small images that share a call of the network. This module does not load PyTorch."""

import math

__all__ = ["MANY", "most_at_once"]

PIXELS = 2**15
"""Most pixels of the images of a call; from about as many on, a call gains nothing by further images."""
MOST = 8
"""Most images of a call."""
MANY = 64
"""Images that pay for a trial whether those of one shape may share calls; it costs about as much as 15 of them."""


def most_at_once(size: tuple[int, ...]) -> int:
    """Count the 2D images of a size for one call of the network.

    Example:
        >>> [most_at_once((side, side)) for side in (32, 64, 96, 128, 192)]
        [8, 8, 3, 2, 1]
    """
    return max(min(PIXELS // math.prod(size), MOST), 1)
