"""Tables of 2D and 3D layers by number of spatial axes; no other file distinguishes the two."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ADAPTIVE_MAX_POOL", "BATCH_NORM", "CONV", "CONV_TRANSPOSE", "DROPOUT", "INTERPOLATION", "MAX_POOL", "POOL"]

CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
MAX_POOL: dict[int, Callable[..., Tensor]] = {2: F.max_pool2d, 3: F.max_pool3d}
"""Max-pooling as a function."""
ADAPTIVE_MAX_POOL: dict[int, Callable[..., Tensor]] = {2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
DROPOUT: dict[int, type[nn.Dropout2d] | type[nn.Dropout3d]] = {2: nn.Dropout2d, 3: nn.Dropout3d}
INTERPOLATION = {2: "bilinear", 3: "trilinear"}
"""Mode of `torch.nn.functional.interpolate` for smooth values."""
