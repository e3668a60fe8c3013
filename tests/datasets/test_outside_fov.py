"""`outside_fov: background`: what lies outside the field of view is taught as background, and not scored."""

import json

import cv2
import numpy as np
import pytest
import torch
from factories import experiment, write_experiment, write_folders

from segcli.config.load import load_run
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent


@pytest.fixture
def parts_of(workplace):
    """The parts of a run on images whose right half is outside; its masks hold foreground everywhere in that half."""
    for path in write_folders(workplace / "data").glob("*/label/*.png"):
        label = cv2.imread(str(path), 0)
        label[:, 24:] = 255
        cv2.imwrite(str(path), label)
        (path.parents[1] / "fov").mkdir(exist_ok=True)
        cv2.imwrite(
            str(path.parents[1] / "fov" / path.name), np.repeat([[255] * 24 + [0] * 24], 48, 0).astype(np.uint8)
        )

    def make(**changes):
        values = experiment(workplace / "data", dataset__fov_folder="fov", **changes)
        return assemble(load_run(write_experiment(workplace / "run.yaml", values)))

    return make


def batches(parts):
    """The first batch of training and of validation, and the maps that the latter is scored on."""
    cases = {split: parts.layout.cases(split) for split in ("train", "val")}
    sources = {split: parts.source(cases[split], Silent()) for split in cases}
    trained = next(iter(parts.train_loader(cases["train"], sources["train"]).epoch(0)))
    scored = next(iter(parts.evaluation_loader(cases["val"], sources["val"])))
    return trained.tensors, scored.tensors, scored.stored_maps[0]


def test_what_lies_outside_is_background_in_the_loss_and_not_in_the_scores(parts_of):
    for tensors in batches(parts_of(dataset__outside_fov="background"))[:2]:
        assert tensors["valid"].bool().all()
        assert not tensors["mask"][..., 24:].any()
        assert tensors["mask"][..., :24].any()
        assert tensors["scored"][..., :24].bool().all()
        assert not tensors["scored"][..., 24:].any()
    stored = batches(parts_of(dataset__outside_fov="background"))[2]
    assert not stored["valid"][:, 24:].any()


def test_by_default_what_lies_outside_counts_nowhere_and_the_mask_is_as_stored(parts_of):
    for tensors in batches(parts_of())[:2]:
        assert "scored" not in tensors
        assert not tensors["valid"][..., 24:].any()
        assert tensors["mask"][..., 24:].bool().all()


def test_the_loss_sees_a_false_alarm_outside_and_the_metrics_do_not(parts_of):
    parts = parts_of(dataset__outside_fov="background")
    batch = parts.task.targets(batches(parts)[0])
    right = torch.where(batch["mask"], 8.0, -8.0)
    wrong = right.clone()
    wrong[..., 24:] = 8.0
    losses = [float(parts.loss({"mask": logits}, batch)["loss"]) for logits in (right, wrong)]
    assert losses[0] < 0.2
    assert losses[1] > 1.0
    for metric in parts.metrics:
        values = [metric.statistics(parts.scored(logits.sigmoid(), batch)) for logits in (right, wrong)]
        assert torch.equal(*values), metric.name


def test_a_crop_that_is_padded_or_turned_keeps_what_was_outside_of_every_image_out(parts_of):
    changes = {"data__patch_size": [64, 64], "data__augmentation": {"preset": "heavy"}}
    tensors = batches(parts_of(dataset__outside_fov="background", **changes))[0]
    assert not tensors["valid"][..., 48:, :].any()
    assert not (tensors["mask"].bool() & ~tensors["scored"].bool()).any()


def test_the_key_needs_a_field_of_view_and_statistics_stay_inside(parts_of, run_cli, workplace):
    config = workplace / "run.yaml"
    parts_of(dataset__outside_fov="background")
    shares = [
        json.loads(run_cli("data", "stats", config, "--json", f"dataset.outside_fov={word}").out) for word in WORDS
    ]
    assert shares[0] == shares[1]
    for command in (("train",), ("data", "check")):
        result = run_cli(*command, config, "dataset.fov_folder=null", "dataset.outside_fov=background")
        assert result.code == 2
        assert "dataset.outside_fov: is `background`, and the data set has no `fov_folder`" in result.err


WORDS = ("ignore", "background")
