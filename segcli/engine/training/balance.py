"""Class weights, computed once from the training masks and written to the run's config."""

import hashlib
from pathlib import Path
from typing import Any

from segcli.config.schema import LossPart, Run
from segcli.data.classes.class_list import class_names
from segcli.data.classes.weights import SCHEMES, class_pixels, class_weights
from segcli.data.fingerprint import fingerprint
from segcli.datasets import Layout
from segcli.engine.events import Listener

__all__ = ["with_class_weights"]


def with_class_weights(run: Run, listener: Listener, *, keep: bool = True) -> Run:
    """Replace methods such as `class_weights: inverse` by the computed numbers.

    So a resumed run, or an evaluation on another machine, uses exactly the same weights and needs no training masks.

    Args:
        run: The run.
        listener: Receives the weights as a notice.
        keep: Cache the pixel counts in a file, so that the next run does not count again.

    Raises:
        DataError: A training mask cannot be read.
    """
    loss = dict(run.training.loss)
    for name, part in run.training.loss.items():
        if part.class_weights in SCHEMES and part.class_weights != "none":
            loss[name] = _weighted(run, part, listener, keep=keep)
    return run.model_copy(update={"training": run.training.model_copy(update={"loss": loss})})


def _weighted(run: Run, part: LossPart, listener: Listener, *, keep: bool) -> LossPart:
    layout: Layout = run.dataset.build()
    cases = layout.cases("train")
    digest = hashlib.sha256(f"{run.dataset.model_dump_json()}|{fingerprint(cases)['digest']}".encode()).hexdigest()[:16]
    cache = (run.data.cache_dir or Path("outputs") / "cache") / f"class_pixels_{digest}.json"
    counts_masks = "mask" in layout.truths  # classes of whole images are not stored in masks and are fast to count
    pixels = class_pixels(layout, cases, run.dataset.num_classes, cache if keep and counts_masks else None)
    options = part.options
    scheme: Any = part.class_weights
    weights = class_weights(scheme, pixels, **({"beta": options["beta"]} if "beta" in options else {}))
    names = class_names(run.dataset.spec)
    listed = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
    what = "masks" if counts_masks else "images"
    listener.notice(f"class weights ({scheme}, from {len(cases)} training {what}): {listed}")
    for name in (name for name, weight in zip(names, weights, strict=True) if weight == 0):
        listener.warn(f"class `{name}` does not occur in the training {what}: its weight is 0")
    return LossPart.model_validate({**part.model_dump(), "class_weights": weights})
