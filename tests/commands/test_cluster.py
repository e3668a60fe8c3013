"""Jobs for clusters: what their scripts start, with stand-ins for the commands of Slurm."""

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from segcli.config.shipped import folder, jobs

CLUSTER = folder() / "cluster"
SCRIPTS = sorted(CLUSTER.glob("*.sh"))
SLURM = {"SLURM_JOB_ID": "4711", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NODELIST": "gpu[3-4]"}
FOLD = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MAX": "5"}
WAITS = (
    "echo $$ > running; kill -USR1 $(cat script); for _ in {1..200}; do [ -e stopped ] && exit CODE; sleep 0.05; done"
)
"""Slurm signals the script; this waits until `scancel` has passed the signal on, and ends with a code."""
STUBS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'case $1 in show) echo gpu3; echo gpu4;; *) echo "scontrol $*" >> calls;; esac',
    "scancel": 'echo "scancel $*" >> calls; kill -USR1 $(cat running); sleep 0.1; touch stopped',
}


def left_of(session: int) -> list[str]:
    """What still runs of a session, and is killed now."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(psutil.Process(pid).cmdline()))
                os.kill(pid, signal.SIGKILL)
    return found


@pytest.fixture
def job(workplace, monkeypatch):
    """Run a script as Slurm would; returns its exit code and the calls of the stand-ins."""
    programs = workplace / "bin"
    programs.mkdir()

    def call(script, *words, trains="exit 0", **variables):
        stubs = STUBS | dict.fromkeys(("segcli", "torchrun"), f'echo "${{0##*/}} $*" >> calls\n{trains}')
        for name, body in stubs.items():
            (programs / name).write_text(f"#!/bin/bash\n{body}\n")
            (programs / name).chmod(0o755)
        for name in ("calls", "stopped"):
            Path(name).unlink(missing_ok=True)
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", **SLURM, **variables}
        command = ["bash", "-c", 'echo $$ > script; exec bash "$0" "$@"', str(script), *words]
        with Path("told").open("w") as told:  # not a pipe: its reader would wait for whoever is left
            script = subprocess.Popen(command, env=environment, stderr=told, start_new_session=True)
            try:
                code = script.wait(timeout=20)
            finally:
                left = left_of(script.pid)
        assert (left, Path("told").read_text()) == ([], "")
        return code, Path("calls").read_text().splitlines()

    return call


@pytest.mark.posix
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_no_mistake_in_its_syntax(path):
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.posix
def test_each_job_of_the_array_trains_its_fold_and_ends_with_its_exit_code(job):
    script = CLUSTER / "slurm_folds.sh"
    trained = ["segcli train exp.yaml training.epochs=3 --folds 5 --fold 2"]
    for code in (0, 2):
        assert job(script, "exp.yaml", "training.epochs=3", trains=f"exit {code}", **FOLD) == (code, trained)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("name", "trains", "code"),
    [
        ("slurm_folds", f"trap 'exit 138' USR1; {WAITS}", 138),
        # `torchrun` survives the signal, and fails when the processes that it started have ended
        ("slurm_nodes", WAITS.replace("CODE", "1"), 1),
    ],
)
def test_the_signal_of_the_time_limit_reaches_the_training_and_the_job_is_queued_again(job, name, trains, code):
    ended, calls = job(CLUSTER / f"{name}.sh", "exp.yaml", "exp", trains=trains, **FOLD)
    assert calls[1:] == ["scancel --signal=USR1 4711", "scontrol requeue 4711"]
    assert ended == code


@pytest.mark.posix
@pytest.mark.parametrize("name", ["slurm_folds", "slurm_nodes"])
def test_a_training_that_ends_by_itself_after_the_signal_is_not_queued_again(job, name):
    finishes = WAITS.replace("CODE", "0")
    code, calls = job(CLUSTER / f"{name}.sh", "exp.yaml", "exp", trains=f"trap : USR1; {finishes}", **FOLD)
    assert (code, calls[1:]) == (0, ["scancel --signal=USR1 4711"])


@pytest.mark.posix
def test_several_machines_meet_at_the_first_one_and_a_begun_run_is_resumed(job):
    script = CLUSTER / "slurm_nodes.sh"
    meets = "--rdzv-backend c10d --rdzv-id 4711 --rdzv-endpoint gpu3:24711"
    begins = f"torchrun --nnodes 2 --nproc-per-node 4 {meets} -m segcli"
    words = ("exp.yaml", "mine", "training.strategy=fsdp")
    assert job(script, *words) == (0, [f"{begins} train exp.yaml name=mine training.strategy=fsdp"])
    last = Path("outputs/experiments/mine/checkpoints/last.safetensors")
    last.parent.mkdir(parents=True)
    last.touch()
    assert job(script, *words) == (0, [f"{begins} resume mine"])


def test_the_job_of_kubernetes_trains_as_many_folds_as_it_has_pods(run_cli, workplace):
    job = yaml.safe_load((CLUSTER / "kubernetes_folds.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["spec"]["completionMode"] == "Indexed"
    (line,) = container["args"]
    run = ["/bin/sh", "-c", line.replace("exec segcli", "echo")]
    words = subprocess.run(run, env={"JOB_COMPLETION_INDEX": "4"}, capture_output=True, text=True, check=True).stdout
    assert words.split() == ["train", "configs/exp.yaml", "--folds", str(job["spec"]["completions"]), "--fold", "5"]
    volumes = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_each_job_is_explained_in_ten_lines_and_can_be_listed_and_copied(run_cli, workplace):
    assert sorted(jobs()) == [f"cluster/{path.stem}" for path in sorted(CLUSTER.iterdir())]
    listed = run_cli("configs", "list").out
    for name, path in jobs().items():
        text = path.read_text()
        assert re.findall(r"^# ?(\d+)\. ", text, re.MULTILINE) == [str(number) for number in range(1, 11)], name
        assert f"configs/{path.relative_to(folder())}" in text.removeprefix("#!/bin/bash\n").splitlines()[0]
        assert name in listed
    assert "Cross-validation on Slurm: an array of jobs, one GPU and one fold each." in listed
    assert run_cli("configs", "copy", "cluster/slurm_nodes", "mine").out == "wrote mine/cluster/slurm_nodes.sh\n"
    assert "# sbatch mine/cluster/slurm_nodes.sh mine/exp.yaml exp" in Path("mine/cluster/slurm_nodes.sh").read_text()


# ---- a fold by its number


def test_folds_are_trained_one_by_one_and_the_last_one_writes_the_scores_of_all(tiny, run_cli, workplace):
    config = tiny(training__epochs=1)
    first = run_cli("train", config, "--folds", 2, "--fold", 2)
    assert first.code == 0, first.err
    folder = workplace / "outputs/experiments/tiny"
    assert not (folder / "fold_1").exists()
    assert not (folder / "cross_validation.yaml").exists()
    second = run_cli("train", config, "--folds", 2, "--fold", 1)
    assert "all 2 folds are trained: wrote outputs/experiments/tiny/cross_validation.yaml" in second.err
    scores = yaml.safe_load((folder / "cross_validation.yaml").read_text())
    values = [yaml.safe_load((folder / f"fold_{n}/metrics_history.yaml").read_text())[-1]["val"] for n in (1, 2)]
    for name in ("val_loss", "val_dice"):
        assert scores["last_epoch"][name]["folds"] == scores["best_epoch"][name]["folds"] == [v[name] for v in values]
    last = folder / "fold_1/checkpoints/last.safetensors"
    before = last.stat().st_mtime_ns
    assert run_cli("train", config, "--folds", 2, "--fold", 1).code == 0  # a job that is started once more
    assert last.stat().st_mtime_ns == before


def test_a_fold_that_there_is_not_is_refused(tiny, run_cli, workplace):
    for words, sentence in (
        (["--fold", "2"], "`--fold 2` is one of several\n  hint: add `--folds K`"),
        (["--folds", "3", "--fold", "4"], "`--fold 4` is not one of 3 folds\n  hint: give a number from 1 to 3"),
        (["--folds", "3", "--fold", "1", "--overwrite"], "`--overwrite` would also replace what other jobs train"),
    ):
        result = run_cli("train", tiny(), *words)
        assert result.code == 2
        assert sentence in result.err
    assert not (workplace / "outputs").exists()


def test_the_environment_of_a_run_names_the_job_that_trained_it(tiny, run_cli, workplace, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setenv("HOSTNAME", "pod-0")
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    described = yaml.safe_load((workplace / "outputs/experiments/tiny/environment.yaml").read_text())
    assert described["cluster"] == {
        "slurm": {"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "1"},
        "kubernetes": {"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "pod-0"},
    }
