import math

import pytest
import torch

from segcli.core.errors import ConfigError
from segcli.core.types import IOSpec
from segcli.models.sadaan import SADAAN, _logit_of_product

ALL = dict.fromkeys(SADAAN.can_output, 3)
SMALL = {"depths": [4, 8], "features": 6, "hidden": 4}


def network(outputs=ALL, channels=1, **options):
    torch.manual_seed(0)
    return SADAAN(SADAAN.Config(**{**SMALL, **options}), io=IOSpec(3, channels, outputs)).eval()


def test_the_attention_is_the_product_of_what_was_seen_and_of_the_prior():
    first, second = torch.randn(2, 500, dtype=torch.float64) * 4
    expected = torch.logit(first.sigmoid() * second.sigmoid())
    torch.testing.assert_close(_logit_of_product(first, second), expected)
    extreme = _logit_of_product(torch.tensor([300.0, -300.0, 300.0]), torch.tensor([300.0, 300.0, -300.0]))
    torch.testing.assert_close(extreme, torch.tensor([300.0 - math.log(2.0), -300.0, -300.0]))


def test_a_structure_judged_absent_has_its_gate_closed_and_its_logits_lowered():
    model, image = network(absence_bias=9.0), torch.randn(2, 1, 8, 4, 6)
    model.presence.out.bias.data = torch.tensor([30.0, -30.0, 30.0])
    with torch.inference_mode():
        outputs = model(image)
    torch.testing.assert_close(outputs["presence"].sigmoid().round(), torch.tensor([[1.0, 0.0, 1.0]] * 2))
    torch.testing.assert_close(outputs["gate"], torch.tensor([[5.0, -5.0, 5.0]] * 2))
    shut = 1 - torch.tensor(-5.0).sigmoid() * outputs["attention"][:, 1].sigmoid()
    assert (outputs["mask"][:, 1] < -8.0).all()
    assert (shut > 0.99).all()


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_the_mask_is_head_times_attention_times_gate_with_a_bias_where_these_are_shut(bias):
    model, image = network(absence_bias=bias), torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        outputs = model(image)
        head = model.head(model.features(model._decoded(image)))
    opened = outputs["attention"].sigmoid() * outputs["gate"].sigmoid().view(1, 3, 1, 1, 1)
    torch.testing.assert_close(outputs["mask"], head * opened - bias * (1 - opened))


def test_the_threshold_moves_the_judgement():
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        strict, lenient = (network(presence_threshold=limit)(image) for limit in (1.0, 0.0))
    assert (strict["gate"] < 0).all()
    assert (lenient["gate"] > 0).all()
    torch.testing.assert_close(strict["presence"], lenient["presence"])


@pytest.mark.parametrize("size", [(8, 8, 8), (12, 4, 20)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_size_and_any_number_of_channels_pass_and_the_prior_follows_the_size(size, channels):
    outputs = network(channels=channels, prior_size=[3, 5, 2])(torch.randn(2, channels, *size))
    assert outputs["attention"].shape == (2, 3, *size)


def test_only_the_outputs_that_a_task_wants_are_given():
    model = network({"mask": 1})
    assert list(model(torch.randn(1, 1, 8, 8, 8))) == ["mask"]
    assert model.confidence is None


def test_a_prior_of_other_axes_is_refused():
    with pytest.raises(ConfigError, match="`prior_size` has 2 sizes, the images have 3 axes"):
        network(prior_size=[4, 4])
