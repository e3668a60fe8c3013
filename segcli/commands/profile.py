"""`segcli profile-memory`."""

from segcli.commands.locate import EXPERIMENTS
from segcli.core.gpus import Holders
from segcli.engine.gpu_processes import gpu_holders

__all__ = ["processes"]


def processes() -> Holders:
    """Who holds the memory of this machine's GPUs.

    Raises:
        DeviceError: There is no driver to ask.
    """
    return gpu_holders(EXPERIMENTS)
