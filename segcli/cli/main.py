"""Run the command line; a user's mistake becomes one message and an exit code."""

import os
import sys
from collections.abc import Callable, Sequence

from segcli.cli.app import app
from segcli.cli.member import Member
from segcli.core.addresses import refuse_addresses
from segcli.core.errors import DeviceMemoryError, SegcliError, Stopped
from segcli.core.paths import expanded_arguments
from segcli.core.platform import show_all_letters
from segcli.core.process import command_line
from segcli.core.ranks import place
from segcli.engine.stopping import StopSignal

__all__ = ["run"]

OUT_OF_MEMORY = "stop other programs, or set a smaller `data.batch_size`, `data.num_workers` or `--tile`"


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; a bug of segcli keeps its traceback.

    One of several processes of a command leaves at once, also after a success: what libraries leave behind, such as
    threads of FSDP, may abort the end of the interpreter.
    """
    if "_SEGCLI_COMPLETE" in os.environ:
        _answer_at_once()
    show_all_letters(sys.stdout)
    show_all_letters(sys.stderr)
    here = place()
    if here is None:
        return _run(arguments, _tell)
    member = Member(here)
    member.begin()
    try:
        code = _run(arguments, member.mistake)
    except Exception as error:
        member.bug(error)
    return member.end(code)


def _tell(error: SegcliError) -> None:
    from segcli.cli import console

    console.error(error)


def _run(arguments: Sequence[str], tell: Callable[[SegcliError], None]) -> int:
    """Run a command; a user's mistake is passed to `tell`."""
    try:
        with command_line(arguments), StopSignal():
            arguments = expanded_arguments(arguments)
            refuse_addresses(arguments)
            app(arguments, prog_name="segcli")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
    except SegcliError as error:
        tell(error)
        return error.exit_code
    except MemoryError:
        tell(DeviceMemoryError("the memory of this machine is exhausted", hint=OUT_OF_MEMORY))
        return DeviceMemoryError.exit_code
    except Stopped as stopped:
        here = place()
        if not stopped.is_shown and (here is None or here.folder is None):
            sys.stderr.write("stopped\n")
        return stopped.exit_code
    except BrokenPipeError:
        # the reader of our output, such as `head`, has exited; nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    return 0


def _answer_at_once() -> None:
    """Prepare the answer to a TAB; meanings of words are plain text, for which Typer would import Rich."""
    from typer import _completion_classes
    from typer.completion import completion_init  # type: ignore[attr-defined]  # not in its `__all__`

    completion_init()
    if hasattr(_completion_classes, "_sanitize_help_text"):
        _completion_classes._sanitize_help_text = lambda text: text
