"""`benchmarks/gpu_suite.sh` and what it reads from a trace, tested without a GPU."""

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ASYNC, WAIT = "cudaMemcpyAsync", "cudaStreamSynchronize"


@pytest.fixture(scope="module")
def trace():
    spec = importlib.util.spec_from_file_location("_gpu_trace", BENCHMARKS / "_gpu_trace.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(kind, name, begin, length=1, **args):
    return {"ph": "X", "cat": kind, "name": name, "ts": begin, "dur": length, "tid": begin % 3, "args": args}


@pytest.fixture(scope="module")
def events(trace, tmp_path_factory):
    """Two steps at 100 to 200 and 300 to 400, of which the GPU does a part after their end."""
    written = [
        event("user_annotation", "step", 300, 100),
        event("user_annotation", "step", 100, 100),
        event("gpu_user_annotation", "step", 150, 300),
        event("cuda_runtime", ASYNC, 110, correlation=1),
        event("cuda_runtime", ASYNC, 190, correlation=2),
        event("cuda_runtime", WAIT, 210, correlation=3),
        event("cuda_runtime", ASYNC, 220, correlation=4),
        event("cuda_runtime", WAIT, 310, correlation=5),
        event("cuda_runtime", "cudaMemcpy", 320, correlation=6),
        event("cuda_runtime", "cudaMallocAsync", 325, correlation=8),
        event("cuda_runtime", "cudaMalloc", 330, correlation=7),
        event("cpu_op", "aten::item", 310),
        event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 120, 10, correlation=1),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 205, 5, correlation=2),
        event("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", 230, 10, correlation=4),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 322, 1, correlation=6),
        event("kernel", "conv", 125, 45),
        event("kernel", "relu", 150, 10),
        event("kernel", "conv", 340, 20),
        {"ph": "i", "cat": "cuda_runtime", "name": WAIT, "ts": 120},
    ]
    path = tmp_path_factory.mktemp("trace") / "trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": written}).encode()))
    return trace.read(path)


def test_waits_and_allocations_are_counted_within_the_steps_only(trace, events):
    steps = trace.steps_of(events, "step")
    assert steps == [(100, 200), (300, 400)]
    assert trace.waits(events, steps) == {WAIT: 1, "cudaMemcpy": 1}
    assert trace.allocations(events, steps) == {"cudaMalloc": 1}


def test_a_copy_counts_for_the_step_that_asked_for_it_though_it_is_done_later(trace, events):
    assert trace.copies(events, trace.steps_of(events, "step")) == {
        "HtoD (Pinned -> Device)": 1,
        "DtoH (Device -> Pinned)": 1,
        "DtoH (Device -> Pageable)": 1,
    }


def test_time_in_which_kernels_overlap_counts_once_and_the_longest_gap_is_found(trace, events):
    work = trace.within(events, [(100, 400)], ("kernel",))
    assert trace.busy_us(work) == (235, 65, 170)  # 125 to 170 and 340 to 360
    assert trace.busy_us([]) == (0, 0, 0)
    assert trace.heaviest(work, 1) == [("conv", 65, 2)]


@pytest.mark.skipif(shutil.which("bash") is None, reason="the suite is a program of bash")
def test_the_parts_of_the_suite_take_at_most_eight_minutes_on_two_gpus():
    words = ["bash", str(BENCHMARKS / "gpu_suite.sh")]
    environment = {**os.environ, "PLAN": "1", "GPUS": "2", "DEVICE": "cuda", "ONLY": "", "SLOW": "1"}
    plan = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.partition(" ")[2] for line in plan]
    assert {"copies", "trace", "whole trainings, pictures", "prediction, a volume", "machine"} <= set(names)
    assert len(set(names)) == len(names)
    assert sum(int(line.split()[0]) for line in plan) <= 480
