"""Seconds of `--minutes` that are left for the epochs of a plan."""

from types import SimpleNamespace

import pytest

from segcli.commands import planning
from segcli.engine.events import Silent

OPENING_S = 0.5


class Captured(Exception):  # noqa: N818 - no error: it ends the function under test
    """Ends the choice of the epochs with the seconds that it got."""


@pytest.mark.parametrize(("began_before", "spent"), [(None, 0.0), (30.0, 30.0)])
def test_opening_the_session_again_and_what_the_command_has_done_count(monkeypatch, began_before, spent):
    clock = [100.0]

    def opened(*_, **__):
        clock[0] += OPENING_S
        return SimpleNamespace(train=[0], step=SimpleNamespace(group=1))

    def captured(costs, seconds, **_):
        raise Captured(seconds)

    monkeypatch.setattr(planning, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(planning, "open_session", opened)
    monkeypatch.setattr(planning, "measured_costs", lambda *_: None)
    monkeypatch.setattr(planning, "fitted_interval", captured)
    began = None if began_before is None else clock[0] - began_before
    with pytest.raises(Captured) as told:
        planning._fit_clock(None, None, 2.0, Silent(), began=began)
    assert told.value.args[0] == 120.0 - spent - OPENING_S * (1 if began is None else 2)
