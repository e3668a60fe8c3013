"""The files of a run that was killed and resumed are those of a run that never stopped."""

import csv
import re
import resource
from hashlib import sha256

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.summary.writer import event_file_writer

from segcli.core.errors import DataError
from segcli.engine.memory import COLUMNS, MemoryLog
from segcli.engine.runfolder import RunFolder
from segcli.engine.training import trainer, watching

FULL = {
    "training__epochs": 3,
    "training__loss": {"dice": 0.5, "bce": 0.5},
    "checkpoint": {"every_minutes": 0.0, "save_every": 2},
    "logging": {"log_images": True, "image_log_frequency": 1, "log_activations": True, "activation_log_frequency": 1},
}


@pytest.fixture(autouse=True, scope="module")
def numbers_of_one_length():
    """Number the event files so that they sort as they were written; a process of a user writes fewer than ten."""
    event_file_writer._global_uid = event_file_writer.AtomicCounter(10**6)


@pytest.fixture
def killed(monkeypatch):
    """Ends a command like a kill at the call number `at` of `what`; before the call, or after it."""

    def kill(place, what, at, call, *, after=False):
        original, calls = getattr(place, what), []

        def counted(*arguments, **options):
            calls.append(1)
            if len(calls) == at and not after:
                raise KeyboardInterrupt
            result = original(*arguments, **options)
            if len(calls) == at:
                raise KeyboardInterrupt
            return result

        with monkeypatch.context() as patch:
            patch.setattr(place, what, counted)
            return call()

    return kill


def events(folder):
    """All values of an event folder, as TensorBoard shows them, and the number of graphs and hyper-parameters."""
    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    shown.Reload()
    tags = shown.Tags()
    found = {  # the memory of a process is another one each time
        (tag, event.step, None if tag.startswith("memory/") else event.value)
        for tag in tags["scalars"]
        for event in shown.Scalars(tag)
    }
    steps = [(tag, event.step) for tag in tags["scalars"] for event in shown.Scalars(tag)]
    assert len(steps) == len(set(steps))
    pictures = [(tag, e.step, e.encoded_image_string) for tag in tags["images"] for e in shown.Images(tag)]
    outputs = [(tag, e.step, str(e.histogram_value)) for tag in tags["histograms"] for e in shown.Histograms(tag)]
    stored = [event for path in folder.glob("events*") for event in EventFileLoader(str(path)).Load()]
    graphs = sum(bool(event.graph_def) for event in stored)
    chosen = sum(value.tag == "_hparams_/session_start_info" for event in stored for value in event.summary.value)
    return found, sorted(pictures), sorted(outputs), graphs, chosen


def report(folder):
    text = (folder / "report.html").read_text()
    # the letters of a picture may hold the name by chance
    text = re.sub(r"base64,[\w+/=]*", lambda picture: sha256(picture[0].encode()).hexdigest(), text)
    text = text.replace(folder.name, "RUN")
    for times in (r"<time.*?</time>", r"\d+(\.\d+)? (s|min)\b", r"<dt>training time.*?</dd>", r"memory_gib: [\d.]+"):
        text = re.sub(times, "TIME", text)
    return re.sub(r"segcli train tiny.yaml name=RUN|segcli train tiny.yaml|- name=RUN\n", "", text)


def places(folder):
    with (folder / "memory.csv").open(newline="") as stream:
        return [(row["epoch"], row["batch"], row["stage"]) for row in csv.DictReader(stream)]


def assert_same_files(folder, whole):
    told = {entry[1] for entry in events(folder / "tensorboard")[0] if entry[0] == "memory/peak_mib"}
    assert told == {1, 2, 3}
    for line in ("", "train", "val"):
        assert events(folder / "tensorboard" / line) == events(whole / "tensorboard" / line)
    assert (folder / "metrics_history.yaml").read_text() == (whole / "metrics_history.yaml").read_text()
    config = (whole / "config.yaml").read_text().replace(f"name: {whole.name}\n", f"name: {folder.name}\n")
    assert (folder / "config.yaml").read_text() == config
    assert places(folder) == places(whole)
    assert report(folder) == report(whole)
    names = [{str(p.relative_to(f)) for p in f.rglob("*") if "tfevents" not in p.name} for f in (folder, whole)]
    assert names[0] == names[1]


@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_every_fourth_checkpoint_has_every_epoch_once_in_every_file(
    run_cli, tiny, workplace, killed, after
):
    config = tiny(**FULL)
    assert run_cli("train", config, "name=whole").code == 0
    code = killed(trainer, "write_checkpoint", 4, lambda: run_cli("train", config, "name=cut"), after=after).code
    kills = 0
    while code == 130:
        kills += 1
        code = killed(trainer, "write_checkpoint", 4, lambda: run_cli("resume", "cut"), after=after).code
    assert (code, kills >= 2) == (0, True)
    assert_same_files(workplace / "outputs/experiments/cut", workplace / "outputs/experiments/whole")


@pytest.mark.parametrize(
    ("what", "at"), [("Tracking.graph", 1), ("Tracking.scalars", 3), ("Tracking.images", 2), ("Watching.begin", 1)]
)
def test_a_run_killed_while_it_logs_has_every_epoch_once(run_cli, tiny, workplace, killed, what, at):
    config, (kind, method) = tiny(**FULL), what.split(".")
    assert run_cli("train", config, "name=whole").code == 0
    place = getattr(watching, kind, None) or watching.Watching
    assert killed(place, method, at, lambda: run_cli("train", config, "name=cut"), after=method != "graph").code == 130
    assert run_cli("resume", "cut").code == 0
    assert_same_files(workplace / "outputs/experiments/cut", workplace / "outputs/experiments/whole")


