"""Validation inference: logits of whole images on the device of the network."""

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from segcli.core.types import Output
from segcli.engine.inference.joint.sizes import most_at_once
from segcli.engine.inference.joint.small_images import SmallImages, Tried
from segcli.engine.inference.sliding import Sliding
from segcli.engine.inference.tiles.grid import Window
from segcli.engine.inference.torch_arrays import TorchArrays
from segcli.engine.inference.views import STRAIGHT, View
from segcli.engine.runtime import Precision

__all__ = ["Inferer"]

TRIED: WeakKeyDictionary[nn.Module, Tried] = WeakKeyDictionary()
"""Trials of `SmallImages` by network. They depend on its layers alone, so that a training makes them once."""


class Inferer:
    """Runs a network on images of any size; images larger than `tile` are cut into tiles.

    Args:
        network: Network that returns logits by name for `(B, C, *S)`.
        outputs: Outputs that the task declares.
        tile: Largest size that the network sees at once; this and the arguments not listed here are those of `Sliding`.
        precision: Number format of the forward pass.
        joins_small: Small images share a call of the network, where each gets the bits that it gets alone.
    """

    def __init__(
        self,
        network: nn.Module,
        outputs: Iterable[Output],
        *,
        tile: tuple[int, ...] | None,
        overlap: float,
        multiple: int,
        precision: Precision,
        batch_size: int = 1,
        views: Sequence[View] = (STRAIGHT,),
        scales: Sequence[float] = (1.0,),
        passes: int | None = None,
        joins_small: bool = False,
    ) -> None:
        self.network = network
        self.precision = precision
        self.joins_small = joins_small
        arrays = TorchArrays()
        self.sliding = Sliding(
            SmallImages(self._forward, arrays, TRIED.setdefault(network, Tried())) if joins_small else self._forward,
            arrays,
            outputs,
            tile=tile,
            overlap=overlap,
            multiple=multiple,
            batch_size=batch_size,
            views=views,
            scales=scales,
            passes=passes,
        )

    def at_once(self, size: tuple[int, ...]) -> int:
        """Count the images of a size that `logits` should be given together."""
        if self.joins_small and self.sliding.sees_whole(size):
            return most_at_once(size)
        return self.sliding.batch_size

    def logits(self, image: Tensor) -> dict[str, Tensor]:
        """Compute logits in float32, `(B, C, *S) -> {name: (B, K, *S)}`; the caller enters `torch.inference_mode`."""
        size = tuple(image.shape[2:])
        if self.sliding.fits(size):
            return self.sliding.look(image)

        def read(window: Window) -> Tensor:
            return image[(slice(None), slice(None), *window)]

        ((_, blended),) = self.sliding.bands(read, size)
        return {**blended, **self.sliding.highest}

    def _forward(self, image: Tensor) -> dict[str, Tensor]:
        with self.precision.autocast():
            outputs: dict[str, Tensor] = self.network(image)
        return {name: values.float() for name, values in outputs.items()}
