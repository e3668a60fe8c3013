import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from factories import experiment

from segcli.config.load import load_run, run_from_values
from segcli.config.shipped import folder
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import inputs_of, with_batch_size
from segcli.vram.results import CONTEXT, LIBRARIES, NCCL

pytestmark = pytest.mark.usefixtures("played_once")
MIB = 2**20
OVERHEAD = CONTEXT + LIBRARIES


def make(**changes):
    return run_from_values(experiment(".", **{"data__image_size": [64, 64], **changes}), source="test")


@pytest.fixture(scope="module")
def forecaster():
    return Forecaster(make(model={"type": "unet", "depths": [8, 16]}, training__ema=0.9))


def test_what_lives_at_the_peak_adds_up_to_the_peak(forecaster):
    forecast = forecaster.forecast()
    assert sum(forecast.at_peak.values()) == forecast.peak
    assert forecast.peak <= forecast.reserved < forecast.device
    assert forecast.peak == max(stage.peak for stage in forecast.stages if stage.phase != "prediction")


def test_layers_share_out_weights_and_activations_at_every_depth(forecaster):
    for depth in (None, 1, 2, 3):
        layers = forecaster.forecast(depth=depth).layers
        assert sum(layer.parameters for layer in layers) == forecaster.forecast().parameters
        assert sum(layer.activations for layer in layers) == forecaster.forecast().activations
        assert max(layer.peak for layer in layers) == forecaster.forecast().peak
    assert {layer.name for layer in forecaster.forecast(depth=1).layers} >= {"down", "up", "head"}


@pytest.mark.parametrize("extra_mib", [2, 24, 61])
@pytest.mark.parametrize("amp", ["bf16", "off"])
def test_the_largest_batch_fits_and_one_more_does_not(forecaster, extra_mib, amp):
    run = make(model={"type": "unet", "depths": [8, 16]}, training__amp=amp)
    vram = OVERHEAD + extra_mib * MIB
    best = Forecaster(run).max_batch_size(vram)
    assert best == 0 or Forecaster(with_batch_size(run, best)).fits(vram)
    assert not Forecaster(with_batch_size(run, best + 1)).fits(vram)
    assert extra_mib == 2 or best > 0


def test_the_forecast_takes_the_larger_of_both_batches(forecaster):
    model = {"type": "unet", "depths": [8, 16]}
    stages = {
        count: {f"{stage.phase}/{stage.stage}": stage.peak for stage in forecast.stages}
        for count in (1, 2, 32)
        for forecast in [Forecaster(make(model=model, training__ema=0.9, data__val_batch_size=count)).forecast()]
    }
    usual = forecaster.forecast()
    assert stages[2] == {f"{stage.phase}/{stage.stage}": stage.peak for stage in usual.stages}
    assert stages[1]["validation/forward"] < stages[2]["validation/forward"] < stages[32]["validation/forward"]
    assert max(stages[1].values()) == usual.peak < stages[32]["validation/forward"] == max(stages[32].values())


@pytest.mark.parametrize("norm", ["instance", "group", "layer", "none"])
def test_other_norms_keep_no_less_for_backward_than_none(norm):
    model = {"type": "unet", "depths": [8, 16], "norm": norm, "activation": "elu"}
    forecast = Forecaster(make(model=model, training__optimizer={"type": "rmsprop"})).forecast()
    assert forecast.activations >= Forecaster(make(model={**model, "norm": "none"})).forecast().activations
    assert forecast.kinds["optimizer"] >= forecast.kinds["parameters"]


def test_a_batch_that_fits_reserves_no_more_than_there_is():
    run = make(model={"type": "unet", "depths": [8, 16]})
    needed = Forecaster(run).forecast().device
    assert Forecaster(run).fits(needed)
    assert not Forecaster(run).fits(OVERHEAD + Forecaster(run).forecast().peak - 1)


