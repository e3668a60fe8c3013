"""The command of the user began with the process that has started the others."""

import os
import time

import pytest

from segcli.cli.launch import Team
from segcli.core.process import command_began, command_line
from segcli.core.ranks import BEGAN

PLACE = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        (PLACE, 30.0),
        ({**PLACE, "TORCHELASTIC_RESTART_COUNT": "1"}, 0.0),  # started again, and the minutes with it
        ({}, 0.0),
    ],
)
def test_a_process_counts_from_the_start_of_the_command_that_started_it(monkeypatch, variables, seconds):
    for name, value in {**variables, BEGAN: str(time.time() - 30.0)}.items():
        monkeypatch.setenv(name, value)
    with command_line():
        assert time.monotonic() - command_began() == pytest.approx(seconds, abs=2.0)


def test_the_processes_are_told_when_the_command_began(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(
        "torch.distributed.launcher.api.elastic_launch", lambda *_: lambda *_: told.append(os.environ[BEGAN])
    )
    monkeypatch.setattr("segcli.cli.launch.command_began", lambda: time.monotonic() - 20.0)
    Team(processes=2)._launch(tmp_path)
    assert time.time() - float(told[0]) == pytest.approx(20.0, abs=2.0)
    assert BEGAN not in os.environ
