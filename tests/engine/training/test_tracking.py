import signal

import pytest

from segcli.core.errors import Stopped
from segcli.engine.training.tracking import Tracking
from segcli.trackers import Tracker


class Interrupted(Tracker):
    """A tracker that is interrupted while it records, by no fault of its own or by its own."""

    def __init__(self, error):
        self.error = error

    def scalars(self, values, step):
        raise self.error

    def graph(self, network, image):
        raise self.error


class Warned:
    def __init__(self):
        self.texts = []

    def warn(self, text):
        self.texts.append(text)


def tracking(error):
    made = Tracking.__new__(Tracking)
    made.listener, made.trackers = Warned(), {"mine": Interrupted(error)}
    return made


@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), Stopped(signal.SIGTERM)]
)
def test_a_dead_worker_and_a_stop_are_no_failure_of_a_tracker(error):
    made = tracking(error)
    with pytest.raises(type(error)):
        made.scalars({}, 1)
    with pytest.raises(type(error)):
        made.graph(None, None)
    assert (list(made.trackers), made.listener.texts) == (["mine"], [])


def test_a_failure_of_a_tracker_switches_it_off():
    made = tracking(OSError("no space"))
    made.scalars({}, 1)
    assert (made.trackers, made.listener.texts) == ({}, ["tracker `mine` failed and is switched off: no space"])
