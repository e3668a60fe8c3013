"""Simulated trainings that several tests ask for; each takes a tenth of a second."""

from segcli.vram import forecast, scenario

PLACES = {"dataset": {"paths"}}
"""Keys of a run that have no say in a simulation; each test has a folder of its own."""
PLAYED: dict[object, scenario.Played] = {}


def play_equal_runs_once(monkeypatch):
    """Let forecasts of this test take the simulations of equal runs, also those of earlier tests.

    Whoever calls `play_training` itself simulates anew.
    """
    for name in ("play_training", "play_prediction"):
        monkeypatch.setattr(forecast, name, _once(getattr(scenario, name)))


def _once(play):
    def played(run, inputs, **options):
        key = play.__name__, run.model_dump_json(exclude=PLACES), repr(inputs), repr(options)
        if key not in PLAYED:
            PLAYED[key] = play(run, inputs, **options)
        return PLAYED[key]

    return played
