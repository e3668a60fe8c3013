"""One of several processes of a command: the first one prints, and one of them tells a mistake that ends them all."""

import json
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from segcli.core.errors import SegcliError
from segcli.core.platform import die_with_parent
from segcli.core.ranks import LOST, Place

__all__ = ["Member"]

LATER_S = 3.0
"""Seconds in which the first process may tell a mistake before another one that has not met it does."""
LOST_S = 1.5
"""Seconds until a process ends that has lost another one, so that the cause ends first."""


class Member:
    """Output and end of one process.

    Args:
        place: Place of this process among the others.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.shown = sys.stderr
        """Where a mistake is told, also when nothing else is printed."""

    def begin(self) -> None:
        """Silence every process but the first, and end with whoever started them."""
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        die_with_parent(None, LOST)
        if self.place.folder is not None and self.place.restarts:
            self._end_if_in_vain()
        if self.place.rank:
            # never closed: the streams last as long as the process
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115

    def mistake(self, error: SegcliError) -> NoReturn:
        """Tell a user's mistake, unless another process has told one, and end."""
        told = type(error)(f"{self.place.name}: {error.message}", hint=error.hint)
        if self.place.folder is not None:
            self._leave(error.exit_code, told.message, told.hint)
        elif self._is_first_to_tell("mistake"):
            from segcli.cli import console

            sys.stderr = self.shown
            console.error(told)
        self.end(error.exit_code)

    def bug(self, error: BaseException) -> NoReturn:
        """Show the traceback of a bug, unless another process has; end in silence if another process was lost."""
        from segcli.engine.world import was_lost

        if was_lost(error):
            time.sleep(LOST_S)
            self.end(LOST)
        if self._is_first_to_tell("bug"):
            self.shown.write(f"{self.place.name}:\n{''.join(traceback.format_exception(error))}")
        self.end(1)

    def end(self, code: int) -> NoReturn:
        """End at once: libraries that exchange data would wait for the other processes."""
        for stream in (sys.stdout, sys.stderr, self.shown):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    def _is_first_to_tell(self, what: str) -> bool:
        """Tell whether no other process tells the same; all may find a mistake at once."""
        import torch

        if torch.distributed.is_initialized():
            from segcli.engine.world import is_claimed

            return not is_claimed(what)
        if self.place.rank:
            time.sleep(LATER_S)
        return True

    def _leave(self, code: int, message: str, hint: str | None) -> None:
        """Write a mistake for the process that started this one."""
        assert self.place.folder is not None
        text = json.dumps({"time": time.time(), "code": code, "message": message, "hint": hint})
        path = self.place.folder / f"{self.place.rank}.tmp"
        with suppress(OSError):
            path.write_text(text)
            path.rename(path.with_suffix(".json"))

    def _end_if_in_vain(self) -> None:
        """End if all were started again after a mistake, which would only be made again."""
        assert self.place.folder is not None
        for path in self.place.folder.glob("*.json"):
            self.end(int(json.loads(path.read_text())["code"]))
