"""Networks, one file each. What every network keeps stands here.

A network takes an image `(B, C, *S)` and returns raw logits by name; sigmoid, softmax, thresholds and arg-max belong
to the task. `Config` holds what a user may set and `IOSpec` what the program knows.
"""

from typing import ClassVar

from torch import Tensor, nn

from segcli.core.errors import ConfigError
from segcli.core.types import ConfigModel, IOSpec
from segcli.nn.recompute import recompute

__all__ = ["Network"]


class Network(nn.Module):
    """A network for images with any number of channels and outputs."""

    can_output: ClassVar[tuple[str, ...]] = ("mask",)
    """Names of the outputs that this network is able to give."""
    can_ndim: ClassVar[tuple[int, ...]] = (2, 3)
    """Numbers of spatial axes that it works on."""
    Config: ClassVar[type[ConfigModel]]

    stride: int = 1
    """Each spatial size of the input is a multiple of this."""

    def __init__(self, io: IOSpec) -> None:
        name = type(self).__name__
        if io.ndim not in self.can_ndim:
            raise ConfigError(f"model `{name}` does not work on {io.ndim}D images")
        for output in io.outputs:
            if output not in self.can_output:
                raise ConfigError(
                    f"model `{name}` has no `{output}` output", hint=f"it gives {', '.join(self.can_output)}"
                )
        super().__init__()
        self.io = io

    def load_pretrained(self) -> None:
        """Take up weights that the config names; called once, before a training begins, and not when it goes on.

        Raises:
            ConfigError: There is no such file.
            CheckpointError: They do not fit.
        """

    def progressed(self, share: float) -> None:
        """Hear before each optimizer step that `share` (0 to 1) of the training is done; for schedules within."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Raw logits by name."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def checkpoint_activations(self) -> None:
        """Keep no activations within the top-level blocks while training; they are computed again for backward."""
        blocks = dict(self.named_modules())
        for name in self.activation_layers():
            recompute(blocks[name])

    def activation_layers(self) -> list[str]:
        """Names of the layers whose outputs tell how the network works: its top-level blocks that have weights."""
        names = []
        for name, child in self.named_children():
            is_list = isinstance(child, nn.ModuleList | nn.ModuleDict)
            blocks = {f"{name}.{key}": block for key, block in child.named_children()} if is_list else {name: child}
            names += [key for key, block in blocks.items() if any(True for _ in block.parameters())]
        return names
