"""Where a run out of a checkpoint writes: in its own folder and below `outputs`, unless its user says otherwise."""

from collections.abc import Sequence

from segcli.commands.locate import EXPERIMENTS, Located
from segcli.config.schema import Run, TrackerSection
from segcli.core.names import printable
from segcli.engine.events import Listener

__all__ = ["with_own_places"]

ELSEWHERE = ("folder", "uri", "mongo_url", "mode")
"""Keys of trackers that say where a run is told of."""


def with_own_places(run: Run, located: Located, overrides: Sequence[str], listener: Listener) -> Run:
    """Give the run without places that only its checkpoint names, such as a cache folder or a tracking server.

    A run below `outputs/experiments` is the user's own, and what an override says he says himself; both keep theirs.

    Args:
        run: The run, overrides applied.
        located: Where its checkpoint lies.
        overrides: `KEY=VALUE` as typed.
        listener: Hears of each place that is left out.
    """
    if EXPERIMENTS.resolve() in located.folder.resolve().parents:
        return run
    typed = [text.partition("=")[0] for text in overrides]
    source = located.checkpoint or located.folder
    data, logging = run.data, run.logging
    if data.cache_dir is not None and not {"data", "data.cache_dir"} & set(typed):
        said = printable(str(data.cache_dir), 200)
        listener.notice(f"`data.cache_dir: {said}` in `{source}` does not count; `data.cache_dir=FOLDER` chooses one")
        data = data.model_copy(update={"cache_dir": None})
    if not any(key == "logging" or key.startswith("logging.trackers") for key in typed):
        trackers = [_at_home(section, str(source), listener) for section in logging.trackers]
        logging = logging.model_copy(update={"trackers": trackers})
    return run.model_copy(update={"data": data, "logging": logging})


def _at_home(section: TrackerSection, source: str, listener: Listener) -> TrackerSection:
    """Give a tracker that records in the run folder."""
    kept = {key: value for key, value in section.options.items() if key not in ELSEWHERE}
    for key in section.options.keys() - kept.keys():
        said = printable(str(section.options[key]), 200)
        listener.notice(f"`{key}: {said}` of tracker `{section.type}` in `{source}` does not count")
    return TrackerSection(type=section.type, **kept)
