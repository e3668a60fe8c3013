from pathlib import Path

import pytest
from rich.console import Console

from segcli.report import tables
from segcli.report.results import Predicted


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
