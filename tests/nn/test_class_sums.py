import torch

from segcli.nn.class_sums import class_sums


def inputs():
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 3, 5, generator=draw, dtype=torch.float64)
    truth = torch.randint(0, 3, (2, 3, 5), generator=draw)  # class 3 is in no image
    return logits, truth, torch.rand(2, 1, 3, 5, generator=draw) > 0.3


def test_sums_of_classes_are_those_of_a_one_hot_truth():
    logits, truth, valid = inputs()
    probs = logits.softmax(1) * valid
    target = torch.nn.functional.one_hot(truth, 4).movedim(-1, 1) * valid
    overlap, predicted, true = class_sums(logits, truth, valid)
    torch.testing.assert_close(overlap, (probs * target).sum((2, 3)))
    torch.testing.assert_close(predicted, probs.sum((2, 3)))
    assert true.tolist() == target.sum((2, 3)).tolist()


def test_the_gradient_of_sums_of_classes_is_that_of_finite_differences():
    logits, truth, valid = inputs()
    assert torch.autograd.gradcheck(lambda given: class_sums(given, truth, valid)[:2], logits.requires_grad_())


def test_where_all_pixels_count_the_gradient_keeps_the_bits_of_a_product_with_their_weights(monkeypatch):
    logits, truth, valid = inputs()
    logits, found = logits.float(), []
    for all_count in (True, False):
        monkeypatch.setattr(torch.Tensor, "all", lambda given, told=all_count: torch.tensor(told))
        leaf = logits.clone().requires_grad_()
        overlap, predicted, _ = class_sums(leaf, truth, torch.ones_like(valid))
        (overlap * 0.3 - predicted.square()).sum().backward()
        found.append(leaf.grad)
    assert torch.equal(*found)
    monkeypatch.undo()
    assert torch.autograd.gradcheck(
        lambda given: class_sums(given, truth, torch.ones_like(valid))[:2], logits.double().requires_grad_()
    )
