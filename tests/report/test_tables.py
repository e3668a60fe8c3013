from pathlib import Path

import pytest
from rich.console import Console

from segcli.metrics import Score
from segcli.report import tables
from segcli.report.results import Evaluated, Predicted
from segcli.report.score_tables import evaluated


@pytest.mark.parametrize(("structures", "cases"), [(2, 3), (2, 30), (40, 1), (40, 9)])
def test_volumes_of_structures_fit_a_terminal_however_many_they_are(structures, cases):
    found = {
        f"label {number}": {"present": True, "volume": 7e6 + number, "unit": "mm³"} for number in range(structures)
    }
    found["label 1"]["present"] = False
    presence = [{"case": f"case_{number}", "structures": found} for number in range(cases)]
    done = Predicted("run", Path("best.safetensors"), Path("out"), presence=presence)
    console = Console(width=100)
    with console.capture() as captured:
        for line in tables.predicted(done):
            console.print(line)
    text = captured.get()
    assert all(f"label {number}" in text for number in range(structures))
    assert "7,000,000 mm³" in text
    assert "absent" in text
    shown = sum(f"case_{number} " in text for number in range(cases))
    told = f"{cases - shown} more cases are in `presence.csv`"
    assert (told in " ".join(text.split())) == (shown < cases)


METRICS = ("dice", "balanced_accuracy", "average_precision")


def scored(images):
    """Scores of these images."""
    count = len(images)
    scores = [
        Score(name, 0.1234, "mean over images", (0.1111, 0.2222), 0.1234, 0.3333, count, [0.1234] * count, True, [])
        for name in METRICS
    ]
    return Evaluated(
        run="run",
        split="test",
        checkpoint=Path("best.safetensors"),
        epoch=1,
        folder=Path("out"),
        threshold=0.5,
        num_images=count,
        losses={},
        scores=scores,
        images=images,
        ranked_by="dice",
        predictions=None,
        level=0.95,
        resamples=1000,
        classes=("foreground",),
    )


def test_scores_are_whole_in_a_terminal_of_80_columns():
    console = Console(width=80)
    with console.capture() as captured:
        for line in evaluated(scored([f"{number:02d}.png" for number in range(8)])):
            console.print(line)
    text = captured.get()
    for shown in (*METRICS, "0.1234", "0.1111 to 0.2222", "0.3333"):
        assert text.count(shown) >= 1, text
    assert "…" not in text


def test_names_too_long_for_a_table_stand_below_it():
    names = [f"patient_0123456789/visit_{number}/an_image_with_a_long_name.png" for number in range(3)]
    console = Console(width=80)
    with console.capture() as captured:
        for line in evaluated(scored(names)):
            console.print(line, soft_wrap=isinstance(line, str))
    lines = captured.get().splitlines()
    assert [any(f") {name}" in line for line in lines) for name in names] == [True] * 3
    short = [Path(name).name[:8] for name in names]
    with console.capture() as captured:
        for line in evaluated(scored(short)):
            console.print(line, soft_wrap=isinstance(line, str))
    assert any(line.startswith(short[0]) for line in captured.get().splitlines())
