"""Checks of `segcli resume`: what a resumed run may change, and whether its data are still the same."""

from collections.abc import Sequence
from typing import Any

import yaml

from segcli.config.schema import Run
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import plain, read_keys, shown, typed
from segcli.core.names import printable
from segcli.data.fingerprint import difference
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.training.snapshot import Snapshot
from segcli.engine.training.trainer import Trainer

__all__ = ["differing_keys", "refuse_changes", "refuse_fewer_epochs", "refuse_other_data", "warn_of_edited_config"]

FIXED = ("name", "model", "seed", "output")
"""Sections that a resumed run cannot change."""
PLACES = ("paths", "split")
"""Keys of `dataset` that say where the cases are; the fingerprint tells whether they are still the same cases."""
LOADING = ("val_batch_size", "num_workers", "pin_memory", "cache", "cache_dir")
"""Keys of `data` that change no result."""
MOST = 5
"""Largest number of edited keys in a message."""


def refuse_changes(before: Run, after: Run) -> None:
    """Refuse overrides that would make another run; the place of the data may change.

    Raises:
        ConfigError: An override changes a key that a resumed run cannot change.
    """
    changed = [key for key in FIXED if getattr(before, key) != getattr(after, key)]
    changed += differing_keys("dataset", before.dataset.model_dump(), after.dataset.model_dump(), PLACES)
    changed += differing_keys("data", before.data.model_dump(), after.data.model_dump(), LOADING)
    if before.training.gradient_accumulation_steps != after.training.gradient_accumulation_steps:
        changed.append("training.gradient_accumulation_steps")
    if after.training.minutes is not None:
        changed.append("training.minutes")
    if changed:
        raise ConfigError(
            f"a resumed run cannot change `{'`, `'.join(changed)}`",
            hint="start a new run with `segcli train` and another `name`",
        )


def differing_keys(section: str, old: dict[str, Any], new: dict[str, Any], free: Sequence[str]) -> list[str]:
    """List the keys of a section that differ, as `section.key`, except those that are `free` to."""
    return [f"{section}.{key}" for key in {**old, **new} if key not in free and old.get(key) != new.get(key)]


def refuse_fewer_epochs(run: Run, snapshot: Snapshot) -> None:
    """Refuse a number of epochs that the run already has.

    Raises:
        ConfigError: The run has more epochs than it shall be trained for.
    """
    position, epochs = snapshot.progress, run.training.epochs
    begun = position.epoch + (position.batch > 0)
    if epochs < begun:
        has = (
            f"has already trained {position.epoch} epochs"
            if begun == position.epoch
            else f"is already in epoch {begun}"
        )
        raise ConfigError(
            f"run `{run.name}` {has}, more than `training.epochs={epochs}`",
            hint=f"give a number above {position.epoch} to train on; `segcli eval RUN --checkpoint N` scores an "
            "earlier epoch that was kept",
        )


def refuse_other_data(snapshot: Snapshot, trainer: Trainer, *, moved: bool) -> None:
    """Refuse other training images, and warn of other validation images.

    Args:
        snapshot: State of the run when it stopped.
        trainer: Trainer of the resumed run.
        moved: An override names another place of the data, where validation images must be the same, too.

    Raises:
        DataError: The data are not those of the run.
    """
    for split, kind, loader in (("train", "training", trainer.train), ("val", "validation", trainer.val)):
        then, now = snapshot.dataset[split], trainer.dataset[split]
        cases = [] if loader is None else loader.cases.cases
        fact = difference(then, now, cases)
        begun = f"the {kind} images changed since the run began"
        if fact is not None and (split == "train" or moved):
            raise DataError(f"{begun} ({fact})", hint="put the data back, or start a new run")
        if fact is not None:
            trainer.listener.warn(f"{begun} ({fact}): scores before and after cannot be compared")
        elif "order" in then and then["order"] != now["order"]:
            trainer.listener.warn(
                f"the {kind} images are the same in another order: the results will differ from those of a run that "
                "never stopped"
            )


def warn_of_edited_config(folder: RunFolder, snapshot: Snapshot, run: Run, listener: Listener) -> None:
    """Warn that an edited `config.yaml` of a run has no effect.

    Args:
        folder: Run folder.
        snapshot: State of the run when it stopped, with its config.
        run: The run with overrides; an edited key that is also overridden has its effect.
        listener: Receives the warning.
    """
    if not folder.config.is_file():
        return
    checkpoint, resumed = _flat(plain(snapshot.config)), _flat(plain(run.resolved()))
    values, name = read_keys(folder.config), shown(folder.config)
    if not values:
        listener.warn(f"`{name}` cannot be read: the config in the checkpoint counts, and is written there again")
        return
    edited, missing = _flat(values), object()
    changed = [
        f"{key}={_text(edited.get(key))}"
        for key in {**edited, **checkpoint}
        if edited.get(key, missing) not in (checkpoint.get(key, missing), resumed.get(key, missing))
    ]
    if changed:
        listed = "`, `".join(printable(text, 100) for text in changed[:MOST])
        more = f" and {len(changed) - MOST} more" if len(changed) > MOST else ""
        listener.warn(
            f"`{name}` was edited, which has no effect (`{listed}`{more}): the config in the checkpoint counts; change "
            f"a key with `segcli resume {typed(folder.path)} KEY=VALUE`"
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """List values by dotted keys; lists count as one value."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    below = (_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in values.items())
    return {key: value for each in below for key, value in each.items()}


def _text(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000).partition("\n")[0]
    return text.removesuffix("...").strip()
