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

    needs_size: ClassVar[bool] = False
    """Whether it is made for images of one size, which `IOSpec.size` tells."""

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
        self.frozen_norms: list[nn.Module] = []
        """Batch norms that stay in evaluation mode."""

    def load_pretrained(self) -> list[str]:
        """Take up weights that the config names; called once, before a training begins, and not when it goes on.

        Returns:
            What there is to tell of it, a line each.

        Raises:
            ConfigError: There is no such file.
            CheckpointError: They do not fit.
        """
        return []

    def frozen(self, epoch: int) -> frozenset[str]:
        """Names of the parameters that do not learn in an epoch, the first being 0; a function of the config alone."""
        return frozenset()

    def epoch_begins(self, epoch: int) -> str | None:
        """Freeze what does not learn in this epoch, and let all others learn.

        Batch norms whose parameters are frozen keep their statistics. Optimizers leave parameters without gradient
        alone, whatever they remember of them, so that nothing frozen changes by a bit.

        Returns:
            What changed, to be told; None where nothing did.
        """
        frozen = self.frozen(epoch)
        changed = [name for name, each in self.named_parameters() if each.requires_grad == (name in frozen)]
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in frozen)
            if name in frozen:
                parameter.grad = None
        self.frozen_norms = [
            module
            for path, module in self.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            and any(f"{path}.{name}" in frozen for name, _ in module.named_parameters())
        ]
        self.train(self.training)
        return _told(self, changed, frozen) if changed else None

    def train(self, mode: bool = True) -> "Network":
        """Enter training or evaluation mode; frozen batch norms stay in the latter."""
        super().train(mode)
        for module in self.frozen_norms:
            module.eval()
        return self

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


def _told(network: nn.Module, changed: list[str], frozen: frozenset[str]) -> str:
    """Which layers were frozen or freed, and how much of the network learns."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in changed))
    span = f"`{layers[0]}`" if len(layers) == 1 else f"`{layers[0]}` to `{layers[-1]}`"
    sizes = {name: each.numel() for name, each in network.named_parameters()}
    verb = "frozen" if changed[0] in frozen else "unfrozen"
    learning = sum(size for name, size in sizes.items() if name not in frozen)
    return f"{span} {verb}: {learning:,} of {sum(sizes.values()):,} parameters learn"
