"""Make a class or function of the user's own a metric."""

import inspect
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segcli.core.errors import ConfigError
from segcli.core.own_code import Code, accepted, blame, blamed, called, is_called, of_contract, options_of, refuse_kind
from segcli.core.types import Array, ConfigModel
from segcli.metrics import Metric, Scored

__all__ = ["adapted"]

NAMED = ("spacing", "probs")
"""Arguments that a metric gets if it takes them."""


def adapted(found: Any, code: Code) -> type[Metric]:
    """Make `found` a metric: a subclass of `Metric`, or a class or function called with one mask of one image.

    It is called with `(prediction, truth)`, both boolean arrays `(*S)` in which pixels that do not count are False, for
    each class, and returns a number; NaN where it is not defined. If it takes them, it gets `spacing`, in millimetres,
    and `probs`, the probabilities `(*S)`. An attribute `higher_is_better = False` says that lower is better.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.isclass(found) and issubclass(found, Metric):
        kind: type[Metric] = of_contract(found, code, contract=Metric)
        blame(kind, "statistics", code)
        return kind
    if is_called(found):
        return _wrapped(found, code)
    raise refuse_kind(code, found, "a subclass of `Metric`, or is called with `(prediction, truth)`")


def _wrapped(found: Any, code: Code) -> type[Metric]:
    is_class = inspect.isclass(found)
    takes = accepted(found.__call__ if is_class else found, NAMED)

    class Own(Metric):
        """A metric of the user's own; its statistics are the value, 1 if it is defined, and the true pixels."""

        Config = options_of(found, code) if is_class else options_of(found, code, given=2, program=NAMED)
        costly = True
        needs_pixels = True
        higher_is_better = bool(getattr(found, "higher_is_better", True))
        perfect = float(getattr(found, "perfect", 1.0 if higher_is_better else 0.0))

        def __init__(self, config: ConfigModel) -> None:
            super().__init__(config)
            with blamed(code):
                self.own = called(found, config)

        def statistics(self, scored: Scored) -> Tensor:
            """Compute value, definedness and true pixels `(B, K, 3)`."""
            found_masks, true_masks = scored.masks
            probs = scored.probs.float().cpu().numpy() if "probs" in takes else found_masks
            rows = [
                [self._row(*masks, spacing=scored.spacing) for masks in zip(*image, strict=True)]
                for image in zip(found_masks, true_masks, probs, strict=True)
            ]
            device = scored.probs.device
            precise = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
            return torch.tensor(rows, dtype=precise, device=device)

        def _row(
            self, prediction: Array, truth: Array, probs: Array, *, spacing: tuple[float, ...]
        ) -> tuple[float, float, float]:
            named = {"spacing": spacing, "probs": probs}
            with blamed(code):
                value = float(self.own(prediction, truth, **{name: named[name] for name in takes}))
            if math.isinf(value):
                raise ConfigError(
                    f"metric `{code.shown}` gives {value}", hint="return `float('nan')` where it is not defined"
                )
            defined = not math.isnan(value)
            return (value if defined else 0.0, float(defined), float(truth.sum()))

        def values(self, statistics: Array) -> Array:
            """Return the value of one image; NaN for the sum of several images."""
            return np.where(statistics[..., 1] == 1.0, statistics[..., 0], np.nan)

        def true_pixels(self, statistics: Array) -> Array:
            """Return the pixels of the true mask."""
            pixels: Array = statistics[..., 2]
            return pixels

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own
