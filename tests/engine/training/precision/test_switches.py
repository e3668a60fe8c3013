import pytest
import torch

from segcli.config.schema import Training
from segcli.engine.training.precision.switches import set_gpu_switches


@pytest.fixture(autouse=True)
def _switches_set_back(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = switches()
    yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[:2]
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before[2:4]
    torch.use_deterministic_algorithms(before[4])


def switches():
    cudnn = torch.backends.cudnn
    return (
        cudnn.benchmark,
        cudnn.deterministic,
        cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    )


def test_a_training_on_a_gpu_states_its_switches():
    gpu = torch.device("cuda")
    told = set_gpu_switches(gpu, Training(), "fp32")
    assert told == (
        "float32 on this GPU: convolutions and matrix products in TF32 (`training.deterministic=true`: without)"
    )
    assert switches() == (False, False, True, True, False)
    assert set_gpu_switches(gpu, Training(), "bf16") is None
    told = set_gpu_switches(gpu, Training(deterministic=True), "bf16")
    assert "sums have one order" in told
    assert switches() == (False, True, False, False, True)


def test_a_training_on_a_cpu_leaves_the_switches_alone():
    before = switches()
    assert set_gpu_switches(torch.device("cpu"), Training(deterministic=True), "fp32") is None
    assert switches() == before
