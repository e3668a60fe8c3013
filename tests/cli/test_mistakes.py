"""A user's mistake: one message that names file or key and the hint, the right exit code, nothing written."""

import subprocess
import sys
import textwrap

import pytest
import torch
from factories import write_folders


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def spoil(workplace, name):
    data = workplace / "data"
    match name:
        case "folder":
            (data / "train").rename(data / "elsewhere")
        case "mask":
            (data / "train/label/01.png").unlink()
        case "size":
            write_folders(workplace / "other", {"train": 2}, size=(40, 48))
            (workplace / "other/train/label/01.png").replace(data / "train/label/01.png")
        case "unreadable":
            (data / "train/image/01.png").write_text("junk")
        case "empty":
            for path in (data / "val").glob("*/*"):
                path.unlink()


@pytest.mark.parametrize(
    ("spoilt", "overrides", "code", "text"),
    [
        ("folder", [], 3, "no folder `data/train/image` with the images of split `train`"),
        ("mask", [], 3, "image `data/train/image/01.png` has no mask"),
        ("size", [], 3, "`data/train/label/01.png` is 40x48 pixels, its image"),
        ("unreadable", [], 3, "cannot read image `data/train/image/01.png`"),
        ("empty", [], 3, "split `val` is empty"),
        (
            None,
            ["dataset.num_channels=1", "dataset.mean=[0.5]", "dataset.std=[0.5]"],
            3,
            "has 3 channels, but the data set states",
        ),
        (None, ["trainig.epochs=3"], 2, "trainig.epochs=3  trainig: unknown key\n      hint: did you mean `training`?"),
        (None, ["training.epochs=many"], 2, "training.epochs: must be a whole number, got `'many'`"),
        (None, ["data.batch_size=0"], 2, "data.batch_size: must be at least 1, got 0"),
        (None, ["data.preprocessing.pad_to_multiple=3"], 2, "needs a multiple of 2"),
        (None, ["data.augmentation={transforms: [{type: Blurr}]}"], 2, "albumentations has no transform `Blurr`"),
        (None, ["model.type=segformer"], 2, "unknown model `segformer`"),
        (None, ["training.amp=fp16"], 5, "`training.amp: fp16` does not train on the CPU"),
        (None, ["device=mps"], 5, "no device `mps`"),
        (None, ["training.metrics=[dice]", "training.early_stopping.monitor=val_iou"], 2, "`val_iou` is not computed"),
    ],
)
def test_train_refuses_and_writes_nothing(run_cli, tiny, workplace, spoilt, overrides, code, text):
    config = tiny()
    spoil(workplace, spoilt)
    before = tree(workplace)
    result = run_cli("train", config, *overrides)
    assert result.code == code, result.err
    assert text in result.err
    assert result.err.count("error:") == 1
    assert "Traceback" not in result.err
    assert result.out == ""
    assert tree(workplace) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_with_the_way_out(run_cli, tiny):
    result = run_cli("train", tiny(), "device=cuda")
    assert result.code == 5
    assert "no device `cuda`" in result.err
    assert "`device=cpu`" in result.err


def test_images_of_different_size_are_told_before_the_first_epoch(run_cli, tiny, workplace):
    config = tiny()
    write_folders(workplace / "data", {"train": 1}, size=(40, 48))
    result = run_cli("train", config)
    assert result.code == 2
    assert "training images differ in size" in result.err
    assert run_cli("train", config, "data.patch_size=[32,32]", "training.epochs=1").code == 0


@pytest.fixture
def trained(tiny_of):
    """Folder of a finished run."""
    return tiny_of(1)


def test_a_run_is_not_overwritten_unless_asked(run_cli, tiny, trained):
    before = tree(trained)
    result = run_cli("train", tiny(training__epochs=1))
    assert result.code == 2
    assert "already holds a run" in result.err
    assert "--overwrite" in result.err
    assert "another `name`" in result.err
    assert tree(trained) == before
    assert run_cli("train", tiny(training__epochs=1), "--overwrite").code == 0
    assert tree(trained) != before


def test_a_training_that_cannot_begin_destroys_nothing_even_with_overwrite(run_cli, tiny, trained, workplace):
    spoil(workplace, "mask")
    before = tree(trained)
    assert run_cli("train", tiny(training__epochs=1), "--overwrite").code == 3
    assert {path: time for path, time in tree(trained).items() if path.name != ".lock"} == {
        path: time for path, time in before.items() if path.name != ".lock"
    }


