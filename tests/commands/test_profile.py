"""`segcli profile-memory` through the entry point: limits, sweeps, comparisons, volumes."""

import json
import re

import pytest
import torch
import yaml
from factories import volumes_experiment, write_experiment, write_hdf5

from segcli.commands import profile
from segcli.commands.simulations import Simulations
from segcli.config.load import load_run
from segcli.engine.events import Silent
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import inputs_of, with_batch_size
from segcli.vram.replay import fits
from segcli.vram.results import CONTEXT, LIBRARIES, Limits
from segcli.vram.scenario import play_training

pytestmark = pytest.mark.usefixtures("played_once")
OVERHEAD = (CONTEXT + LIBRARIES) // 2**20
STRIDE = 2
"""Of the network of `tiny`."""


@pytest.fixture
def forecast(run_cli):
    """The answer of `profile-memory --json`."""

    def ask(*words):
        result = run_cli("profile-memory", *words, "--json")
        assert result.code == 0, result.err
        return json.loads(result.out)

    return ask


@pytest.fixture
def volumes(workplace):
    """Makes a tiny experiment on volumes."""

    def make(**changes):
        folder = workplace / "volumes"
        if not folder.exists():
            write_hdf5(folder)
        return write_experiment(workplace / "volumes.yaml", volumes_experiment(folder, **changes))

    return make


@pytest.fixture
def of_batches(monkeypatch):
    """Of what fits, look for batches alone."""
    monkeypatch.setattr(Forecaster, "max_image_size", lambda self, vram: None)


@pytest.fixture
def of_images(monkeypatch):
    """Of what fits, look for images alone."""
    monkeypatch.setattr(Forecaster, "max_batch_size", lambda self, vram: 0)


def gpu(free_mib):
    """`--vram` of a GPU with so much for tensors."""
    return f"--vram={OVERHEAD + free_mib}MiB"


@pytest.mark.usefixtures("of_images")
def test_the_largest_image_fits_and_the_next_does_not(forecast, tiny):
    config, free_mib = tiny(), 6
    side = forecast(config, gpu(free_mib))["max_image_size"][0]
    sweep = f"--sweep=image_size={side},{side + STRIDE}"
    rows = forecast(config, gpu(free_mib), sweep)["sweep"]
    assert [(row["image_size"], row["fits"]) for row in rows] == [(str(side), True), (str(side + STRIDE), False)]


@pytest.mark.usefixtures("of_batches")
def test_where_validation_takes_more_than_training_it_decides_the_largest_batch(forecast, tiny):
    # it sees whole images, and no gradients; the patches of training are a hundredth of them
    free_mib = 4
    words = [tiny(data__patch_size=[16, 16], data__image_size=[160, 160]), "training.amp=off"]
    best = forecast(*words, gpu(free_mib))["max_batch_size"]
    assert best > 0
    rows = forecast(*words, gpu(free_mib), f"--sweep=batch={best},{best + 1}")["sweep"]
    assert [row["fits"] for row in rows] == [True, False]
    run = with_batch_size(load_run(words[0], words[1:]), best + 1)
    log = play_training(run, inputs_of(run), validate=False).log
    assert fits(log.events, [block.size for block in log.blocks], free_mib * 2**20)


def test_prediction_takes_no_more_than_validation_of_a_batch_of_one(forecast, tiny):
    for changes in ({}, {"data__patch_size": [16, 16], "data__image_size": [160, 160]}):
        stages = forecast(tiny(data__batch_size=1, training__amp="off", **changes))["stages"]
        assert stages["prediction"]["forward"]["peak_bytes"] <= stages["validation"]["forward"]["peak_bytes"]


@pytest.mark.usefixtures("of_batches")
def test_the_gpu_at_hand_is_the_limit_and_the_batch_of_auto_is_the_largest_that_fits_it(forecast, tiny, monkeypatch):
    vram = (OVERHEAD + 8) * 2**20
    monkeypatch.setattr("segcli.vram.forecast.gpu_present", lambda: vram)
    found = forecast(tiny(data__batch_size="auto"))
    assert found["vram_bytes"] == vram
    assert found["batch_size"] == found["max_batch_size"] > 2


