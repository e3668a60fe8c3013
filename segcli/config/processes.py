"""What several processes, or GPUs, that share a run ask of it."""

from segcli.config.schema import Run
from segcli.core.errors import ConfigError

__all__ = ["refuse_fewer_images"]


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
