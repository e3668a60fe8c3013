"""Which cases are shown, and what their pictures hold."""

import numpy as np
import pytest
import torch
from factories import blobs, experiment, scenes_experiment, volumes_experiment, write_hdf5, write_sequences

from segcli.config.load import run_from_values
from segcli.data.classes.mistakes import MISTAKES
from segcli.data.samples import Case, Sample
from segcli.engine.assembly import assemble
from segcli.report.showcase import DRAWN, Showcase, Shown, per_case

GREEN, RED, BLUE = MISTAKES


def binary(size=(12, 12), **changes):
    """Parts of a run on images that lie nowhere; the truth is the upper half."""
    parts = assemble(run_from_values(experiment(".", **changes), source="test"))
    truth = np.zeros(size, np.uint8)
    truth[: size[0] // 2] = 1
    parts.layout.read = lambda case: Sample(image=np.full((*size, 3), 100, np.uint8), maps={"mask": truth})
    return parts, truth


def hear(parts, showcase, name, probs, truth, valid=None):
    """One case with probabilities `(K, *S)` and the truth as the loader has it."""
    valid = np.ones(truth.shape[: probs.ndim - 1], np.uint8) if valid is None else valid
    batch = parts.task.targets({"mask": torch.from_numpy(truth)[None], "valid": torch.from_numpy(valid)[None]})
    scored = parts.scored(probs[None], batch)
    showcase.hear(Case(name, parts.run.folder / f"{name}.png"), probs, scored)
    return per_case(parts.metrics[0], scored)


@pytest.mark.parametrize("metric", ["dice", "hd95"])
def test_the_cases_are_those_that_sorting_all_gives(metric):
    parts, truth = binary(training__metrics=[metric])
    showcase = Showcase(parts, 4)
    rng = np.random.default_rng(0)
    values = {}
    for index in range(40):
        probs = torch.from_numpy(truth[None].astype(np.float32)).clone()
        probs[0, :, : int(rng.integers(0, 12))] = float(rng.integers(0, 2))
        values[f"{index:02d}.png"] = hear(parts, showcase, f"{index:02d}", probs, truth)
    sign = 1 if metric == "dice" else -1
    defined = [name for name, value in values.items() if not np.isnan(value)]
    order = sorted(defined, key=lambda name: sign * values[name])
    shown = showcase.shown()
    assert [entry.name for entry in shown.worst] == order[:4]
    assert [entry.value for entry in shown.worst] == [values[name] for name in order[:4]]
    assert [entry.value for entry in shown.best] == [values[name] for name in order[::-1][:4]]
    assert not {entry.name for entry in shown.worst} & {entry.name for entry in shown.best}


def test_of_few_cases_none_is_shown_twice_and_what_is_not_defined_not_at_all():
    parts, truth = binary()
    showcase = Showcase(parts, 4)
    for index, columns in enumerate((12, 6, 0)):
        probs = torch.from_numpy(truth[None].astype(np.float32)).clone()
        probs[0, :, columns:] = 0
        hear(parts, showcase, f"{index}", probs, truth)
    hear(parts, showcase, "none", torch.zeros(1, 12, 12), truth, valid=np.zeros((12, 12), np.uint8))
    shown = showcase.shown()
    assert [entry.name for entry in shown.worst] == ["2.png", "1.png"]
    assert [entry.name for entry in shown.best][:1] == ["0.png"]


def test_a_case_with_one_answer_for_all_of_it_has_no_picture():
    parts, _ = binary()
    showcase = Showcase(parts, 1)
    showcase.hear(Case("a", parts.run.folder), torch.tensor([0.2, 0.8]), scored=None)
    assert showcase.shown() == Shown([], [])


def test_mistakes_are_coloured_pixel_by_pixel_and_what_does_not_count_is_not():
    parts, truth = binary()
    valid = np.ones((12, 12), np.uint8)
    valid[:, 11] = 0
    parts.layout.read = lambda case: Sample(np.full((12, 12, 3), 100, np.uint8), {"mask": truth, "valid": valid})
    probs = torch.zeros(1, 12, 12)
    probs[0, 4:8] = 0.9
    showcase = Showcase(parts, 1)
    hear(parts, showcase, "a", probs, truth, valid)
    (case,) = showcase.shown().worst
    picture = case.panels["mistakes"]
    found = probs[0].numpy() > 0.5
    for colour, mask in ((GREEN, found & (truth > 0)), (RED, ~found & (truth > 0)), (BLUE, found & (truth == 0))):
        assert np.array_equal((picture == colour).all(axis=2), mask & (valid > 0))
    assert np.array_equal(case.panels["prediction"][:, :11, 0] > 128, found[:, :11])
    assert np.array_equal(case.panels["truth"][:, :11, 0] > 128, truth[:, :11] > 0)
    assert (case.panels["image"][:, :11] == 100).all()
    assert (case.panels["image"][:, 11] == 33).all()
    assert case.place == ""


def test_a_wrong_class_is_red_and_nothing_else_is_marked(tmp_path):
    parts = assemble(run_from_values(scenes_experiment(write_sequences(tmp_path / "data")), source="test"))
    case = parts.layout.cases("val")[0]
    sample = parts.layout.read(case)
    truth, valid = sample.maps["mask"], sample.maps["valid"]
    probs = torch.nn.functional.one_hot(torch.from_numpy(truth).long() % 4, 4).movedim(-1, 0).float()
    probs[:, :5], probs[2, :5] = 0, 1  # the upper rows are found to be car
    showcase = Showcase(parts, 1)
    batch = parts.task.targets({"mask": torch.from_numpy(truth)[None], "valid": torch.from_numpy(valid)[None]})
    showcase.hear(case, probs, parts.scored(probs[None], batch))
    (shown,) = showcase.shown().worst
    wrong = (probs.argmax(0).numpy() != truth) & (valid > 0)
    assert wrong.any()
    assert np.array_equal((shown.panels["mistakes"] == RED).all(axis=2), wrong)
    assert not (shown.panels["mistakes"] == GREEN).all(axis=2).any()
    assert shown.name == "Video_001/0001.png"


def test_of_a_volume_the_slice_with_the_most_mistakes_is_shown_in_its_proportions(tmp_path):
    values = volumes_experiment(write_hdf5(tmp_path / "data"))
    parts = assemble(run_from_values(values, source="test"))
    case = parts.layout.cases("val")[0]  # with both structures
    truth = parts.layout.read(case).maps["mask"]
    found = truth.copy()
    found[9] = 1 - found[9]
    showcase = Showcase(parts, 1)
    for answer in (found, truth):
        probs = torch.from_numpy(np.moveaxis(answer, -1, 0).astype(np.float32))
        valid = torch.ones(1, *answer.shape[:3], dtype=torch.uint8)
        batch = parts.task.targets({"mask": torch.from_numpy(truth)[None], "valid": valid})
        showcase.hear(case, probs, parts.scored(probs[None], batch))
    shown = showcase.shown()
    assert shown.worst[0].place == "axis 1, slice 10 of 16"
    fullest = int(truth.reshape(16, -1).sum(axis=1).argmax())
    assert shown.best[0].place == f"axis 1, slice {fullest + 1} of 16"
    assert shown.worst[0].panels["mistakes"].shape == (16, 24, 3)  # 16 x 8 voxels of 1 x 3 mm
    assert not (shown.best[0].panels["mistakes"] == RED).all(axis=2).any()


def test_a_large_image_is_reduced_by_area_so_that_thin_lines_stay():
    parts, _ = binary()
    truth = np.zeros((2000, 1000), np.uint8)
    truth[:, 500:503] = 1
    image = blobs(0, (2000, 1000))[0]
    parts.layout.read = lambda case: Sample(image, {"mask": truth})
    showcase = Showcase(parts, 1)
    hear(parts, showcase, "a", torch.from_numpy(truth[None].astype(np.float32)), truth)
    (case,) = showcase.shown().worst
    assert {picture.shape for picture in case.panels.values()} == {(DRAWN, DRAWN // 2, 3)}
    assert (case.panels["truth"].max(axis=1) > 40).all()
