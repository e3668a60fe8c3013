"""Choice of the cache of decoded images for a training with `data.cache: auto`."""

from collections.abc import Sequence

from segcli.config.duration import epochs_of
from segcli.config.schema import Run
from segcli.data.loader import batch_sizes
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly

__all__ = ["with_chosen_cache"]


def with_chosen_cache(
    parts: Assembly, train: Sequence[Case], val: Sequence[Case], *, processes: int
) -> tuple[Run, str]:
    """Decide `data.cache: auto`; return the run with the choice, and the reason for no cache.

    Args:
        parts: Parts of the run; another value of `data.cache` stays.
        train: Training cases.
        val: Validation cases.
        processes: Processes that share the training, each with a cache of its own.
    """
    run = parts.run
    if run.data.cache != "auto":
        return run, ""
    reads = epochs_of(run) * sum(batch_sizes(len(train) * run.data.patches_per_image, run.data))
    if reads <= len(train):
        return _with_cache(run, "none"), "cache: none, because no image is read twice"
    found = parts.cache_forecast("memory", [*train, *val], processes)
    if found.fits_easily:
        return _with_cache(run, "memory"), ""
    needed, free = found.needed_bytes / 2**20, found.free_bytes / 2**20
    reason = f"decoded images would take {needed:,.0f} MiB of memory ({free:,.0f} MiB free)"
    return _with_cache(run, "none"), f"cache: none, because {reason}"


def _with_cache(run: Run, cache: str) -> Run:
    return run.model_copy(update={"data": run.data.model_copy(update={"cache": cache})})
