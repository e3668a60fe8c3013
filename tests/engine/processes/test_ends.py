"""Ends of a training on several processes: one sentence, the right exit code, nobody left behind."""

import os
import re
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories import SMALL
from processes import free_port

from segcli.cli.main import run
from segcli.commands import crossval
from segcli.core.randomness import generator
from segcli.engine import world as worlds
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.training.stepping.stepper import Stepper
from segcli.engine.training.watching import Watching

pytestmark = pytest.mark.posix
SOON_S = 10.0


def is_rank(rank: int) -> bool:
    return os.environ["RANK"] == str(rank)


def at_step(number: int, do):
    """Do something in a process before an optimizer step."""

    def before() -> None:
        update = Stepper.update

        def updated(self, rate, step):
            if step == number:
                do()
            update(self, rate, step)

        Stepper.update = updated

    return before


def killed() -> None:
    if is_rank(1) and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)


def weights(folder: Path) -> dict[str, np.ndarray]:
    tensors = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    return {name: tensor.numpy() for name, tensor in tensors.items() if name.startswith(("model/", "random/"))}


def refused(ended, code: int, sentence: str) -> None:
    """The command has ended in time with one sentence, and without a process."""
    assert (ended.code, ended.left) == (code, 0), ended.err
    assert ended.elapsed_s < SOON_S
    assert ended.err.count("error:") == 1
    assert re.search(sentence, ended.err), ended.err
    assert "Traceback" not in ended.err


def test_a_damaged_image_of_one_process_ends_all_with_one_sentence(run_together, tiny, workplace):
    config = tiny(data__cache="none")  # each process fills a cache with all images
    second = int(generator(42, "order", 0).permutation(6)[1])  # of the first batch of two
    image = sorted((workplace / "data/train/image").iterdir())[second]
    image.write_bytes(image.read_bytes()[:300])
    ended = run_together("train", config, "--processes", 2)
    refused(ended, 3, rf"error: process 1 of 2: .*{image.name}")


def test_an_image_that_one_process_cannot_read_ends_an_evaluation_with_one_sentence(run_together, tiny_run, workplace):
    (workplace / "data/test/image/01.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = run_together("eval", "tiny", "--processes", 2, "--quiet")
    refused(ended, 3, r"error: process \d of 2: .*01\.png")
    assert ended.out == ""
    assert not (workplace / "outputs/tests/tiny/test_metrics.yaml").exists()


def test_a_killed_process_ends_all_with_one_sentence(run_together, tiny, workplace):
    ended = run_together("train", tiny(), "--processes", 2, before=at_step(2, killed))
    refused(ended, 5, "error: process 1 of 2 was killed by SIGKILL\n.*--max-restarts")


def test_a_killed_process_is_started_again_and_the_run_ends_as_if_nothing_had_happened(run_together, tiny, workplace):
    settings = {"model": {"type": "sa_unet", **SMALL["sa_unet"]}, "checkpoint__every_minutes": 0}
    config = tiny(**settings)
    for name, before in (("never", lambda: None), ("killed", at_step(4, killed))):
        ended = run_together("train", config, f"name={name}", "--processes", 2, "--max-restarts", 1, before=before)
        assert (ended.code, ended.left) == (0, 0), ended.err
        assert "Traceback" not in ended.err
    assert "a process has ended: all were started again (1), from the newest checkpoint" in ended.err
    never, once = (weights(Path("outputs/experiments") / name) for name in ("never", "killed"))
    assert [name for name in never if not np.array_equal(never[name], once[name])] == []
    history = [Path(f"outputs/experiments/{name}/metrics_history.yaml").read_text() for name in ("never", "killed")]
    assert history[0] == history[1]


def test_folds_that_are_started_again_replace_an_earlier_cross_validation_once(run_together, tiny, workplace):
    def before() -> None:
        attempt, clear = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), crossval._clear

        def cleared(folder: Path) -> None:
            if attempt == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            with Path("cleared").open("a") as told:
                told.write(f"{attempt}\n")
            clear(folder)

        crossval._clear = cleared
        if attempt == 1 and is_rank(1):
            at_step(1, lambda: os.kill(os.getpid(), signal.SIGKILL))()

    result = workplace / "outputs/experiments/tiny/cross_validation.yaml"
    result.parent.mkdir(parents=True)
    result.write_text("of an earlier one")
    words = ("train", tiny(training__epochs=1), "--folds", 2, "--processes", 2, "--overwrite", "--max-restarts", 2)
    ended = run_together(*words, before=before)
    assert (ended.code, ended.left) == (0, 0), ended.err
    assert Path("cleared").read_text() == "1\n"
    assert len(yaml.safe_load(result.read_text())["folds"]) == 2
    assert "error:" not in ended.err


