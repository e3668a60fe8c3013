import re
from pathlib import Path

import pytest
import torch

from segcli.core.processor import has_fast_bf16, processor_flags
from segcli.engine import runtime
from segcli.engine.checkpoint import read_checkpoint, write_checkpoint
from segcli.engine.runtime import choose_device, choose_precision, described_device, unused_gpus


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


X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f{}\n\nprocessor\t: 1\nflags\t\t: fpu\n"


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """A processor with the abilities that `/proc/cpuinfo` would list; None for a system without that file."""

    def make(text):
        path = tmp_path / "cpuinfo"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        flags = processor_flags
        monkeypatch.setattr("segcli.core.processor.processor_flags", lambda: flags(path))

    return make


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        (X86.format(""), False),
        (X86.format(" avx512_bf16"), True),
        (X86.format(" amx_tile amx_bf16"), True),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("nothing\n", None),
        (None, None),
    ],
)
def test_the_flags_of_the_processor_tell_whether_it_computes_in_bf16(processor, text, fast):
    processor(text)
    assert has_fast_bf16() is fast
    cpu = torch.device("cpu")
    assert choose_precision(True, cpu).name == ("bf16" if fast else "fp32")
    assert choose_precision("auto", cpu).name == "fp32"
    assert choose_precision("bf16", cpu).name == "bf16"
    assert (choose_precision("bf16", cpu).slow is None) is (fast is not False)
    assert choose_precision("off", cpu).slow is None


def test_a_processor_that_emulates_bf16_is_told_before_the_training_with_the_way_out(run_cli, tiny, processor):
    processor(X86.format(""))
    config = tiny(training__amp="bf16")
    told = "`training.amp: bf16` is slow here: this processor emulates bf16"
    result = run_cli("train", config, "--dry-run")
    assert result.code == 0
    assert told in result.err
    assert re.search(r"takes \d+\.\d times as long as in float32 .*`training.amp=off`", " ".join(result.err.split()))
    assert told not in run_cli("train", config, "--dry-run", "training.amp=off").err


def test_predictions_are_in_float32_on_a_processor_that_emulates_bf16(run_cli, tiny, processor, workplace):
    processor(X86.format(""))
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    told = "predictions are computed in float32: this processor emulates bf16"
    assert told not in run_cli("eval", "tiny").err
    plain = (workplace / "outputs/tests/tiny/per_image_metrics.yaml").read_bytes()
    last = workplace / "outputs/experiments/tiny/checkpoints/best.safetensors"
    checkpoint = read_checkpoint(last)
    checkpoint.header["config"]["training"]["amp"] = "bf16"
    write_checkpoint(last, checkpoint)
    assert told in run_cli("eval", "tiny").err
    assert (workplace / "outputs/tests/tiny/per_image_metrics.yaml").read_bytes() == plain
    assert told in run_cli("predict", "data/test/image", "--run", "tiny").err
    processor(X86.format(" avx512_bf16"))
    assert told not in run_cli("eval", "tiny").err


def test_mixed_precision_on_a_slow_cpu_is_off_and_says_so_where_it_was_asked_for(run_cli, tiny, processor):
    processor(X86.format(""))
    result = run_cli("train", tiny(training__amp=True), "--dry-run")
    assert result.code == 0
    assert "`training.amp` is off: on the CPU it would save nothing" in result.err
    assert "`training.amp` is off" not in run_cli("train", tiny(training__amp="auto"), "--dry-run").err


def test_no_shipped_experiment_relies_on_bf16():
    for path in Path(__file__).parents[2].glob("configs/**/*.yaml"):
        assert "amp: bf16" not in path.read_text(), path


def test_training_says_which_device_auto_chose(run_cli, tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(runtime, "GPU_DRIVERS", {Path(__file__): "NVIDIA"})
    result = run_cli("train", tiny(device="auto"), "--dry-run")
    assert re.search(r"parameters on the CPU, chosen by `device: auto`, fp32", result.err)
    assert "this machine has a driver of NVIDIA, but PyTorch" in result.err
    assert "driver of NVIDIA" not in run_cli("train", tiny(device="cpu"), "--dry-run").err


def test_a_process_alone_tells_of_the_gpus_that_it_does_not_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    told = unused_gpus(torch.device("cuda"))
    assert told == "this machine has 4 GPUs, and one is used: `--gpus all` uses all of them"
    assert unused_gpus(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert unused_gpus(torch.device("cuda")) is None