def test_what_a_sweep_tells_of_a_size_is_what_the_forecast_of_that_size_tells(forecast, tiny):
    for key, option, values in (
        ("image_size", "data.image_size=[{0},{0}]", (32, 64)),
        ("batch", "data.batch_size={0}", (1, 6)),
    ):
        rows = forecast(tiny(), f"--sweep={key}={','.join(map(str, values))}")["sweep"]
        for value, row in zip(values, rows, strict=True):
            alone = forecast(tiny(), option.format(value))
            assert row == {key: str(value), "fits": None} | {k: alone[k] for k in ("peak_bytes", "reserved_bytes")}


def test_a_sweep_of_image_sizes_is_a_table_that_says_what_fits(run_cli, tiny, monkeypatch):
    monkeypatch.setattr(Forecaster, "limits", lambda self, vram: Limits(vram, 1, {"bf16": 1}, None))  # takes long
    result = run_cli("profile-memory", tiny(), gpu(30), "--sweep", "image_size=32,512")
    assert result.code == 0, result.err
    table = result.out[result.out.index("By image size") :]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]
    assert [(row[0], row[-1]) for row in cells] == [("32", "yes"), ("512", "no")]
    assert "┃ fits" in table
    assert "┃ fits" not in run_cli("profile-memory", tiny(), "--sweep", "image_size=32,512").out


@pytest.mark.usefixtures("of_batches")
def test_several_experiments_have_their_sweeps_and_limits_too(run_cli, forecast, tiny, workplace):
    other = yaml.safe_load(tiny().read_text()) | {"name": "wide", "model": {"type": "unet", "depths": [16, 32]}}
    (workplace / "wide.yaml").write_text(yaml.safe_dump(other))
    narrow, wide = forecast(tiny(), "wide.yaml", gpu(12))["runs"]
    assert narrow["max_batch_size"] > wide["max_batch_size"] > 0
    table = run_cli("profile-memory", tiny(), "wide.yaml", "--sweep=batch=1,2").out
    assert table.index("tiny: By batch size") < table.index("wide: By batch size")


def test_depth_sums_layers_up_and_top_takes_the_largest(forecast, run_cli, tiny):
    whole, blocks = forecast(tiny()), forecast(tiny(), "--depth=1")
    assert {layer["name"] for layer in blocks["layers"]} >= {"down", "up", "head"}
    for key in ("parameters", "weights_bytes", "activations_bytes"):
        assert sum(layer[key] for layer in blocks["layers"]) == sum(layer[key] for layer in whole["layers"])
    assert sum(layer["parameters"] for layer in whole["layers"]) == whole["parameters"]["total"]
    table = run_cli("profile-memory", tiny(), "--top=2").out
    assert "By layer: the 2 largest of " in table
    assert table[table.index("By layer") :].count("\n│") == 2


@pytest.mark.usefixtures("of_images")
def test_a_network_on_volumes_is_forecast_and_computing_again_lowers_its_peak(forecast, volumes):
    kept = forecast(volumes(), "data.image_size=[16,16,8]")
    again = forecast(volumes(), "data.image_size=[16,16,8]", "model.checkpoint_activations=true")
    assert kept["image_size"] == [16, 16, 8]
    assert again["parameters"] == kept["parameters"]
    assert again["activations_bytes"] < 0.7 * kept["activations_bytes"]
    assert again["stages"]["training"]["backward"]["peak_bytes"] < kept["stages"]["training"]["backward"]["peak_bytes"]
    assert again["stages"]["prediction"] == kept["stages"]["prediction"]
    larger = forecast(volumes(), "data.image_size=[32,16,8]")
    assert larger["activations_bytes"] == pytest.approx(2 * kept["activations_bytes"], rel=0.05)
    rows = forecast(volumes(), "--sweep=image_size=8,16")["sweep"]
    assert rows[0]["peak_bytes"] < rows[1]["peak_bytes"]
    assert len(forecast(volumes(), gpu(20))["max_image_size"]) == 3


