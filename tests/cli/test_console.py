"""What a name from a file can do to a terminal: nothing."""

import json

import pytest
from rich.table import Table

from segcli.cli import console
from segcli.core.errors import DataError

HOSTILE = "a\x1b[31m\x07\x9b2J\u202eb :smile: \udc80\x7f"
SHOWN = r"a\x1b[31m\x07\x9b2J\u202eb :smile: \udc80\x7f"


def in_a_table(text):
    table = Table(text, title=text)
    table.add_row(text)
    console.result({}, [table], as_json=False, quiet=False)


def in_progress(text):
    with console.listener(quiet=False) as listener:
        listener.warn(text)
        listener.notice(text)


@pytest.mark.parametrize(
    "show",
    [
        lambda text: console.error(DataError(text, hint=text)),
        lambda text: console.result({}, [text], as_json=False, quiet=False),
        in_a_table,
        in_progress,
    ],
)
def test_control_characters_are_shown_as_escapes_and_words_are_no_pictures(capsys, show):
    show(HOSTILE)
    shown = "".join(capsys.readouterr())
    assert shown.count(SHOWN) >= 1
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_markup_in_a_message_is_shown(capsys):
    console.error(DataError("no file `[red]x[/]`", hint="[bold]y"))
    assert capsys.readouterr().err == "error: no file `[red]x[/]`\n  hint: [bold]y\n"


def test_control_characters_in_json_are_escaped_and_read_back(capsys):
    console.result({"a": HOSTILE, "é": "😀"}, [], as_json=True, quiet=False)
    text = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert json.loads(text) == {"a": HOSTILE, "é": "😀"}
    assert '"é": "😀"' in text
