"""A network: any module of PyTorch that returns logits of the size of the image."""

from torch import Tensor, nn


class TwoLayers(nn.Module):
    """Two convolutions; `in_channels` and `num_classes` come from the data set."""

    can_ndim = (2,)

    def __init__(self, in_channels: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Conv2d(in_channels, width, 3, padding=1)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of an image `(B, C, H, W)`."""
        return self.head(self.body(image).relu())