def test_the_largest_image_fits_and_the_next_multiple_of_the_stride_does_not():
    forecaster = Forecaster(make(model={"type": "unet", "depths": [8, 16]}, data__image_size=[64, 96]))
    vram = OVERHEAD + 100 * MIB
    height, width = forecaster.max_image_size(vram)
    assert (height % 2, width % 2) == (0, 0)
    assert abs(width - 1.5 * height) <= 2
    assert forecaster.with_image_size((height, width)).fits(vram)
    assert not forecaster.with_image_size((height + 2, (height + 2) * 3 // 2)).fits(vram)
    assert forecaster.max_image_size(OVERHEAD + MIB) is None


def test_a_data_set_at_hand_tells_the_size_of_whole_images(tiny):
    run = load_run(tiny(data__patch_size=[32, 32]))
    inputs = inputs_of(run)
    assert (inputs.train, inputs.val_stored, inputs.notes) == ((32, 32), (48, 48), ())
    stages = {(s.phase, s.stage): s.peak for s in Forecaster(run).forecast().stages}
    resized = load_run(tiny(data__patch_size=[32, 32]), ["data.image_size=[96,96]"])
    larger = {(s.phase, s.stage): s.peak for s in Forecaster(resized).forecast().stages}
    assert larger["training", "backward"] == stages["training", "backward"]
    assert larger["validation", "forward"] > stages["validation", "forward"]
    assert larger["prediction", "forward"] > stages["prediction", "forward"]


# ---- the command


def test_the_table_tells_totals_stages_layers_and_limits(run_cli, tiny):
    result = run_cli("profile-memory", tiny(), "--vram", "640MiB", "--sweep", "batch=1,2", "--top", "3")
    assert result.code == 0, result.err
    for text in (
        "tiny: unet, 1,749 parameters, bf16, adam, batch 2, 48x48",
        "activations kept for backward",
        "optimizer state",
        "validation │ forward",
        "prediction │ forward",
        "By layer: the 3 largest of ",
        "By batch size",
        "of 640.0 MiB used at batch 2",
        "largest batch size at 48x48",
        "largest image size at batch 2",
        "512 MiB for CUDA's context",
    ):
        assert text in result.out, text
    assert "data set is not available" not in result.out


def test_json_has_the_promised_keys(run_cli, tiny):
    result = run_cli("profile-memory", tiny(), "--vram", "640MiB", "--sweep", "image_size=32,64", "--json")
    assert result.code == 0, result.err  # without this line, a signal to the tests looks like missing JSON
    found = json.loads(result.out)
    assert found["parameters"]["total"] == 1749
    assert found["peak_bytes"] <= found["reserved_bytes"] <= found["device_bytes"] < 640 * MIB
    assert set(found["stages"]) == {"training", "validation", "prediction"}
    assert found["stages"]["training"]["backward"]["peak_bytes"] <= found["peak_bytes"]
    assert found["layers"][0].keys() == {"name", "parameters", "weights_bytes", "activations_bytes", "peak_bytes"}
    most = found["max_batch_size_by_precision"]
    assert found["max_batch_size"] == most["bf16"] > most["fp32"] > 50
    assert [row["image_size"] for row in found["sweep"]] == ["32", "64"]
    assert found["sweep"][0]["peak_bytes"] < found["sweep"][1]["peak_bytes"]


def test_a_forecast_for_several_gpus_tells_what_each_of_them_takes(run_cli, tiny, workplace):
    model = "model={type: unet, depths: [32, 64, 128]}"
    words = ("profile-memory", tiny(data__batch_size=5), model, "--gpus", "4")
    kept, shared = (json.loads(run_cli(*words, f"training.strategy={way}", "--json").out) for way in ("ddp", "fsdp"))
    assert (kept["strategy"], shared["strategy"]) == ("ddp", "fsdp")
    assert [(each["gpus"], each["batch_size"], each["batch_size_per_gpu"]) for each in (kept, shared)] == [
        (4, 5, 2)
    ] * 2
    assert kept["bytes_by_kind"]["buckets"] >= kept["parameters"]["bytes"] == 4 * kept["parameters"]["total"]
    assert shared["parameters"]["bytes"] < 0.3 * kept["parameters"]["bytes"]
    assert kept["device_bytes"] - kept["reserved_bytes"] == OVERHEAD + kept["allowances"]["nccl_bytes"]
    verdict = run_cli(*words, "--top", "1")
    assert re.search(r"peak: [\d.]+ MiB on each of 4 GPUs", verdict.out), verdict.out
    told = " ".join(verdict.out.split())
    for text in ("batch 5 on 4 GPUs (ddp, 2 images on each)", "training.strategy=fsdp", "256 MiB for NCCL"):
        assert text in told
    refused = run_cli(*words[:2], "--gpus", "6")
    assert "`data.batch_size` is 5, and 6 processes share each batch" in refused.err
    assert "`--measure` runs the step on one GPU" in run_cli(*words, "--measure").err


def test_the_largest_batch_of_several_gpus_gives_each_the_largest_share():
    run = make(model={"type": "unet", "depths": [8, 16]}, data__batch_size=8)
    vram = OVERHEAD + NCCL + 24 * MIB
    best = Forecaster(run, gpus=3).max_batch_size(vram)
    assert best % 3 == 0
    assert [Forecaster(with_batch_size(run, count), gpus=3).fits(vram) for count in (best, best + 1)] == [True, False]


def test_several_experiments_are_compared_row_by_row(run_cli, tiny, workplace):
    other = yaml.safe_load(tiny().read_text()) | {"name": "wide", "model": {"type": "unet", "depths": [16, 32]}}
    (workplace / "wide.yaml").write_text(yaml.safe_dump(other))
    result = run_cli("profile-memory", tiny(), "wide.yaml", "--json")
    narrow, wide = json.loads(result.out)["runs"]
    assert (narrow["run"], wide["run"]) == ("tiny", "wide")
    assert narrow["peak_bytes"] < wide["peak_bytes"]
    table = run_cli("profile-memory", tiny(), "wide.yaml", "training.amp=off").out
    assert [line.split("│")[4].strip() for line in table.splitlines() if "unet" in line] == ["fp32", "fp32"]


def test_bare_it_takes_the_newest_run_and_says_so(run_cli, tiny, workplace):
    assert run_cli("train", tiny(training__epochs=1)).code == 0
    result = run_cli("profile-memory")
    assert result.code == 0, result.err
    assert "experiment: outputs/experiments/tiny/config.yaml" in result.err
    assert "tiny: unet" in result.out


def test_bare_without_a_run_it_takes_the_first_experiment(run_cli, workplace):
    result = run_cli("profile-memory")
    assert f"experiment: {folder() / 'exp.yaml'}" in result.err
    assert "exp: unet" in result.out
    refused = run_cli("profile-memory", "exp001_basic_unet", "data.batch_size=0").err  # by its name
    assert f"1 problem in `{folder() / 'experiments/exp001_basic_unet.yaml'}`" in refused
    Path("configs").mkdir()
    Path("configs/exp.yaml").write_text("nam: mine\n")  # of the user's own, it comes first
    assert "configs/exp.yaml:1  nam: unknown key" in run_cli("profile-memory").err


def test_images_of_unknown_size_are_told_with_the_key_that_gives_it(run_cli, workplace, tiny):
    config = tiny()
    (workplace / "data").rename(workplace / "away")
    result = run_cli("profile-memory", config)
    assert result.code == 2
    assert "the image size of `tiny` is unknown" in result.err
    result = run_cli("profile-memory", config, "data.image_size=[64,64]")
    assert result.code == 0
    assert "the data set is not available: sizes are taken from the config" in result.out


def test_no_tensor_is_made_for_real(run_cli, tiny, monkeypatch):
    made = []
    allocate = torch.UntypedStorage.__new__
    monkeypatch.setattr(torch.UntypedStorage, "__new__", lambda *a, **k: made.append(a) or allocate(*a, **k))
    import psutil

    before = psutil.Process().memory_info().rss
    assert run_cli("profile-memory", tiny(), "data.image_size=[4096,4096]", "data.batch_size=8", "--quiet").code == 0
    assert psutil.Process().memory_info().rss - before < 300 * MIB  # one feature map would be 2 GiB
