"""DropBlock: dropout of square regions of a feature map."""

import torch
from torch import Tensor, nn

from segcli.nn.dims import MAX_POOL

__all__ = ["DropBlock"]


class DropBlock(nn.Module):
    """Set square regions to 0 in training; `(B, C, *S) -> (B, C, *S)`.

    Paper: Ghiasi et al., "DropBlock", NeurIPS 2018, https://arxiv.org/abs/1810.12890. Regions are drawn separately for
    each channel of each image. The kept values are scaled up so that the mean stays the same.

    Args:
        ndim: Spatial axes.
        block_size: Side of a region in pixels, odd; a shorter axis is dropped completely.
        keep_prob: Share of values kept at the end of the schedule, and from the start if `progressed` is never called.
        ramp: Share of the training during which the kept share falls from 1 to `keep_prob`; 0 keeps it constant.
    """

    keep: Tensor

    def __init__(self, ndim: int, *, block_size: int = 7, keep_prob: float = 0.9, ramp: float = 1.0) -> None:
        super().__init__()
        self.ndim = ndim
        self.block_size = block_size
        self.keep_prob = keep_prob
        self.ramp = ramp
        # A tensor and not a float, so that a change does not recompile a compiled network.
        self.register_buffer("keep", torch.tensor(keep_prob), persistent=False)

    def progressed(self, share: float) -> None:
        """Set the kept share of values for the moment when `share` (0 to 1) of the training is done."""
        done = 1.0 if self.ramp == 0.0 else min(share / self.ramp, 1.0)
        self.keep.fill_(1.0 - done * (1.0 - self.keep_prob))

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature map with dropped regions in training, and unchanged in evaluation."""
        if not self.training:
            return x
        kept = self._kept(x)
        return x * kept * (kept.numel() / kept.sum().clamp(min=1.0))

    @torch.no_grad()
    def _kept(self, x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        half = [min(self.block_size, size if size % 2 else size - 1) // 2 for size in sizes]
        # Centres lie where a whole region fits; their rate is chosen so that the expected dropped share is right.
        room = [size - 2 * reach for size, reach in zip(sizes, half, strict=True)]
        rate = 1.0 - self.keep
        for size, reach, free in zip(sizes, half, room, strict=True):
            rate = rate * (size / ((2 * reach + 1) * free))
        centres = (torch.rand(*x.shape[:2], *room, device=x.device) < rate).to(x.dtype)
        # max-pooling with a padding of twice the reach grows each centre to a region and restores the size
        widths = [2 * reach + 1 for reach in half]
        padded = nn.functional.pad(centres, [2 * reach for reach in reversed(half) for _ in range(2)])
        holes: Tensor = MAX_POOL[self.ndim](padded, widths, stride=1)
        return 1.0 - holes
