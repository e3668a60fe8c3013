"""Long tables as YAML: the bytes that PyYAML writes."""

import string

import pytest

from segcli.core.files import yaml_text
from segcli.core.yaml_rows import rows_text

TEXTS = [
    *(
        "a.png",
        "case_01/image.png",
        "0001",
        "1e5",
        "0x1F",
        "010",
        "1.5",
        "1_000",
        "2026-11-29",
        "12:30",
        "no",
        "Yes",
        "y",
    ),
    *(
        "null",
        "true",
        "NaN",
        ".nan",
        "~",
        "",
        " a",
        "a ",
        "a b",
        "a: b",
        "a #b",
        "#a",
        "- a",
        "-a",
        "'a'",
        '"a"',
        "a\nb",
    ),
    *("é.png", "a\tb", "[a]", "a,b", "a" * 200, "a b " * 60, "=", "<<", "%a", "@a", "1-2-3", "e", "1.", "x-", "\x07"),
]
NUMBERS = [0.0, -0.0, 1.0, 1e-06, 1e22, -2.5e-07, 0.1 + 0.2, float("nan"), float("inf"), -float("inf"), 7, True, None]


@pytest.mark.parametrize(
    "rows",
    [
        [{"image": text, "dice": number} for text in TEXTS for number in NUMBERS],
        [
            {"image": letter + end}
            for letter in string.ascii_letters + string.digits
            for end in ("", "0", "e1", ".5", "n")
        ],
        [{"dice": 0.5, "image": "b"}, {"scenario": None}, {"no": "a", "1": "b"}],
        [{"image": "a", "own.py:Metric of mine": 0.5}],
        [],
        [{}, {"a": 1.0}],
    ],
)
def test_a_table_has_the_bytes_of_pyyaml(rows):
    assert rows_text(rows) == yaml_text(rows)
