"""What several processes, or GPUs, that share a run ask of it."""

from segcli.config.document import Document, Problem
from segcli.config.schema import Run
from segcli.core.errors import ConfigError

__all__ = ["check_shards", "refuse_fewer_images"]


def refuse_fewer_images(run: Run, processes: int) -> None:
    """Refuse batches with fewer images than processes.

    Raises:
        ConfigError: A process would have no image.
    """
    batch_size = run.data.batch_size
    if batch_size < processes:
        raise ConfigError(
            f"`data.batch_size` is {batch_size}, and {processes} processes share each batch",
            hint=f"set `data.batch_size={processes}` or more, or start {batch_size} process{'es' * (batch_size != 1)}",
        )


def check_shards(run: Run, document: Document) -> None:
    """Report keys that do not work with `training.strategy: fsdp`."""
    if run.training.strategy != "fsdp":
        return
    training = run.training
    for loc, value, refused, why in (
        (("debug", "on_oom"), run.debug.on_oom, {"halve"}, "gradients that are shared out cannot be taken back"),
        (("training", "validate_on"), training.validate_on, {"cpu"}, "it takes a copy of the whole network"),
        (("training", "amp"), training.amp, {"fp16"}, "there is no loss scale for shares of a network"),
        (("training", "minutes"), training.minutes, {training.minutes} - {None}, "steps are timed on a copy of it"),
    ):
        if value in refused:
            message = f"is `{value}`, which does not work with `training.strategy: fsdp`: {why}"
            document.problems.append(
                Problem(document.origin(loc), ".".join(loc), message, "leave it out, or set `training.strategy=ddp`")
            )