def test_volumes_of_unknown_size_are_told_with_three_sizes(run_cli, volumes, workplace):
    config = volumes(dataset__classes=["ball", "box"], dataset__num_channels=1)
    (workplace / "volumes").rename(workplace / "away")
    result = run_cli("profile-memory", config)
    assert result.code == 2
    assert "give `data.image_size=[64,64,64]`, or `data.patch_size`" in result.err.replace("\n", " ")


def test_without_a_gpu_the_forecast_begins_with_a_verdict_in_words(run_cli, tiny, forecast, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = tiny(data__batch_size=4)
    words = (config, "data.patch_size=[512,512]", "data.image_size=[512,512]")
    told = run_cli("profile-memory", *words).out.splitlines()
    now = forecast(*words)
    mib = now["device_bytes"] / 2**20
    layer = max(now["layers"], key=lambda each: each["peak_bytes"])["name"]
    near = "" if layer.startswith("(") else f", near layer `{layer}`"
    assert told[0] == f"peak: {mib:.1f} MiB on the GPU, in the backward pass of the training{near}"
    assert told[1].startswith(f"fits GPUs with 8 GiB ({mib / 2**13:.0%} used), 12, 16, 24, 40 and 80 GiB")
    assert told[2] == "what lowers it:"
    levers = {line.split("  (")[0].strip(): line for line in told[3:6]}
    assert list(levers) == [
        "data.batch_size=2 training.gradient_accumulation_steps=2",
        "model.checkpoint_activations=true",
        "data.patch_size=[256,256]",
    ]
    assert told[6].startswith("tiny: unet")
    assert told[-1] == f"tiny, {mib:.1f} MiB: {told[1]}"
    for lever, line in levers.items():
        lowered = forecast(*words[:1], words[2], words[1], *lever.split())["device_bytes"]
        assert lowered < now["device_bytes"]
        shown = f"({lowered / 2**20:.1f} MiB)"
        assert (shown in line) == (line == told[3])
    assert "levers" not in now


def test_only_what_lowers_the_memory_is_proposed(run_cli, tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def proposed(*overrides):
        return [
            line.split("  (")[0].strip()
            for line in run_cli("profile-memory", tiny(), *overrides).out.splitlines()
            if line.startswith("  ")
        ]

    small = ("data.image_size=[64,64]", "data.batch_size=1")
    assert proposed(*small, "training.amp=off") == ["training.amp=bf16", "model.checkpoint_activations=true"]
    assert proposed(*small, "model.checkpoint_activations=true") == []
    large = run_cli("profile-memory", tiny(), *small, "model.checkpoint_activations=true", "model.depths=[8,1024]").out
    assert re.search(
        r"\nwhat lowers it: a smaller network, because \d\d% of the peak are its weights, gradients", large
    )
    validated = proposed("data.patch_size=[32,32]", "data.image_size=[512,512]", "data.batch_size=1")
    assert validated == ["training.validate_on=cpu"]


def test_of_several_runs_each_is_told_with_the_gpus_that_have_room(run_cli, tiny, workplace, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = tiny()
    told = run_cli("profile-memory", config, config).out.splitlines()
    assert [line.partition(": ")[2][:29] for line in told[-2:]] == ["fits GPUs with 8 GiB (7% used"] * 2
    monkeypatch.setattr(Forecaster, "limits", lambda self, vram: Limits(vram, 1, {}, None))
    assert "fits GPUs" not in run_cli("profile-memory", config, config, "--vram", "8GiB").out


def test_progress_counts_the_simulations_up_to_the_expected_number(tiny):
    class Heard(Silent):
        stages, done = [], 0

        def stage(self, text, total=None):
            self.stages.append((text, total))

        def advance(self, count=1):
            self.done += count

    heard = Heard()
    (found,) = profile.forecasts([load_run(tiny())], vram=(OVERHEAD + 30) * 2**20, listener=heard)
    assert found.limits.max_batch_size > 2
    assert heard.stages == [("forecast", 7)]  # a training, a prediction, one batch, two in fp32, two images
    assert 6 <= heard.done <= 7
    done, search = heard.done, Simulations("search", 3, heard)
    for _ in range(5):
        search.advance()
    assert heard.done == done + 3
