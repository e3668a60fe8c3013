"""A loss: any module of PyTorch; the keys beside `type` are its arguments."""

from torch import Tensor, nn


class SharpDice(nn.Module):
    """Dice loss raised to a power, averaged over the images of a batch."""

    can_target = ("masks",)  # not for classes that exclude each other

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar of logits and target `(B, K, *S)`; pixels outside `valid` `(B, 1, *S)` do not count."""
        probs, target = logits.sigmoid() * valid, target * valid
        overlap, total = (probs * target).flatten(2).sum(2), (probs + target).flatten(2).sum(2)
        return (1.0 - ((2.0 * overlap + 1.0) / (total + 1.0)) ** self.power).mean()
