"""Read the run in a checkpoint, and decide where it may write: its own folder, `outputs`, and what the user names."""

from collections.abc import Sequence

from segcli.commands.locate import EXPERIMENTS, Located
from segcli.config.load import run_from_values
from segcli.config.own_code import CodePermit
from segcli.config.schema import Run, TrackerSection
from segcli.core.names import printable
from segcli.engine.checkpoint import Checkpoint
from segcli.engine.events import Listener

__all__ = ["run_of_checkpoint", "with_own_places"]

ELSEWHERE = ("folder", "uri", "mongo_url", "mode")
"""Keys of trackers that choose where a run is recorded."""


def run_of_checkpoint(
    checkpoint: Checkpoint,
    located: Located,
    overrides: Sequence[str],
    permit: CodePermit,
    listener: Listener,
) -> Run:
    """Check the run in a checkpoint, with overrides.

    Args:
        checkpoint: The checkpoint.
        located: The run folder or the file that the user named.
        overrides: `KEY=VALUE` on the run's config.
        permit: Files of the user's own code that may run, and the kinds of components that the command needs.
        listener: Receives a notice of each place that is dropped.

    Raises:
        CheckpointError: The checkpoint names a network file that may not run.
        ConfigError: A key or an override is wrong.
    """
    source = str(located.for_prediction())
    run = run_from_values(checkpoint.header["config"], overrides, source=source, permit=permit)
    permit.refuse_unused()
    return with_own_places(run, located, overrides, listener)


def with_own_places(run: Run, located: Located, overrides: Sequence[str], listener: Listener) -> Run:
    """Drop places that only the checkpoint names, such as a cache folder or a tracking server.

    A run below `outputs/experiments` belongs to the user and keeps its places. Places in overrides are kept too: the
    user typed them.

    Args:
        run: The run, with overrides applied.
        located: The run folder or checkpoint file.
        overrides: `KEY=VALUE` as typed.
        listener: Receives a notice of each place that is dropped.
    """
    if EXPERIMENTS.resolve() in located.folder.resolve().parents:
        return run
    typed = [text.partition("=")[0] for text in overrides]
    source = located.checkpoint or located.folder
    data, logging = run.data, run.logging
    if data.cache_dir is not None and not {"data", "data.cache_dir"} & set(typed):
        place = printable(str(data.cache_dir), 200)
        listener.notice(f"`data.cache_dir: {place}` in `{source}` is ignored; `data.cache_dir=FOLDER` sets a folder")
        data = data.model_copy(update={"cache_dir": None})
    if not any(key == "logging" or key.startswith("logging.trackers") for key in typed):
        trackers = [_at_home(section, str(source), listener) for section in logging.trackers]
        logging = logging.model_copy(update={"trackers": trackers})
    return run.model_copy(update={"data": data, "logging": logging})


def _at_home(section: TrackerSection, source: str, listener: Listener) -> TrackerSection:
    """Keep a tracker in the run folder."""
    kept = {key: value for key, value in section.options.items() if key not in ELSEWHERE}
    for key in section.options.keys() - kept.keys():
        place = printable(str(section.options[key]), 200)
        listener.notice(f"`{key}: {place}` of tracker `{section.type}` in `{source}` is ignored")
    return TrackerSection(type=section.type, **kept)
