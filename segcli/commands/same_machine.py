"""Compare the machine, the software and the keys of a resumed run with those it began with, and set the threads back.

On the CPU, a resumed run gives the bits of one that never stopped, but only with the same number of threads, the same
PyTorch and the same kind of processor, because sums of floating-point numbers depend on their order.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeGuard

import torch

from segcli.commands.resuming import differing_keys
from segcli.config.schema import Run, Training
from segcli.core.files import plain
from segcli.core.processor import usable_processors
from segcli.engine.events import Listener
from segcli.engine.training.trainer import Trainer

__all__ = ["set_threads_back", "tell_of_another_machine", "tell_of_other_keys"]

HARMLESS = ("epochs", "metrics", "val_interval", "validate_on", "memory_cleanup_frequency", "early_stopping")
"""Keys of `training` that do not change how the weights are trained."""
DECIDING = ("debug.on_nan", "debug.on_oom")
"""Keys outside `training` that change how the weights are trained."""


def set_threads_back(before: dict[str, Any], listener: Listener, processes: int = 1) -> None:
    """Compute with as many threads as the run did, if there are as many processors; this must precede all computing.

    On another number of processes, the sums have another order anyway.

    Args:
        before: The environment of the run so far.
        listener: Receives a notice if the number changes.
        processes: Number of processes now.
    """
    if (before.get("processes") or 1) != processes:
        return
    threads, here = before.get("threads"), torch.get_num_threads()
    if before.get("device") != "cpu" or not _is_count(threads) or not here != threads <= usable_processors():
        return
    torch.set_num_threads(threads)
    listener.notice(f"computing with {_threads(threads)}, as the run did before (here: {here}), for the same bits")


def tell_of_another_machine(
    before: dict[str, Any], now: dict[str, Any], training: Training, listener: Listener
) -> None:
    """Warn in one line of all that differs and can change results.

    Args:
        before: The environment of the run so far.
        now: The environment of this process.
        training: Section `training` of the run.
        listener: Receives the warning.
    """
    if not before:
        listener.warn(
            "the run folder has no readable `environment.yaml`: if machine, PyTorch or number of threads changed, "
            "results may differ from those of a run that never stopped"
        )
        return
    facts = list(_differences(before, now, counts=training.reduce == "fast"))
    amp = training.amp  # it can mean another precision here
    if before.get("precision", now["precision"]) != now["precision"] and amp in ("auto", True):
        word = str(amp).lower()
        facts.append(f"`training.amp: {word}` meant {before['precision']} and now means {now['precision']}")
    if facts:
        listener.warn(f"results may differ from those of a run that never stopped: {'; '.join(facts)}")


def _differences(before: dict[str, Any], now: dict[str, Any], *, counts: bool = True) -> Iterator[str]:
    """List what differs; what an older version did not note down counts as the same.

    Args:
        before: As in `tell_of_another_machine`.
        now: As in `tell_of_another_machine`.
        counts: True if the number of processes counts.
    """
    for name, version in now["packages"].items():
        old = (before.get("packages") or {}).get(name, version)
        if old != version:
            yield f"{'PyTorch' if name == 'torch' else name} {old} before, {version} now"
    for key, what in (("device", "device"), ("processor", "processor"), ("gpu", "GPU")):
        old, new = before.get(key), now.get(key)
        if old and new and old != new:
            yield f"{what} {_described(old)} before, {_described(new)} now"
    old, new = (each.get("processes") or 1 for each in (before, now))
    if old != new:
        if not counts:
            return
        yield f"{old} process{'es' * (old != 1)} before, {new} now"
        return
    old, threads = before.get("threads"), now["threads"]
    if now["device"] == "cpu" and _is_count(old) and old != threads:
        yield f"{_threads(old)} before, {threads} now on {usable_processors()} processors"


def _described(value: Any) -> str:
    return ", ".join(str(each) for each in value.values()) if isinstance(value, dict) else str(value)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count != 1)}"


def tell_of_other_keys(before: Run, trainer: Trainer) -> None:
    """Tell in one line of changed keys after which the run is no longer the one that never stopped.

    Args:
        before: The run as the checkpoint has it.
        trainer: Trainer of the resumed run, at the place where it goes on.
    """
    run = trainer.run
    old, new = (plain(each.training.model_dump()) for each in (before, run))
    keys = differing_keys("training", old, new, HARMLESS)
    keys += [key for key in DECIDING if _at(before, key) != _at(run, key)]
    if before.training.epochs != run.training.epochs and _schedule_moves(before, trainer):
        keys.append("training.epochs")
    if keys:
        trainer.listener.notice(
            f"`{'`, `'.join(keys)}` changed: from here on, results differ from those of a run that never stopped"
        )


def _at(run: Run, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(run, section), name)


def _schedule_moves(before: Run, trainer: Trainer) -> bool:
    """Tell if the steps so far would have had other learning rates with the new number of epochs."""
    now, steps = trainer.schedule, trainer.progress.step
    horizon = replace(now.horizon, epochs=before.training.epochs)
    then = trainer.run.training.scheduler.build(base_lr=now.base_lr, horizon=horizon)
    return any(then.rate(step) != now.rate(step) for step in range(0, steps, max(steps // 16, 1)))