def test_a_run_folder_in_use_is_refused(run_cli, tiny, trained):
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from segcli.engine.runfolder import RunFolder
        with RunFolder(Path(sys.argv[1])).locked():
            print("held", flush=True)
            sys.stdin.read()
        """
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(trained)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        for command in (["resume", "tiny"], ["train", tiny(training__epochs=1), "--overwrite"]):
            result = run_cli(*command)
            assert result.code == 2
            assert f"is in use by process {holder.pid}" in result.err
    finally:
        holder.communicate("")


def damage(path, how):
    content = bytearray(path.read_bytes())
    match how:
        case "cut":
            content = content[: len(content) // 2]
        case "bit":
            content[-40] ^= 1
        case "header":
            content[20] ^= 1
        case "text":
            content = b"not a checkpoint"
        case "empty":
            content = b""
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", ["cut", "bit", "header", "text", "empty"])
@pytest.mark.parametrize("command", ["eval", "predict", "resume"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(run_cli, trained, workplace, how, command):
    path = trained / "checkpoints/best.safetensors"
    damage(path, how)
    before = path.read_bytes()
    arguments = ["predict", workplace / "data/test/image", "--run", path] if command == "predict" else [command, path]
    result = run_cli(*arguments)
    assert result.code == 4, result.err
    assert "best.safetensors" in result.err
    assert "Traceback" not in result.err
    assert path.read_bytes() == before


def test_a_pickled_checkpoint_is_never_opened(run_cli, trained, tmp_path):
    path = trained / "checkpoints/old.pth"
    torch.save({"weights": torch.zeros(1)}, path)
    result = run_cli("eval", path)
    assert result.code == 4
    assert "is not a segcli checkpoint" in result.err


def test_a_checkpoint_of_other_weights_is_refused(run_cli, trained):
    result = run_cli("eval", "tiny", "model.depths=[4,8,16]")
    assert result.code == 4
    assert "do not fit the network" in result.err


def test_resume_without_a_checkpoint_does_not_start_over(run_cli, trained):
    for path in (trained / "checkpoints").iterdir():
        path.unlink()
    result = run_cli("resume", trained)
    assert result.code == 4
    assert "no checkpoint at" in result.err


@pytest.mark.parametrize(
    "override", ["model.depths=[4,8,16]", "seed=7", "data.batch_size=3", "training.gradient_accumulation_steps=2"]
)
def test_resume_refuses_what_would_make_another_run(run_cli, trained, override):
    result = run_cli("resume", "tiny", override)
    assert result.code == 2
    assert "a resumed run cannot change" in result.err


def test_a_finished_run_says_so_and_can_be_trained_on(run_cli, trained):
    result = run_cli("resume", "tiny")
    assert result.code == 0
    assert "run tiny is finished after 1 epoch" in result.out
    result = run_cli("resume", "tiny", "training.epochs=3", "data.num_workers=1")
    assert result.code == 0
    assert "trained tiny for 3 epochs" in result.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["train", "none.yaml"], 2, "no config file `none.yaml`"),
        (["train", "tinny.yaml"], 2, "did you mean `tiny.yaml`?"),
        (["train", "tiny.yaml", "name=x", "dataset.image_folder=imgs"], 3, "; `data/train` has `image`, `label`"),
        (["train", "no folder"], 2, "in `.` there is `tiny.yaml`"),
        (["resume", "none"], 4, "no run `none`"),
        (["resume", "none"], 4, "runs are folders under `outputs/experiments`: `tiny`"),
        (["eval", "tinny"], 4, "did you mean `tiny`?"),
        (["eval", "tiny", "--split", "all"], 2, "unknown split `all`"),
        (["eval", "tiny", "other"], 2, "one run at a time"),
        (["eval", "tiny", "--threshold", "2"], 2, "threshold"),
        (["predict", "none.png"], 3, "no file, folder or match for `none.png`"),
        (["predict", "tinny.yaml"], 3, "did you mean `tiny.yaml`?"),
        (["predict", "configs"], 3, "no file, folder or match for `configs`"),
        (["profile-memory", "none"], 2, "no experiment file and no run `none`"),
        (["profile-memory", "tinny"], 2, "did you mean `tiny`?"),
        (["profile-memory", "--vram", "much"], 2, "`--vram much` is not a size"),
        (["profile-memory", "--vram", "1e400GiB"], 2, "`--vram 1e400GiB` is not a size"),
        (["profile-memory", "--sweep", "epochs=1,2"], 2, "`--sweep epochs=1,2` is not a list of sizes"),
        (["profile-memory", "--sweep", "batch=0,2"], 2, "`--sweep batch=0,2` is not a list of sizes"),
        (["export", "tinny"], 4, "did you mean `tiny`?"),
        (["export", "tiny", "--format", "onx"], 2, "--format is one of onnx, torchscript, pt2, got `onx`"),
        (["export", "tiny", "--half", "--int8"], 2, "`--half` and `--int8` exclude each other"),
        (["export", "tiny", "--int8", "--format", "pt2"], 2, "`--int8` needs `--format onnx`, got `--format pt2`"),
        (["data", "split", "tiny.yaml"], 2, "draws no split: folders, names or a file written by hand define it"),
        (["data", "sample", "vesels"], 2, "did you mean `vessels`?"),
        (["frobnicate"], 2, "No such command 'frobnicate'."),
        (["exprt"], 2, "No such command 'exprt'. Did you mean 'export'?"),
        (["test", "tiny"], 2, "No such command 'test': take `segcli eval`"),
        (["plan"], 2, "No such command 'plan': take `segcli init FOLDER`"),
        (["check", "tiny.yaml"], 2, "No such command 'check': take `segcli data check`"),
        (["completion", "bash"], 2, "take `segcli --completion SHELL`"),
        (["train"], 2, "Missing argument"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_other_mistakes_of_a_command(run_cli, arguments, code, text):
    result = run_cli(*arguments)
    assert result.code == code
    assert text in result.err


def test_without_any_run_the_commands_say_how_to_get_one(run_cli):
    result = run_cli("eval")
    assert result.code == 4
    assert "no run under `outputs/experiments`" in result.err
    assert "segcli train CONFIG" in result.err


def test_the_first_experiment_says_how_to_make_its_data(run_cli, workplace):
    from pathlib import Path

    root = Path(__file__).parents[2]
    (workplace / "configs").symlink_to(root / "configs")
    result = run_cli("train", "configs/exp.yaml", "device=cpu")
    assert result.code == 3
    assert "`segcli data sample vessels data/vessels_sample`" in result.err


def test_our_own_bug_keeps_its_traceback(run_cli, tiny, monkeypatch, capsys):
    monkeypatch.setattr("segcli.engine.training.session.assemble", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError) as bug:
        run_cli("train", tiny())
    sys.excepthook(bug.type, bug.value, bug.tb)  # what Python does next
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("ZeroDivisionError: division by zero\n")


def test_a_place_that_cannot_be_written_is_told(run_cli, tiny, workplace):
    (workplace / "outputs").write_text("a file in the way")
    result = run_cli("train", tiny())
    assert result.code == 3
    assert "cannot write `outputs/experiments/tiny`" in result.err
    assert "Traceback" not in result.err


def test_a_full_disk_ends_the_run_with_one_sentence_and_the_old_checkpoint(run_cli, tiny, trained, monkeypatch):
    from safetensors import SafetensorError

    from segcli.engine import checkpoint

    before = (trained / "checkpoints/last.safetensors").read_bytes()

    def full(*arguments, **options):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    result = run_cli("resume", "tiny", "training.epochs=2")
    assert result.code == 3
    assert "last.safetensors` (I/O error: No space left on device" in result.err
    assert (trained / "checkpoints/last.safetensors").read_bytes() == before


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_ctrl_c_ends_a_command_at_once(run_cli, trained, workplace, monkeypatch, command):
    import signal

    from segcli.engine.inference.inferer import Inferer
    from segcli.engine.inference.predictor import Predictor

    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(*((Inferer, "logits") if command == "eval" else (Predictor, "predict")), interrupted)
    result = run_cli(*(["eval"] if command == "eval" else ["predict", workplace / "data/test/image"]))
    assert result.code == 130
    assert result.err.rstrip().endswith("stopped")


@pytest.mark.posix
def test_a_worker_killed_at_any_moment_ends_the_training_with_one_sentence(tiny, workplace):
    import time

    import psutil

    process = subprocess.Popen(
        [sys.executable, "-m", "segcli", "train", str(tiny(training__epochs=500, data__num_workers=1))],
        stderr=subprocess.PIPE,
        text=True,
    )
    history = workplace / "outputs/experiments/tiny/metrics_history.yaml"
    deadline = time.monotonic() + 60
    while not history.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    psutil.Process(process.pid).children()[0].kill()
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 5, err
    assert "loader worker 0 died of SIGKILL" in err
    assert "data/" in err
    assert "MiB of memory are free" in err
    assert "Traceback" not in err
