"""The collector of garbage rests until the first stage of a command, and works as usual from there."""

import gc
import io

import pytest
from rich.console import Console

from segcli.__main__ import main
from segcli.cli.progress import PlainProgress, QuietProgress
from segcli.core.collector import MOST, begin_start, end_start


@pytest.fixture(autouse=True)
def usual():
    before = gc.get_threshold()
    yield before
    end_start()
    assert gc.get_threshold() == before


def test_the_command_line_lets_the_collector_rest_before_it_imports_anything(monkeypatch, usual):
    found = []
    monkeypatch.setattr("segcli.cli.main.run", lambda _: found.append(gc.get_threshold()))
    with pytest.raises(SystemExit):
        main()
    assert found == [(MOST, *usual[1:])]
    assert gc.get_threshold() == usual


@pytest.mark.parametrize("kind", [QuietProgress, PlainProgress])
def test_the_first_stage_of_a_command_ends_the_rest_and_sets_aside_what_was_imported(kind, usual):
    begin_start()
    aside = gc.get_freeze_count()
    kind(Console(file=io.StringIO())).stage("prediction", 1)
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > aside


def test_a_later_stage_sets_nothing_aside():
    begin_start()
    end_start()
    aside = gc.get_freeze_count()
    made = [[] for _ in range(100)]
    end_start()
    assert gc.get_freeze_count() < aside + len(made)
