import json
import re

import pytest
import torch
from factories import experiment

from segcli.config.load import run_from_values
from segcli.report import vram as report
from segcli.report.timeline import timeline_page
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import inputs_of
from segcli.vram.real import traced
from segcli.vram.results import Measured

pytestmark = pytest.mark.usefixtures("played_once")


def make(**changes):
    return run_from_values(experiment(".", **{"data__image_size": [32, 32], **changes}), source="test")


@pytest.fixture(scope="module")
def forecaster():
    return Forecaster(make())


def test_the_timeline_is_one_file_whose_curve_is_the_forecast(run_cli, tiny, workplace):
    result = run_cli("profile-memory", tiny(name="<b>"), "--html", "memory.html", "--json")
    assert result.code == 0, result.err
    page = (workplace / "memory.html").read_text()
    assert not re.search(r"(src|href)=|https?://", page)
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    found = json.loads(result.out)
    assert max(data["used"]) == found["peak_bytes"]
    assert max(data["reserved"]) == found["reserved_bytes"]
    peak = data["used"].index(found["peak_bytes"])
    assert data["stages"][data["stage"][peak]].startswith("training/")
    assert {"down.0.0", "up.0.conv.3", "head"} <= set(data["layers"])
    assert len({len(data[key]) for key in ("used", "reserved", "change", "stage", "layer", "kind")}) == 1
    assert sum(data["change"]) == 0 or max(data["change"]) > 0
    assert "<b>" not in page


def test_names_cannot_end_the_data_of_the_page(forecaster):
    timeline = forecaster.timeline()
    timeline.layers[0] = "</script><script>alert(1)</script>"
    assert "<script>alert" not in timeline_page(forecaster.forecast(), timeline)


def test_a_trace_of_the_step_is_written_on_the_cpu_too(run_cli, tiny, workplace):
    result = run_cli("profile-memory", tiny(), "--trace", "trace")
    assert result.code == 0, result.err
    (path,) = (workplace / "trace").glob("*.pt.trace.json")
    names = {event.get("name") for event in json.loads(path.read_text())["traceEvents"]}
    assert {"aten::convolution", "aten::convolution_backward", "aten::_fused_adam_"} <= names
    assert any(name and "memory" in name for name in names)
    assert "traced one step on cpu" in result.out
    assert "process memory" in result.out


def test_tracing_before_a_training_changes_no_bit_of_it(run_cli, tiny, workplace):
    from safetensors.torch import load_file

    weights = []
    for name, asked in (("plain", False), ("traced", True)):
        config = tiny(name=name, training__epochs=1, debug__profile_training_step=asked, model__dropout=0.3)
        assert run_cli("train", config).code == 0
        weights.append(load_file(workplace / f"outputs/experiments/{name}/checkpoints/last.safetensors"))
    assert list((workplace / "outputs/experiments/traced/trace").glob("*.pt.trace.json"))
    assert not (workplace / "outputs/experiments/plain/trace").exists()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0] if key.startswith("model/"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_measuring_without_a_gpu_is_refused(run_cli, tiny):
    result = run_cli("profile-memory", tiny(), "--measure")
    assert result.code == 5
    assert "there is nothing to measure on `cpu`" in result.err


def test_forecast_and_measurement_stand_side_by_side_with_the_error(forecaster):
    from dataclasses import replace

    forecast = forecaster.forecast()
    measured = Measured(forecast.peak * 2, forecast.reserved, forecast.device, "H200")
    beside = replace(forecast, measured=measured)
    assert beside.as_dict()["measured"]["peak_error"] == -0.5
    (table,) = [table for table in report.forecast(beside) if "Measured on H200" in str(getattr(table, "title", ""))]
    assert list(table.columns[3].cells) == ["-50.0%", "+0.0%", "+0.0%"]


def test_one_trace_takes_one_experiment(run_cli, tiny):
    result = run_cli("profile-memory", tiny(), tiny(), "--trace", "trace")
    assert result.code == 2
    assert "`--html` and `--trace` take one experiment at a time" in result.err


def test_a_traced_step_leaves_the_random_numbers_alone(tmp_path):
    run = make(model__dropout=0.5)
    before = torch.get_rng_state()
    traced(run, inputs_of(run), tmp_path)
    assert torch.equal(before, torch.get_rng_state())