@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_after_its_last_checkpoint_gets_its_hyper_parameters_and_its_report(
    run_cli, tiny, workplace, killed, after
):
    config = tiny(**FULL)
    assert run_cli("train", config, "name=whole").code == 0
    train = lambda: run_cli("train", config, "name=cut")  # noqa: E731
    assert killed(watching.Watching, "training_over", 1, train, after=after).code == 130
    result = run_cli("resume", "cut")
    assert (result.code, "is finished after 3 epochs" in result.out) == (0, True), result
    assert_same_files(workplace / "outputs/experiments/cut", workplace / "outputs/experiments/whole")


def test_a_clock_that_was_set_back_mixes_up_no_curves(run_cli, tiny, workplace, killed):
    config, folder = tiny(**FULL), workplace / "outputs/experiments/cut"
    assert run_cli("train", config, "name=whole").code == 0
    train = lambda: run_cli("train", config, "name=cut")  # noqa: E731
    assert killed(watching.Watching, "epoch_over", 2, train, after=True).code == 130
    for path in (folder / "tensorboard").rglob("events*"):
        path.write_bytes(path.read_bytes() + path.read_bytes()[:20])  # and the last event was cut off
        later = path.with_name(re.sub(r"tfevents\.\d+", "tfevents.9999999999", path.name))
        path.rename(later)
    assert run_cli("resume", "cut").code == 0
    assert_same_files(folder, workplace / "outputs/experiments/whole")


def test_unfinished_files_of_a_killed_process_are_removed(run_cli, tiny_run):
    left = [".last.safetensors.1.part", ".best.safetensors.99999999.part", ".tmpA1b2C3"]
    for name in left:
        (tiny_run / "checkpoints" / name).write_bytes(b"half a checkpoint")
    (tiny_run / ".report.html.99999999.part").write_bytes(b"half a report")
    (tiny_run / "tensorboard/train").mkdir(parents=True, exist_ok=True)
    (tiny_run / "tensorboard/train/.events.out.tfevents.1.99999999.part").write_bytes(b"half a file")
    assert run_cli("resume", "tiny").code == 0
    assert sorted(path.name for path in tiny_run.rglob(".*")) == [".lock"]


def test_lines_of_memory_after_the_checkpoint_and_half_lines_are_removed(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    sizes = "1.0,2.0,3.0,4.0,5.0,6.0\n"
    lines = [f"1.0,1,3,train,{sizes}", f"1.0,1,3,val,{sizes}", f"2.0,2,1,train,{sizes}", f"2.0,2,2,train,{sizes}"]
    folder.memory.write_text("".join([f"{COLUMNS}\n", *lines, "2.5,2,2,tr"]))
    MemoryLog(folder.memory, "cpu").rewind(epoch=2, batch=2)
    assert folder.memory.read_text() == "".join([f"{COLUMNS}\n", *lines[:3]])
    MemoryLog(folder.memory, "cpu").rewind(epoch=1, batch=0)
    assert folder.memory.read_text() == f"{COLUMNS}\n"


@pytest.mark.parametrize("cut", ["", "elapsed_s,epo", COLUMNS])
def test_a_table_of_memory_that_was_cut_off_in_its_heading_gets_it_back(tmp_path, cut):
    log = MemoryLog(tmp_path / "memory.csv", torch.device("cpu"))
    log.path.write_text(cut)
    log.rewind(epoch=1, batch=0)
    log.close_stage(elapsed_s=1.0, epoch=1, batch=3, stage="train")
    heading, line = log.path.read_text().splitlines()
    assert (heading, line.split(",")[1:4]) == (COLUMNS, ["1", "3", "train"])


def test_a_line_of_memory_that_does_not_fit_on_the_disk_is_taken_back(tmp_path):
    log = MemoryLog(tmp_path / "memory.csv", torch.device("cpu"))
    place = {"elapsed_s": 1.0, "epoch": 1, "batch": 3, "stage": "train"}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room, content in ((30, None), (len(COLUMNS) + 70, f"{COLUMNS}\n")):
        if content is not None:
            log.close_stage(**place)
        whole = log.path.read_bytes() if content else None
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            with pytest.raises(DataError, match="cannot write"):
                log.close_stage(**place)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (log.path.read_bytes() if log.path.exists() else None) == whole


def test_the_memory_of_a_run_of_an_earlier_version_goes_on_with_the_new_column(tmp_path):
    path, earlier = tmp_path / "memory.csv", COLUMNS.removesuffix(",process_mib")
    path.write_text(f"{earlier}\n1.0,1,3,train,7.0,8.0,9.0,4.0,5.0\n1.5,1,3,val,1.0,2.0,11.0,4.0,5.0\n2.0,2,1,tr")
    log = MemoryLog(path, "cpu")
    log.rewind(epoch=2, batch=0)
    lines = ["1.0,1,3,train,7.0,8.0,9.0,4.0,5.0,", "1.5,1,3,val,1.0,2.0,11.0,4.0,5.0,"]
    assert path.read_text().splitlines() == [COLUMNS, *lines]
    assert log.by_epoch == {1: {"allocated_mib": 7.0, "reserved_mib": 8.0, "peak_mib": 11.0}}
