import re
from pathlib import Path

import pytest
import torch

from segcli.engine import runtime
from segcli.engine.runtime import choose_device, choose_precision, described_device


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that PyTorch would report; nothing can be put on it."""

    def make(capability=(8, 0), name="NVIDIA A100", hip=None):
        properties = type("Properties", (), {"name": name, "total_memory": 2**34})
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
        monkeypatch.setattr(torch.version, "hip", hip)
        monkeypatch.setattr(torch.version, "cuda", None if hip else "13.0")

    return make


def test_auto_takes_the_gpu_then_mps_then_the_cpu(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    gpu()
    assert choose_device("auto").type == "cuda"


def test_a_gpu_of_amd_is_described_with_rocm_and_one_of_nvidia_with_cuda(gpu):
    gpu(name="AMD Instinct MI300X", hip="6.4")
    assert described_device(torch.device("cuda")) == "cuda (AMD Instinct MI300X, ROCm 6.4)"
    gpu()
    assert described_device(torch.device("cuda:0")) == "cuda:0 (NVIDIA A100, CUDA 13.0)"


@pytest.mark.parametrize(
    ("capability", "hip", "name"),
    [
        ((9, 0), None, "bf16"),
        ((8, 0), None, "bf16"),
        ((7, 5), None, "fp16"),
        ((6, 1), None, "fp32"),
        ((9, 4), "6.4", "bf16"),
    ],
)
def test_auto_takes_the_precision_that_the_gpu_is_fast_at(gpu, capability, hip, name):
    gpu(capability=capability, hip=hip, name="GTX 1080")
    chosen = choose_precision("auto", torch.device("cuda"))
    assert chosen.name == name
    told = "`training.amp` is off: GTX 1080 has no matrix units for 16 bit"
    assert chosen.refused == (told if name == "fp32" else None)


def test_mixed_precision_on_the_cpu_is_off_and_says_so_where_it_was_asked_for(run_cli, tiny):
    result = run_cli("train", tiny(training__amp=True), "--dry-run")
    assert result.code == 0
    assert "`training.amp` is off: on the CPU it would save nothing" in result.err
    assert "`training.amp` is off" not in run_cli("train", tiny(training__amp="auto"), "--dry-run").err


def test_training_says_which_device_auto_chose(run_cli, tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(runtime, "DRIVERS", {Path(__file__): "NVIDIA"})
    result = run_cli("train", tiny(device="auto"), "--dry-run")
    assert re.search(r"parameters on the CPU, chosen by `device: auto`, fp32", result.err)
    assert "this machine has a driver of NVIDIA, but PyTorch" in result.err
    assert "driver of NVIDIA" not in run_cli("train", tiny(device="cpu"), "--dry-run").err
