"""The first signal asks for a stop, and the user hears of it at once."""

import os
import signal

import pytest

from segcli.core.errors import Stopped
from segcli.engine.stopping import StopSignal


@pytest.mark.posix
@pytest.mark.parametrize(
    ("signum", "advice"),
    [(signal.SIGINT, "; Ctrl-C again stops at once, without saving"), (signal.SIGTERM, "")],
)
def test_the_first_signal_is_answered_at_once_and_the_second_stops_at_once(signum, advice):
    said, reached = [], []

    def work():
        with StopSignal(handles=True) as stop:
            stop.defer(said.append)
            stop.raise_if_asked()
            os.kill(os.getpid(), signum)
            with pytest.raises(Stopped):
                stop.raise_if_asked()
            reached.extend(said)
            os.kill(os.getpid(), signum)
            reached.append("after the second")

    with pytest.raises(Stopped):
        work()
    assert reached == said == [f"stopping after this batch{advice}"]


@pytest.mark.posix
def test_one_of_several_processes_saves_although_the_signal_comes_from_several_senders(monkeypatch):
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with StopSignal(handles=True) as stop:
        stop.defer(lambda _: None)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
