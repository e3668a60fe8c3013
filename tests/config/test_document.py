"""Files that hold a config: their text, their encoding, and what is no config at all."""

import os
from pathlib import Path

import pytest
from factories import experiment, write_experiment

from segcli.config.load import load_run
from segcli.core.errors import ConfigError


def mistakes(path):
    with pytest.raises(ConfigError) as caught:
        load_run(path)
    return str(caught.value)


def test_a_duplicated_key_is_a_mistake(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: x\nseed: 1\nmodel: unet\nseed: 2\ndataset: {mean: [0, 0, 0], std: [1, 1, 1]}\n")
    assert f"{path}:4  seed: duplicated key, first set in line 2" in mistakes(path)


@pytest.mark.parametrize("text", ["name: [1, 2\n", "name: x\n  seed: 1\n", "\t- x", "", "- 1\n- 2\n", "name: \x00"])
def test_what_is_no_yaml_mapping_is_told_with_its_file(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert str(path) in mistakes(path)


def test_a_missing_file_names_those_beside_it(tmp_path):
    (tmp_path / "right.yaml").write_text("name: x\n")
    assert "right.yaml" in mistakes(tmp_path / "wrong.yaml")


def test_a_config_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match="`/dev/zero` is larger than 1 MiB"):
        load_run(Path("/dev/zero"))


def test_a_config_with_many_wrong_keys_lists_the_first(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: x\nmodel: unet\n" + "".join(f"key{number}: 1\n" for number in range(20_000)))
    lines = mistakes(path).splitlines()
    assert lines[0].startswith("20,00")
    assert len(lines) <= 2 + 2 * 50
    assert lines[-1].startswith("  - and 19,9")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_experiment_file_may_begin_with_a_byte_order_mark(tmp_path, encoding):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path))
    expected = load_run(path)
    path.write_text(path.read_text(), encoding=encoding)
    assert load_run(path) == expected


def test_an_experiment_file_that_is_no_text_is_blamed_by_line(tmp_path):
    path = write_experiment(tmp_path / "run.yaml", experiment(tmp_path))
    path.write_bytes(b"name: tiny\nmodel: r\xe9seau\n")
    with pytest.raises(ConfigError, match=r"run.yaml:2` is not UTF-8 text \(byte 0xe9\)"):
        load_run(path)


@pytest.mark.posix
def test_a_pipe_that_nobody_writes_is_no_config(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="is a pipe, not a file"):
        load_run(tmp_path / "pipe.yaml", [])