def test_a_mistake_is_not_made_again_by_starting_again(run_together, tiny, workplace):
    config = tiny()
    image = sorted((workplace / "data/train/image").iterdir())[0]
    image.write_bytes(image.read_bytes()[:300])
    ended = run_together("train", config, "--processes", 2, "--max-restarts", 1)
    refused(ended, 3, rf"error: process \d of 2: .*{image.name}")


def test_ctrl_c_saves_one_checkpoint_and_tells_once_how_to_go_on(run_together, tiny, workplace, caplog):
    def interrupted() -> None:
        if is_rank(0):
            os.kill(os.getppid(), signal.SIGINT)

    ended = run_together("train", tiny(), "--processes", 2, before=at_step(3, interrupted))
    assert (ended.code, ended.left) == (130, 0), ended.err
    assert ended.err.count("stopped") == 1
    assert "stopped; continue with: segcli resume outputs/experiments/tiny" in ended.err
    assert [record for record in caplog.records if record.name.startswith("torch.")] == []
    last = read_checkpoint(Path("outputs/experiments/tiny/checkpoints/last.safetensors"))
    assert last.header["progress"]["step"] >= 4
    ended = run_together("resume", "tiny", "--processes", 2, "--quiet")
    assert (ended.code, ended.err, ended.out) == (0, "", "")


def test_mixed_versions_are_refused(run_together, tiny):
    def other() -> None:
        if is_rank(1):
            worlds.__version__ = "0.0.1"

    ended = run_together("train", tiny(), "--processes", 2, before=other)
    refused(ended, 2, r"error: process \d of 2: process 0 has segcli .*, and process 1 has segcli 0.0.1")


def test_a_bug_of_one_process_shows_one_traceback(run_together, tiny):
    def bug() -> None:
        if is_rank(1):
            raise KeyError("of a test")

    ended = run_together("train", tiny(), "--processes", 2, before=at_step(2, bug))
    assert (ended.code, ended.left) == (1, 0)
    assert ended.err.count("Traceback (most recent call last)") == 1
    assert "process 1 of 2:\nTraceback" in ended.err
    assert "KeyError: 'of a test'" in ended.err


def test_logging_that_only_the_first_process_has_switched_off_leaves_all_at_the_same_place(run_together, tiny):
    def before() -> None:
        def failing(self, epoch):
            raise OSError("no room for pictures")

        if is_rank(0):
            Watching._write_pictures = failing

    logging = {"log_images": True, "tensorboard": False, "visualization_interval": 1}
    ended = run_together("train", tiny(logging=logging), "--processes", 2, before=before)
    assert (ended.code, ended.left) == (0, 0), ended.err
    assert "`logging.log_images` has no effect: no tracker is on" in ended.err
    assert "`logging.visualization_interval` failed and is switched off: no room for pictures" in ended.err


def test_what_cannot_work_is_refused_before_anything_starts(run_cli, tiny):
    config = tiny()
    for options, code, sentence in (
        (["--gpus", "2"], 5, "`--gpus 2`: PyTorch .* sees 0 GPUs on this machine"),
        (["--processes", "3"], 2, "`data.batch_size` is 2, and 3 processes share each batch"),
        (
            ["--processes", "2", "training.reduce=exact", "data.slot_size=2"],
            2,
            "`data.batch_size: 2` with `data.slot_size: 2` has 1 slot, and 2 processes share each batch",
        ),
        (["--processes", "2", "--gpus", "all"], 2, "`--gpus` and `--processes` exclude each other"),
        (["--processes", "2", "device=mps"], 2, "`--processes` and `device: mps` exclude each other"),
        (["--max-restarts", "1"], 2, "`--max-restarts` starts several processes again"),
    ):
        result = run_cli("train", config, *options)
        assert result.code == code
        assert re.search(f"error: {sentence}", result.err), result.err
    result = run_cli("train", "data", "--processes", "2")
    assert result.code == 2
    assert "error: a folder of data is for one process, not for 2\n  hint: `segcli init FOLDER` writes" in result.err
    for option in (["--vram", "8GiB"], ["--yes"]):
        result = run_cli("train", config, *option)
        assert result.code == 2
        assert f"{option[0]} is for a folder of data, and `{config}` is an experiment" in " ".join(result.err.split())
    assert not Path("outputs").exists()


def test_a_port_in_use_is_told(tiny, workplace):
    config, port, told = tiny(), free_port(), workplace / "told.txt"
    with socket.socket() as held:
        held.bind(("localhost", port))
        held.listen()
        child = os.fork()
        if not child:
            names = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in names.items()})
            with told.open("w", buffering=1) as sys.stderr:
                os._exit(run(["train", str(config), "device=cpu"]))
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert f"port {port} of this machine is in use" in told.read_text()
    assert told.read_text().count("error:") == 1
    assert "Traceback" not in told.read_text()
