"""`segcli init`: two files that can be checked and trained on without a change."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from factories import blobs, write_folders, write_hdf5, write_nifti, write_nuclei, write_sequences
from PIL import Image

from segcli.cli import console


def eyes(root: Path) -> None:
    """Left and right eye of four persons, two observers."""
    for index, name in enumerate(f"{person}{side}" for person in range(4) for side in "LR"):
        image, mask = blobs(index, (64, 64))
        for folder, pixels in (("a", image), ("b", mask), ("c", cv2.dilate(mask, np.ones((3, 3), np.uint8)))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / f"{name}.png")


def sequences(root: Path) -> None:
    """Frames of three clips, without a table of the classes."""
    write_sequences(root, {"c000": 3, "c001": 2, "c002": 2}, size=(48, 64))


LAYOUTS = {
    "folders": write_folders,
    "eyes": eyes,
    "sequences": sequences,
    "hdf5": write_hdf5,
    "nifti": write_nifti,
    "nuclei": write_nuclei,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_init_writes_is_checked_and_trained_on_unchanged(run_cli, workplace, layout):
    LAYOUTS[layout](workplace / "there")
    made = run_cli("init", "there", "mine", "--json")
    assert made.code == 0, made.err
    paths = json.loads(made.out)
    assert (paths["dataset"], paths["experiment"]) == ("configs/datasets/mine.yaml", "configs/experiments/mine.yaml")
    checked = run_cli("data", "check", paths["experiment"], "--json")
    assert [each for each in json.loads(checked.out)["findings"] if each["severity"] == "error"] == []
    assert checked.code == 0
    tried = run_cli("train", paths["experiment"], "--dry-run", "device=cpu")
    assert tried.code == 0, tried.err


def test_every_choice_has_a_reason_and_doubt_is_told(run_cli, workplace):
    eyes(workplace / "data")
    made = run_cli("init", "data")
    assert made.code == 0, made.err
    text = (workplace / "configs/datasets/data.yaml").read_text()
    assert "paths: {root: data}" in text
    words = " ".join(text.replace("\n#", "").split())
    assert "perhaps by several observers; the other: `c` (a guess: please look) label_folder: b" in words
    assert "such as 0L and 0R: 4 groups (likely)\n  group:" in text
    assert "masks of `b` (else: `label_folder=c`)" in " ".join(made.out.split())


def test_a_file_that_is_there_is_kept(run_cli, workplace):
    write_folders(workplace / "data")
    (workplace / "configs/experiments").mkdir(parents=True)
    (workplace / "configs/experiments/data.yaml").write_text("mine")
    refused = run_cli("init", "data")
    assert refused.code == 2
    assert "`configs/experiments/data.yaml` exists" in refused.err
    assert not (workplace / "configs/datasets").exists()
    assert run_cli("init", "data", "--overwrite", "--quiet").code == 0


@pytest.mark.parametrize(
    ("arguments", "block", "message"),
    [
        (["data/a/0L.png"], None, "`data/a/0L.png` is a file, not a folder"),
        (["data/a/0L.png/x"], None, "`data/a/0L.png/x` does not exist"),
        (["nowhere"], None, "`nowhere` does not exist"),
        (["empty"], None, "`empty` holds no files"),
        (["x" * 300], None, "(File name too long)"),
        (["data", "--out", "notes.txt"], None, "`notes.txt` is a file, and `notes.txt/datasets/data.yaml` cannot be"),
        (["data", "--out", "."], "experiments", "`experiments` is a file, and `experiments/data.yaml` cannot be"),
        (["data", "--overwrite"], "configs/datasets/data.yaml/", "`configs/datasets/data.yaml` is a folder"),
        (["data"], "configs/datasets/data.yaml@", "`configs/datasets/data.yaml` exists"),
    ],
)
def test_what_is_no_folder_of_data_and_what_stands_in_the_way_is_said_before_looking(
    run_cli, workplace, arguments, block, message
):
    eyes(workplace / "data")
    (workplace / "empty").mkdir()
    (workplace / "notes.txt").write_text("mine")
    if block is not None:
        path = workplace / block.rstrip("/@")
        path.parent.mkdir(parents=True, exist_ok=True)
        if block.endswith("/"):
            path.mkdir()
        elif block.endswith("@"):
            path.symlink_to("nowhere.yaml")  # whoever made it wants to write there
        else:
            path.write_text("mine")
    refused = run_cli("init", *arguments)
    assert refused.code in (2, 3)
    assert message in " ".join(refused.err.split())
    assert "hint: " in refused.err
    assert not list(workplace.rglob("data.yaml/*"))
    assert [path.read_text() for path in workplace.glob("*.txt")] == ["mine"]


def test_keys_of_the_user_decide_and_their_mistakes_are_named(run_cli, workplace):
    eyes(workplace / "data")
    assert run_cli("init", "data", "label_folder=c", "split.val=0.5", "--quiet").err == ""
    keys = yaml.safe_load((workplace / "configs/datasets/data.yaml").read_text())
    assert (keys["label_folder"], keys["split"]["val"]) == ("c", 0.5)
    wrong = run_cli("init", "data", "other", "lable_folder=c")
    assert wrong.code == 2
    assert "did you mean `label_folder`?" in wrong.err


@pytest.mark.parametrize("word", ["format=[a]", "image_folder=[a]", "label_folder=[a]", "ignore=5"])
def test_a_key_of_another_type_is_named_and_no_bug(run_cli, workplace, word):
    eyes(workplace / "data")
    for path in (workplace / "data" / "b").iterdir():  # colours, whose `ignore` decides on black
        mask = np.array(Image.open(path))
        Image.fromarray(np.stack([mask // 2, mask, mask // 5], axis=-1)).save(path)
    (workplace / "data" / "c").rename(workplace / "c")
    wrong = run_cli("init", "data", word)
    assert wrong.code == 2
    key = word.partition("=")[0]
    assert "1 problem in `data`\n" in wrong.err
    assert f"data  dataset.{key}: must be" in wrong.err


def different(root: Path) -> None:
    """Two folders of masks that show different things."""
    eyes(root)
    for path in (root / "c").iterdir():
        Image.fromarray(255 - np.array(Image.open(path))).save(path)


def test_where_no_answer_is_likelier_nothing_is_written_without_one(run_cli, workplace, monkeypatch):
    different(workplace / "data")
    refused = run_cli("init", "data")
    assert refused.code == 2
    assert "show different things: which is the truth?" in refused.err
    assert "answer with `label_folder=b`" in refused.err
    assert not (workplace / "configs").exists()
    assert run_cli("init", "data", "--yes", "--quiet").code == 0


def test_a_terminal_is_asked(run_cli, workplace, monkeypatch):
    different(workplace / "data")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    asked = []
    monkeypatch.setattr(console, "ask", lambda question: asked.append(question.text) or question.options[1])
    assert run_cli("init", "data").code == 0
    assert len(asked) == 2
    assert asked[0].endswith("which is the truth?")
    assert asked[1].endswith("which is the object?")  # of the masks of the answer, which are inverted
    written = yaml.safe_load((workplace / "configs/datasets/data.yaml").read_text())
    assert (written["label_folder"], written["numbers"]) == ("c", [255, 0])


def test_a_wrong_answer_is_asked_again(monkeypatch, capsys):
    from segcli.planning.facts import Option, Question

    answers = iter(["7", "2"])
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    monkeypatch.setattr("typer.prompt", lambda *_, **__: int(next(answers)))
    question = Question("a", "Which?", (Option("one", ("a=1",)), Option("two", ("a=2",))))
    assert console.ask(question).words == "two"
    assert "2  two a=2" in capsys.readouterr().err
