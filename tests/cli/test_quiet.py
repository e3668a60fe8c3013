"""`--quiet`: no tables and no progress, but every error and warning."""

import pytest


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["train", "tiny.yaml"], 3),
        (["train", "tiny.yaml", "--dry-run"], 3),
        (["train", "tiny.yaml", "--folds", "2"], 3),
        (["resume", "tiny", "training.epochs=3"], 3),
        (["eval", "tiny", "--split", "train"], 3),
        (["predict", "data/train/label/00.png", "--run", "tiny"], 3),
        (["export", "tiny", "--int8", "dataset.paths.val=nowhere"], 3),
        (["data", "check", "tiny.yaml"], 1),
        (["data", "stats", "tiny.yaml"], 3),
        (["data", "split", "tiny.yaml"], 2),
        (["data", "convert", "nowhere", "out"], 3),
        (["data", "sample", "vessels", "data"], 2),
        (["profile-memory", "nowhere.yaml"], 2),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else None,
)
def test_every_command_prints_its_error_when_quiet(run_cli, tiny_run, workplace, words, code):
    (workplace / "data/train/image/00.png").write_bytes(b"no picture")
    (workplace / "data/train/label/00.png").write_bytes(b"no picture")
    result = run_cli(*words, *(["--overwrite"] if words[0] == "train" and "--dry-run" not in words else []), "--quiet")
    assert result.code == code, result.err
    assert result.out == ""
    assert "error" in result.err or (words[0] == "predict" and "warning" in result.err)


def test_a_quiet_check_prints_errors_and_warnings_and_the_verdict_in_one_line(run_cli, tiny_run, workplace):
    (workplace / "data/train/label/03.png").unlink()
    (workplace / "data/val/image/01.png").unlink()
    result = run_cli("data", "check", "tiny.yaml", "--quiet")
    lines = result.err.splitlines()
    assert (result.code, result.out) == (1, "")
    assert lines[0].startswith("error: image `")
    assert "train/image/03.png` has no mask (looked for `" in lines[0]
    assert any(line.startswith("warning: mask `") and "01.png` belongs to no image" in line for line in lines)
    assert lines[-1].startswith("not ready to train: 1 error, ")
    assert not any(letter in result.err for letter in "│┃━")


def test_a_quiet_check_of_sound_data_prints_nothing_but_warnings(run_cli, tiny_run):
    result = run_cli("data", "check", "tiny.yaml", "--quiet")
    assert (result.code, result.out) == (0, "")
    assert all(line.startswith("warning: ") for line in result.err.splitlines())


def test_a_quiet_check_in_json_is_one_document(run_cli, tiny_run, workplace):
    (workplace / "data/train/label/03.png").unlink()
    result = run_cli("data", "check", "tiny.yaml", "--quiet", "--json")
    assert (result.code, result.err) == (1, "")
    assert result.out.startswith("{")
