"""Check for losses that are NaN or infinite, without a wait for the GPU in the training loop."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segcli.core.errors import DataError

__all__ = ["FiniteGuard"]


@dataclass
class _Pending:
    flag: Tensor
    ready: Any
    place: str


class FiniteGuard:
    """Checks that each loss is finite: at once on the CPU; on a GPU as soon as its copy has arrived."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pending: list[_Pending] = []

    def watch(self, loss: Tensor, place: str) -> None:
        """Check the loss of the batch that `place` names.

        Raises:
            DataError: This loss, or on a GPU an earlier loss, is not finite.
        """
        flag = loss.detach().isfinite()
        if self.device.type != "cuda":
            self._judge(flag, place)
            return
        copy = torch.empty((), dtype=torch.bool, pin_memory=True)
        copy.copy_(flag, non_blocking=True)
        ready: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        self.pending.append(_Pending(copy, ready, place))
        self._settle(wait=False)

    def settle(self) -> None:
        """Wait for the check of all losses so far; called before anything is saved.

        Raises:
            DataError: One of the losses is not finite.
        """
        self._settle(wait=True)

    def _settle(self, *, wait: bool) -> None:
        while self.pending and (wait or self.pending[0].ready.query()):
            first = self.pending.pop(0)
            first.ready.synchronize()
            self._judge(first.flag, first.place)

    @staticmethod
    def _judge(flag: Tensor, place: str) -> None:
        if not bool(flag):
            raise DataError(
                f"the loss is not finite in {place}",
                hint="look at these images, lower the learning rate, set `training.amp=off`, or "
                "`debug.on_nan=skip` to skip such batches",
            )
