"""What progress draws on a terminal of 80, 100 and 120 columns, and prints without one."""

import io
import json
import re
import sys
import time

import pytest
from rich.console import Console

from segcli.cli import progress, starting
from segcli.cli.progress import PlainProgress, RichProgress
from segcli.engine.events import EpochDone, StepDone
from segcli.engine.memory import Memory

GIB = 2**30
SCORES = {"loss": 0.61234, "dice": 0.71234, "iou": 0.81234, "precision": 0.91234, "recall": 0.51234, "mcc": 0.41234}
STEP = StepDone(
    epoch=112,
    epochs=1500,
    batch=1234,
    batches=4321,
    values=SCORES,
    images_per_s=123.4,
    memory=Memory("cuda", 12 * GIB, 14 * GIB, 13 * GIB, 100 * GIB, 139 * GIB),
    remaining_s=37000.0,
)
EPOCH = EpochDone(
    epoch=112,
    epochs=1500,
    train=SCORES,
    val={f"val_{name}": value for name, value in SCORES.items()},
    learning_rate=0.00123,
    elapsed_s=123.4,
    remaining_s=37000.0,
    improved=False,
    patience_left=17,
    notes=["3 batches skipped: loss not finite"],
)
WIDTHS = [80, 100, 120]


class Terminal(io.StringIO):
    """Keeps what is written to it, as to a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """Puts a terminal of 80 columns in place of stderr, when the test calls it: pytest captures stderr after setup."""

    def put(stream=Terminal):
        for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stderr", stream())
        monkeypatch.setattr(starting, "FIRST_S", 0.0)
        return sys.stderr

    return put


def plain(text):
    """Remove what moves the cursor and colours."""
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text)


def shown(width, *events):
    """All lines that a terminal receives during the events, the moving ones after each event."""
    console = Console(file=Terminal(), force_terminal=True, width=width, height=24, highlight=False)
    shower = RichProgress(console)
    with shower:
        for name, *arguments in events:
            getattr(shower, name)(*arguments)
            shower.live.refresh()
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain(console.file.getvalue()))]


@pytest.mark.parametrize("width", WIDTHS)
def test_bar_batch_epoch_and_time_left_stand_in_one_line(width):
    lines = shown(width, ("step", STEP))
    (line, *_) = [line for line in lines if "epoch" in line]
    assert re.fullmatch(r"epoch 112/1500  [━╸╺]{20,40}  1234/4321  10 h 16 min left", line), line
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [50, *WIDTHS])
def test_values_and_memory_stand_below_the_bar_or_are_left_out_whole(width):
    lines = shown(width, ("step", STEP))
    below = {line for line in lines if "0." in line or "free" in line}
    parts = {part for line in below for part in line.split("  ")}
    every = ["loss 0.6123", "dice 0.7123", "iou 0.8123", "precision 0.9123", "recall 0.5123", "mcc 0.4123"]
    every += ["123.4 images/s", "allocated 12.00, reserved 14.00, 100.0 of 139.0 GiB free"]
    assert parts <= set(every)
    assert parts >= set(every[:5])
    assert width < 100 or parts == set(every)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_no_value_of_an_epoch_is_broken_at_the_end_of_a_line(width):
    lines = [line for line in shown(width, ("epoch", EPOCH)) if "starting" not in line]
    assert max(map(len, lines)) <= width
    assert any(line.startswith("epoch  112/1500") for line in lines)
    text = "\n".join(lines)
    for part in ("train loss 0.6123", "val loss 0.6123", "lr 0.0012", "123.4 s, 10 h 16 min left"):
        assert part in text
    for part in ("dice 0.7123", "iou 0.8123", "precision 0.9123", "recall 0.5123", "mcc 0.4123"):
        assert text.count(part) == 2


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", ["validation 112/1500", "evaluation", "prediction", "reading train", "x" * 200])
def test_every_stage_shows_a_bar_a_count_and_the_time_left(width, text):
    lines = shown(width, ("stage", text, 4000), ("advance", 1000))
    assert any(re.fullmatch(r"\S.*  ━[━╸╺]{5,}  1000/4000  \d+ s left", line) for line in lines), lines
    assert max(map(len, lines)) <= width


def test_a_stage_without_a_known_length_moves_and_counts_seconds():
    assert any(re.fullmatch(r"starting  ━{40}  \d+ s so far", line) for line in shown(80))


def test_an_image_that_takes_long_is_no_silence_in_a_log(monkeypatch):
    monkeypatch.setattr(progress, "STAGE_EVERY_S", 0.05)
    stream = io.StringIO()
    shower = PlainProgress(Console(file=stream, width=110))
    with shower:
        shower.stage("prediction", 3)
        wait_for(stream, r"prediction  0/3  \d+ s so far\n")
        shower.advance()
        wait_for(stream, r"prediction  1/3  \d+ s left\n")
        began = time.monotonic()
        before = stream.getvalue().count("\n")
        time.sleep(0.2)
        assert stream.getvalue().count("\n") - before <= 1 + (time.monotonic() - began) / 0.05
    ended = stream.getvalue()
    time.sleep(0.1)
    assert stream.getvalue() == ended


def wait_for(stream, pattern):
    deadline = time.monotonic() + 5
    while not re.search(pattern, stream.getvalue()):
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)


def test_a_log_has_one_line_for_an_epoch():
    stream = io.StringIO()
    PlainProgress(Console(file=stream, width=110)).epoch(EPOCH)
    scores = "loss 0.6123 dice 0.7123 iou 0.8123 precision 0.9123 recall 0.5123 mcc 0.4123"
    assert stream.getvalue() == (
        f"epoch  112/1500  train {scores}  val {scores}  lr 0.0012  "
        "stops after 17 more validations without improvement  123.4 s, 10 h 16 min left  "
        "3 batches skipped: loss not finite\n"
    )


def test_a_command_moves_before_its_first_word_and_leaves_nothing_behind(open_terminal):
    terminal = open_terminal()

    def command(*, quiet, as_json):
        wait_for(terminal, r"\r/ starting  \d s")
        starting.end()
        terminal.write("word\n")

    starting.moving(command)()
    assert re.search(r"starting  \d s\r {15,}\rword\n$", terminal.getvalue())


@pytest.mark.parametrize(("option", "stream"), [("quiet", Terminal), ("as_json", Terminal), ("none", io.StringIO)])
def test_nothing_moves_when_quiet_in_json_and_in_a_pipe(open_terminal, option, stream):
    terminal = open_terminal(stream)
    asked = {"quiet": option == "quiet", "as_json": option == "as_json"}
    starting.moving(lambda **_: time.sleep(0.05))(**asked)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["data", "check", "tiny.yaml"], r"reading test  ━+  2/2  "),
        (["eval", "tiny"], r"writing scores and report  ━+  "),
        (["predict", "data/val/image", "--run", "tiny"], r"prediction  ━+  2/2  "),
        (["train", "tiny.yaml", "name=other", "training.epochs=1"], r"writing the report  ━+  "),
    ],
    ids=["check", "eval", "predict", "train"],
)
def test_every_command_shows_where_it_is_on_a_terminal(run_cli, tiny_run, open_terminal, words, last):
    terminal = open_terminal()
    assert run_cli(*words).code == 0
    text = plain(terminal.getvalue())
    assert re.search(rf"\| starting  \d+ s.*{last}", text, re.DOTALL)


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_the_terminal_of_a_command_in_json_or_quiet_stays_empty(run_cli, tiny_run, open_terminal, option):
    terminal = open_terminal()
    result = run_cli("eval", "tiny", option)
    assert (result.code, terminal.getvalue()) == (0, "")
    assert json.loads(result.out) if option == "--json" else result.out == ""
