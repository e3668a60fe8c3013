import re

import pytest
import torch
import yaml

from segcli.commands.profile import difference_of
from segcli.config.load import load_run
from segcli.core.errors import DeviceError
from segcli.engine.runtime import choose_precision
from segcli.vram import choice
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import with_batch_size
from segcli.vram.results import CONTEXT, LIBRARIES

pytestmark = pytest.mark.usefixtures("played_once")
MIB = 2**20


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of so many free MiB, for whoever asks before a training; the training itself runs on the CPU."""

    def make(free_mib):
        monkeypatch.setattr(choice, "memory_for", lambda run: CONTEXT + LIBRARIES + free_mib * MIB)

    return make


def test_a_dry_run_refuses_what_cannot_fit_and_names_the_batch_that_does(run_cli, tiny, gpu):
    gpu(4)
    config = tiny(data__batch_size=64, training__amp="off")
    result = run_cli("train", config, "--dry-run")
    assert result.code == 5
    assert "by the forecast, batch 64 takes" in result.err
    best = int(result.err.split("`data.batch_size=")[1].split("`")[0])
    assert 1 <= best < 64
    assert run_cli("train", config, "--dry-run", f"data.batch_size={best}").code == 0
    assert run_cli("train", config, "--dry-run", f"data.batch_size={best + 1}").code == 5
    forced = run_cli("train", config, "--dry-run", "--force")
    assert forced.code == 0
    assert "warning: by the forecast, batch 64 takes" in forced.err.replace("\n", " ")


def test_what_fits_passes_the_dry_run_in_silence(run_cli, tiny, gpu):
    gpu(400)
    result = run_cli("train", tiny(), "--dry-run")
    assert result.code == 0
    assert "by the forecast" not in result.err


def test_batch_size_auto_takes_the_largest_that_fits_and_the_run_records_it(run_cli, tiny, gpu, workplace):
    gpu(4)
    result = run_cli("train", tiny(training__epochs=1, data__batch_size="auto", training__amp="off"))
    assert result.code == 0, result.err
    data = yaml.safe_load((workplace / "outputs/experiments/tiny/config.yaml").read_text())["data"]
    assert f"batch size {data['batch_size']}: the largest that the forecast fits" in result.err
    assert data["fit_batch_size"] is False
    gpu(400)
    result = run_cli("train", tiny(data__batch_size="auto", name="held", training__epochs=1), "data.max_batch_size=3")
    assert yaml.safe_load((workplace / "outputs/experiments/held/config.yaml").read_text())["data"]["batch_size"] == 3
    assert "batch size 3" in result.err
    assert "limited by `data.max_batch_size`" in result.err


def test_batch_size_auto_without_a_gpu_asks_for_a_number(run_cli, tiny, workplace):
    result = run_cli("train", tiny(data__batch_size="auto"))
    assert result.code == 2
    assert "`data.batch_size: auto` needs a GPU" in result.err
    assert not (workplace / "outputs").exists()


def test_not_even_one_image(run_cli, tiny, gpu):
    gpu(1)
    result = run_cli("train", tiny(data__batch_size="auto"))
    assert result.code == 5
    assert "not even one image fits" in result.err


@pytest.mark.parametrize("options", [(), ("--dry-run", "--force")])
def test_an_out_of_memory_error_is_told_beside_the_forecast_and_that_of_half_the_batch(
    options, run_cli, tiny, gpu, monkeypatch
):
    from segcli.engine.training.stepping.stepper import Stepper

    def exhausted(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    properties = type("Properties", (), {"total_memory": CONTEXT + LIBRARIES + 400 * MIB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    gpu(400)
    monkeypatch.setattr(choice, "_forecaster", lambda run, made=Stepper.forward_loss: _played_before(run, made))
    config = tiny(data__image_size=[512, 512], data__batch_size=2, training__amp="off")
    both = [Forecaster(load_run(config, [f"data.batch_size={count}"])).forecast().device / 2**30 for count in (2, 1)]
    monkeypatch.setattr(Stepper, "forward_loss", exhausted)
    result = run_cli("train", config, *options)
    assert result.code == 5
    told = " ".join(result.err.split())
    assert both[0] > both[1] + 0.01
    forecast = f"the forecast is {both[0]:.2f} GiB of 0.95 GiB, and {both[1]:.2f} GiB with `data.batch_size=1`"
    assert f"out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.; {forecast}" in told
    assert "`segcli profile-memory --processes`" in told
    for remedy in ("`data.batch_size`", "`data.patch_size`", "`training.amp=auto`", "`debug.on_oom=halve`"):
        assert remedy in told


def _played_before(run, made):
    """The forecast as it is without the fault that the test puts into the step."""
    from segcli.engine.training.stepping.stepper import Stepper

    broken, Stepper.forward_loss = Stepper.forward_loss, made
    forecaster = Forecaster(run)
    _ = forecaster.training, forecaster.prediction
    Stepper.forward_loss = broken
    return forecaster


def test_an_out_of_memory_error_that_was_foreseen_names_the_batch_that_fits(tiny, gpu, monkeypatch):
    properties = type("Properties", (), {"total_memory": CONTEXT + LIBRARIES + 4 * MIB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    gpu(4)
    run = load_run(tiny(data__batch_size=64, training__amp="off"))
    told = choice.beside_forecast(run, DeviceError("out of memory"))
    half = r"and [\d.]+ GiB with `data\.batch_size=32`"
    assert re.fullmatch(rf"out of memory; the forecast is [\d.]+ GiB of 0\.57 GiB, {half}", told.message)
    best = int(re.fullmatch(r"`data\.batch_size=(\d+)` fits by the forecast", told.hint)[1])
    vram = properties.total_memory
    assert [Forecaster(with_batch_size(run, count)).fits(vram) for count in (best, best + 1)] == [True, False]


def test_a_training_may_take_what_is_free_and_the_context_that_is_there_already(tiny, monkeypatch):
    monkeypatch.setattr(choice, "choose_device", lambda name: torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * MIB, 99 * MIB))
    assert choice.memory_for(load_run(tiny())) == 3 * MIB + CONTEXT


def test_before_a_training_the_precision_is_that_of_its_own_device(tiny):
    run = load_run(tiny(training__amp="auto"))
    assert Forecaster(run).forecast().precision == "bf16"  # that of a GPU
    assert choice._forecaster(run).forecast().precision == choose_precision("auto", torch.device("cpu")).name == "fp32"


@pytest.mark.parametrize(
    ("fast", "reduce", "said"), [(True, "fast", True), (False, "fast", False), (True, "exact", False)]
)
def test_on_a_cpu_a_training_may_still_time_which_precision_it_takes(tiny, monkeypatch, fast, reduce, said):
    monkeypatch.setattr("segcli.engine.runtime.has_fast_bf16", lambda: fast)
    run = load_run(tiny(training__amp="auto", training__reduce=reduce))
    note = difference_of(run, Forecaster(run).forecast())
    assert note.endswith("on cpu in fp32, or in bf16 if timed steps are faster" if said else "on cpu in fp32")


def test_debug_keys_print_the_forecast_before_the_first_epoch(run_cli, tiny):
    result = run_cli("train", tiny(debug__profile_memory=True, name="one", training__epochs=1))
    assert result.code == 0, result.err
    assert result.err.index("activations kept for backward") < result.err.index("epoch 1/1")
    assert "By layer" not in result.err
    assert "this forecast is for a GPU in bf16; the run itself computes on cpu in fp32" in result.err
    assert "activations kept" not in result.out
    result = run_cli("train", tiny(debug__detailed_memory=True, name="two"), "--dry-run")
    assert "By layer" in result.err
    result = run_cli("train", tiny(debug__profile_memory=True, debug__estimate_activations=False), "--dry-run")
    assert "optimizer state" in result.err
    assert "activations" not in result.err
    assert "optimizer state" not in run_cli("train", tiny(debug__profile_memory=True), "--dry-run", "--quiet").err
