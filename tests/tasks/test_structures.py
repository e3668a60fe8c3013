import numpy as np
import torch

from segcli.core.registry import TASKS
from segcli.data.settings import DatasetSpec, Paths


def task(name):
    entries = [{"name": name} for name in ("ball", "box")]
    spec = {"name": "x", "format": "hdf5_volumes", "num_classes": 2, "classes": entries, "paths": Paths()}
    return TASKS.load(name)(DatasetSpec.model_validate(spec))


def test_probabilities_without_pytorch_are_those_with_it():
    logits = torch.randn(1, 2, 3, 4, 5) * 30
    for name in ("structures", "multiclass"):
        found = task(name).probabilities(logits.numpy())[0]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, task(name).probabilities(logits)[0].numpy(), atol=1e-6)


def test_a_structure_that_is_judged_absent_has_no_probability_anywhere():
    logits = torch.randn(2, 2, 3, 4, 5)
    judged = task("structures").presence({"mask": logits, "gate": torch.tensor([[0.0, -0.1], [-3.0, 2.0]])})
    assert judged.tolist() == [[True, False], [False, True]]
    probs = task("structures").probabilities(logits, judged)
    assert not probs[~judged].any()
    torch.testing.assert_close(probs[judged], logits[judged].sigmoid())


def test_a_share_of_no_pixel_is_not_0():
    made = task("structures")
    assert made.class_shares(np.array([0, 5, 10])) == {"ball": 0.0, "box": 0.5}
    assert all(np.isnan(share) for share in made.class_shares(made.no_counts).values())
