"""What several processes, or GPUs, that share a run ask of it."""

from segcli.config.document import Document, Problem
from segcli.config.schema import Run
from segcli.core.errors import ConfigError

__all__ = ["check_shards", "check_slots", "refuse_fewer_images"]

Key = tuple[str, str]
"""Section and name of a key."""


def refuse_fewer_images(run: Run, processes: int) -> None:
    """Refuse batches with fewer images, or slots, than processes.

    Raises:
        ConfigError: A process would have no image.
    """
    batch_size = run.data.batch_size
    if batch_size < processes:
        raise ConfigError(
            f"`data.batch_size` is {batch_size}, and {processes} processes share each batch",
            hint=f"set `data.batch_size={processes}` or more, or start {batch_size} process{'es' * (batch_size != 1)}",
        )
    size = run.data.slot_size
    slots = -(-batch_size // size)
    if run.training.reduce == "exact" and slots < processes:
        raise ConfigError(
            f"`data.batch_size: {batch_size}` with `data.slot_size: {size}` has {slots} slot{'s' * (slots != 1)}, and "
            f"{processes} processes share each batch",
            hint=f"set `data.slot_size={batch_size // processes}`, or start {slots} process{'es' * (slots != 1)}",
        )


def check_shards(run: Run, document: Document) -> None:
    """Report keys that do not work with `training.strategy: fsdp`."""
    if run.training.strategy == "fsdp":
        _refuse(
            run,
            document,
            ("training", "strategy"),
            "ddp",
            {
                ("debug", "on_oom"): ("halve", "gradients that are shared out cannot be taken back"),
                ("training", "validate_on"): ("cpu", "it takes a copy of the whole network"),
                ("training", "amp"): ("fp16", "there is no loss scale for shares of a network"),
                ("training", "minutes"): (run.training.minutes or 0.0, "steps are timed on a copy of it"),
            },
        )


def check_slots(run: Run, document: Document) -> None:
    """Report keys that do not work with `training.reduce: exact`."""
    if run.training.reduce != "exact":
        return
    _refuse(
        run,
        document,
        ("training", "reduce"),
        "fast",
        {
            ("training", "strategy"): ("fsdp", "gradients are added as they are shared out"),
            ("training", "compile"): (True, "compiled code adds in another order for another number of images"),
            ("training", "amp"): ("fp16", "it works on CPUs, which do not train in fp16"),
            ("training", "sync_batchnorm"): (False, "the statistics would depend on the number of processes"),
            ("debug", "on_oom"): ("halve", "the slots have one size"),
        },
    )
    size, batch_size = run.data.slot_size, run.data.batch_size
    if size > batch_size and not run.data.fit_batch_size:
        message = f"is {size}, and a batch has {batch_size} image{'s' * (batch_size != 1)}"
        document.problems.append(
            Problem(
                document.origin(("data", "slot_size")), "data.slot_size", message, f"set `data.slot_size={batch_size}`"
            )
        )


def _refuse(run: Run, document: Document, switch: Key, other: str, keys: dict[Key, tuple[object, str]]) -> None:
    """Report keys that do not work with the value of a switch.

    Args:
        run: The run.
        document: Receives the problems.
        switch: Section and name of the switch.
        other: Value of the switch with which all keys work.
        keys: The value that does not work, and the reason, for each key.
    """

    def value_of(key: Key) -> object:
        section, name = key
        return getattr(getattr(run, section), name)

    name = ".".join(switch)
    for key, (chosen, why) in keys.items():
        found = value_of(key)
        if found == chosen and type(found) is type(chosen):  # 1 is not `true`
            word = str(chosen).lower()
            message = f"is `{word}`, which does not work with `{name}: {value_of(switch)}`: {why}"
            hint = f"leave it out, or set `{name}={other}`"
            document.problems.append(Problem(document.origin(key), ".".join(key), message, hint))
