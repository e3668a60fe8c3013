import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segcli.core.arrays import sigmoid as task_sigmoid
from segcli.core.arrays import softmax as task_softmax
from segcli.core.registry import LOSSES
from segcli.losses import WeightedSum
from segcli.nn.shared_probs import sharing

OF_CLASSES = ["cross_entropy", "dice", "tversky", "lovasz", "soft_cldice"]
OF_MASKS = ["bce", "dice", "tversky", "focal_tversky", "boundary"]


class Counted(TorchDispatchMode):
    def __init__(self, name):
        super().__init__()
        self.name, self.calls = name, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func.overloadpacket.__name__ == self.name
        return func(*args, **(kwargs or {}))


def combined(names):
    losses = []
    for name in names:
        kind = LOSSES.load(name)
        loss = kind(kind.Config())
        loss.name = name
        losses.append((0.7, loss))
    return WeightedSum(losses)


def step(names, truth, channels, mark, activation):
    logits = torch.randn(2, channels, 9, 13, generator=torch.Generator().manual_seed(1)).requires_grad_()
    outputs = {"mask": mark(logits * 1.5)}
    valid = torch.rand(2, 1, 9, 13, generator=torch.Generator().manual_seed(2)) > 0.2
    losses = combined(names)(outputs, {"mask": truth, "valid": valid})
    losses["loss"].backward()
    with torch.no_grad():
        return {**losses, "gradient": logits.grad, "probs": activation(outputs["mask"])}


CASES = {
    "softmax": (OF_CLASSES, torch.arange(234).view(2, 9, 13) % 4, 4, task_softmax, "_softmax", 5, 1),
    # the gradient of a cross-entropy of masks has its own sigmoid
    "sigmoid": (OF_MASKS, torch.arange(468).view(2, 2, 9, 13) % 3 == 0, 2, task_sigmoid, "sigmoid", 6, 2),
}


@pytest.mark.parametrize("activation", CASES)
def test_losses_and_metrics_that_share_probabilities_have_the_bits_of_those_that_do_not(activation):
    names, truth, channels, of_task, func, before, now = CASES[activation]
    with Counted(func) as alone:
        expected = step(names, truth, channels, lambda logits: logits, of_task)
    with Counted(func) as once:
        found = step(names, truth, channels, sharing, of_task)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert (alone.calls, once.calls) == (before, now)
