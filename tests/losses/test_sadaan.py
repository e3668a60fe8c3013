import math

import pytest
import torch

from segcli.losses import WeightedSum
from segcli.losses.dice import Dice
from segcli.losses.sadaan import SADAAN, _EntropySum, _MaskSums


def case(seed=0, batch=3, structures=4, size=(4, 3, 5)):
    """Outputs of a network and a truth in which some structures are absent, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    present = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)[:batch, :structures]
    there = torch.rand(batch, structures, *size, generator=generator) < 0.4
    mask = there & present.view(batch, structures, 1, 1, 1)
    valid = torch.rand(batch, 1, *size, generator=generator) < 0.8
    outputs = {
        "mask": normal(batch, structures, *size),
        "attention": normal(batch, structures, *size),
        "presence": normal(batch, structures),
        "gate": normal(batch, structures),
        "confidence": normal(batch, structures),
    }
    return outputs, {"mask": mask, "valid": valid, "presence": (mask & valid).flatten(2).any(2)}


def sigmoid(value):
    return 1.0 / (1.0 + math.exp(-value))


def entropy(logit, truth):
    return -math.log(sigmoid(logit) if truth else 1.0 - sigmoid(logit))


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def looped(outputs, batch, alpha=0.25, gamma=2.0, smooth=1.0, confidence=None):
    """The seven parts as one would write them down: a loop over images, structures and voxels."""
    parts = {name: [] for name in SADAAN(SADAAN.Config()).part_weights}
    for image in range(len(batch["mask"])):
        of = {name: [] for name in parts}
        for structure in range(batch["mask"].shape[1]):
            valid = batch["valid"][image, 0]
            truth = batch["mask"][image, structure][valid].tolist()
            logits = outputs["mask"][image, structure][valid].tolist()
            attention = outputs["attention"][image, structure][valid].tolist()
            probs = [sigmoid(value) for value in logits]
            present = any(truth)
            if present:
                of["segmentation"].append(mean(map(entropy, logits, truth)))
            else:
                of["false_positive_suppression"].append(mean(probs))
            overlap = sum(p for p, t in zip(probs, truth, strict=True) if t)
            of["dice"].append(1.0 - (2 * overlap + smooth) / (sum(probs) + sum(truth) + smooth))
            right = [p if t else 1.0 - p for p, t in zip(probs, truth, strict=True)]
            of["focal_seg"].append(
                mean(
                    (alpha if t else 1 - alpha) * (1 - r) ** gamma * -math.log(r)
                    for r, t in zip(right, truth, strict=True)
                )
            )
            of["absence"].append(entropy(outputs["presence"][image, structure].item(), present))
            of["attention_supervision"].append(mean(map(entropy, attention, truth)))
            wrong = (outputs["gate"][image, structure].item() >= 0) != present
            trust = outputs["confidence"][image, structure].item()
            of["confidence"].append(entropy(trust, not wrong) if confidence is None else wrong * sigmoid(trust) ** 2)
        for name, values in of.items():
            parts[name].append(mean(values))
    return {name: mean(values) for name, values in parts.items()}


@pytest.mark.parametrize("options", [{}, {"alpha": 0.6, "gamma": 1.0, "smooth": 0.1}, {"confidence": 0.1}])
def test_each_part_has_the_value_of_a_plain_loop(options):
    outputs, batch = case()
    # its own arithmetic is in float32, whatever it is given
    found = SADAAN(SADAAN.Config(**options))({k: v.double() for k, v in outputs.items()}, batch)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        looped(outputs, batch, **options), rel=2e-6
    )


def test_the_seven_parts_are_summed_by_the_weights_of_the_contract_and_each_is_logged():
    outputs, batch = case()
    loss = SADAAN(SADAAN.Config())
    weights = {
        "segmentation": 1.0,
        "dice": 2.0,
        "focal_seg": 1.0,
        "absence": 1.0,
        "attention_supervision": 0.5,
        "false_positive_suppression": 0.5,
        "confidence": 0.1,
    }
    values = WeightedSum([(1.0, loss)])(outputs, batch)
    assert list(values) == ["loss", *(f"loss_{name}" for name in weights)]
    total = sum(weight * looped(outputs, batch)[name] for name, weight in weights.items())
    assert values["loss"].item() == pytest.approx(total, rel=2e-6)
    changed = WeightedSum([(1.0, SADAAN(SADAAN.Config(dice=0.0)))])(outputs, batch)
    assert (values["loss"] - changed["loss"]).item() == pytest.approx(2.0 * values["loss_dice"].item(), rel=1e-5)


def test_every_output_learns_and_an_absent_structure_is_pushed_to_nothing():
    outputs, batch = case()
    for value in outputs.values():
        value.requires_grad_()
    loss = WeightedSum([(1.0, SADAAN(SADAAN.Config()))])(outputs, batch)["loss"]
    wanted = [outputs[name] for name in ("mask", "attention", "presence", "confidence")]
    gradients = torch.autograd.grad(loss, wanted)
    assert all(gradient.any() for gradient in gradients)
    of_absent = gradients[0][1][batch["valid"][1].expand(4, -1, -1, -1)]  # nothing is there in the second image
    assert (of_absent > 0).all()


def test_a_right_judgement_costs_nothing_in_the_loss_of_earlier_versions():
    outputs, batch = case()
    outputs["gate"] = batch["presence"].double() * 2 - 1
    assert SADAAN(SADAAN.Config(confidence=0.1))(outputs, batch)["confidence"].item() == 0.0


def test_the_best_confidence_is_the_share_of_right_judgements_and_judgements_get_no_gradient_from_it():
    outputs, batch = case()
    trust = torch.zeros((), dtype=torch.float64, requires_grad=True)
    outputs["gate"] = outputs["gate"].requires_grad_()
    right = ((outputs["gate"] >= 0) == batch["presence"]).double().mean().item()
    assert 0.1 < right < 0.9
    for confidence, slope in ((right, 0.0), (0.99, 1.0), (0.01, -1.0)):
        logit = (trust + math.log(confidence / (1 - confidence))).expand_as(outputs["gate"])
        loss = SADAAN(SADAAN.Config())({**outputs, "confidence": logit}, batch)["confidence"]
        gradient, of_gate = torch.autograd.grad(loss, [trust, outputs["gate"]], allow_unused=True)
        assert of_gate is None
        assert (gradient.item() > 1e-6) - (gradient.item() < -1e-6) == slope


def test_the_stored_config_of_an_earlier_version_keeps_its_loss_and_its_keys():
    stored = {**SADAAN.Config(confidence=0.1).model_dump()}
    assert "calibration" not in stored
    assert SADAAN.Config.model_validate(stored).model_dump() == stored
    assert SADAAN.calibrates(SADAAN.Config.model_validate(stored)) == ()
    new = SADAAN.Config().model_dump()
    assert new["calibration"] == 0.1
    assert "confidence" not in new
    assert SADAAN.Config.model_validate(new) == SADAAN.Config()
    assert SADAAN.calibrates(SADAAN.Config()) == ("confidence",)
    with pytest.raises(ValueError, match="two losses of one output"):
        SADAAN.Config(calibration=0.1, confidence=0.1)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
def test_the_gradients_written_by_hand_are_those_of_finite_differences(gamma):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    truth = torch.rand(2, 3, 7, generator=generator) < 0.5
    valid = torch.rand(2, 1, 7, generator=generator) < 0.7
    assert torch.autograd.gradcheck(lambda x: _MaskSums.apply(x, truth, valid, 0.3, gamma), logits)
    assert torch.autograd.gradcheck(lambda x: _EntropySum.apply(x, truth, valid), logits)


def test_a_part_that_shares_its_name_with_another_loss_is_logged_beside_it():
    outputs, batch = case()
    seven, dice = SADAAN(SADAAN.Config()), Dice(Dice.Config())
    seven.name, dice.name = "sadaan", "dice"
    values = WeightedSum([(1.0, dice), (1.0, seven)])(outputs, batch)
    assert values["loss_sadaan_dice"].item() == pytest.approx(looped(outputs, batch)["dice"], rel=2e-6)
    assert values["loss_dice"].item() == pytest.approx(values["loss_sadaan_dice"].item(), rel=1e-5)
