"""DropBlock: dropout of whole regions of a feature map."""

import torch
from torch import Tensor, nn

from segcli.nn.dims import MAX_POOL

__all__ = ["DropBlock"]


class DropBlock(nn.Module):
    """Drop square regions while training; `(B, C, *S) -> (B, C, *S)`.

    Paper: Ghiasi et al., "DropBlock", NeurIPS 2018, https://arxiv.org/abs/1810.12890. Each channel of each image has
    regions of its own, and what is kept is scaled up so that the mean stays.

    Args:
        ndim: Spatial axes.
        block_size: Side of a region in pixels, odd; an axis that is shorter is dropped as a whole.
        keep_prob: Share of the values that is kept at the end of the schedule, and from the start where none is driven.
        ramp: Share of the training over which the kept share falls from 1 to `keep_prob`; 0 keeps it constant.
    """

    keep: Tensor

    def __init__(self, ndim: int, *, block_size: int = 7, keep_prob: float = 0.9, ramp: float = 1.0) -> None:
        super().__init__()
        self.ndim = ndim
        self.block_size = block_size
        self.keep_prob = keep_prob
        self.ramp = ramp
        # A tensor, so that a compiled network is not compiled again as the schedule goes on.
        self.register_buffer("keep", torch.tensor(keep_prob), persistent=False)

    def progressed(self, share: float) -> None:
        """Set the kept share for a training of which `share` (0 to 1) is done."""
        done = 1.0 if self.ramp == 0.0 else min(share / self.ramp, 1.0)
        self.keep.fill_(1.0 - done * (1.0 - self.keep_prob))

    def forward(self, x: Tensor) -> Tensor:
        """The feature map with holes in training, as it is in evaluation."""
        if not self.training:
            return x
        kept = self._kept(x)
        return x * kept * (kept.numel() / kept.sum().clamp(min=1.0))

    @torch.no_grad()
    def _kept(self, x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        half = [min(self.block_size, size if size % 2 else size - 1) // 2 for size in sizes]
        # Centres lie where a whole region fits, and are as frequent as makes the dropped share come out.
        room = [size - 2 * reach for size, reach in zip(sizes, half, strict=True)]
        rate = 1.0 - self.keep
        for size, reach, free in zip(sizes, half, room, strict=True):
            rate = rate * (size / ((2 * reach + 1) * free))
        centres = (torch.rand(*x.shape[:2], *room, device=x.device) < rate).to(x.dtype)
        # pooling with a padding of twice the reach paints a region around each centre, and restores the size
        widths = [2 * reach + 1 for reach in half]
        padded = nn.functional.pad(centres, [2 * reach for reach in reversed(half) for _ in range(2)])
        holes: Tensor = MAX_POOL[self.ndim](padded, widths, stride=1)
        return 1.0 - holes
