"""Networks, one file each. This file holds the contract of every network.

A network takes an image `(B, C, *S)` and returns raw logits by name; sigmoid, softmax, thresholds and arg-max belong
to the task. `Config` holds what a user may set and `IOSpec` what the program knows.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from segcli.core.errors import ConfigError
from segcli.core.types import ConfigModel, IOSpec
from segcli.nn.freezing import Freezing, span
from segcli.nn.recompute import recompute

__all__ = ["Network"]


class Network(nn.Module):
    """A network for images with any number of channels and outputs."""

    can_output: ClassVar[tuple[str, ...]] = ("mask",)
    """Names of the outputs that this network is able to give; `mask` stands for the one that `IOSpec.pixels` names."""
    can_ndim: ClassVar[tuple[int, ...]] = (2, 3)
    """Numbers of spatial axes that this network supports."""
    Config: ClassVar[type[ConfigModel]]

    needs_size: ClassVar[bool] = False
    """True if the network is made for images of one fixed size, which is `IOSpec.size`."""

    begins_anew: ClassVar[tuple[str, ...]] = ()
    """Patterns of tensors that begin anew if weights of another size are loaded, besides those whose size follows from
    the number of outputs."""

    stride: int = 1
    """Each spatial size of the input must be a multiple of this."""

    def __init__(self, io: IOSpec) -> None:
        name = type(self).__name__
        if io.ndim not in self.can_ndim:
            raise ConfigError(f"model `{name}` does not work on {io.ndim}D images")
        given = [io.pixels if output == "mask" else output for output in self.can_output]
        for output in io.outputs:
            if output not in given:
                raise ConfigError(f"model `{name}` has no `{output}` output", hint=f"it gives {', '.join(given)}")
        super().__init__()
        self.io = io
        self.freezing = Freezing()
        """Parameters that the training freezes."""
        self.frozen_norms: list[nn.Module] = []
        """Batch norms that stay in evaluation mode."""

    @classmethod
    def sized(cls, io: IOSpec, most: int, config: Any = None) -> "tuple[dict[str, Any], int] | None":
        """Propose keys that size the network to the images and to a number of parameters.

        Args:
            io: Images of one size, and the outputs.
            most: Number of parameters; if even the smallest network has more, that one is proposed.
            config: Keys that stay, if the proposal does not change them; default: those of an empty section.

        Returns:
            The keys, and the number of parameters; None if this network has no proposal.
        """
        return None

    def load_pretrained(self) -> list[str] | None:
        """Load pretrained weights in a format of this network's own, which its own key `weights` names.

        Called once before a new training, not when it resumes.

        Returns:
            Lines for the user about what was loaded; None if `model.weights` has to be loaded by name, as for every
            network.

        Raises:
            ConfigError: There is no such file.
            CheckpointError: The weights do not fit the network.
        """
        return None

    def check_weights(self, tensors: dict[str, Tensor], source: str) -> None:
        """Refuse weights whose names and shapes fit by chance, but belong to other layers.

        Args:
            tensors: Tensors of the file by their names there.
            source: Name of the file.

        Raises:
            CheckpointError: The layers are others.
        """

    def never_loaded(self) -> tuple[str, ...]:
        """Return patterns of tensors that begin anew even if those of a checkpoint fit."""
        return ()

    def parameter_blocks(self) -> list[list[str]]:
        """Return the parameter names of each block, in the order of the network."""
        blocks, groups = self.activation_layers(), dict[str, list[str]]()
        for name, _ in self.named_parameters():
            block = next((block for block in blocks if name.startswith(f"{block}.")), name)
            groups.setdefault(block, []).append(name)
        return list(groups.values())

    def freeze(self, freezing: Freezing) -> None:
        """Freeze parameters in a training; `epoch_begins` applies it.

        Raises:
            ConfigError: A pattern matches no parameter, or nothing would be trained.
        """
        names = [name for name, _ in self.named_parameters()]
        freezing.check(names, self.activation_layers())
        self.freezing = freezing
        if len(self._frozen(0)) == len(names):
            raise ConfigError(
                "`training.freeze` freezes every parameter: nothing would be trained", hint="leave some out"
            )

    def frozen(self, epoch: int) -> frozenset[str]:
        """Return the names of the parameters that keys of this network's own freeze in an epoch (first epoch: 0)."""
        return frozenset()

    def _frozen(self, epoch: int) -> frozenset[str]:
        return self.frozen(epoch) | self.freezing.frozen(self.parameter_blocks(), epoch)

    def epoch_begins(self, epoch: int) -> str | None:
        """Freeze the parameters that do not learn in this epoch, and unfreeze all others.

        Batch norms with frozen parameters keep their running statistics. Optimizers skip parameters without gradient,
        also if they hold momentum for them, so that frozen parameters stay the same to the bit.

        Returns:
            A message about the change; None if nothing changed.
        """
        frozen = self._frozen(epoch)
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
        return _message(self, changed, frozen) if changed else None

    def train(self, mode: bool = True) -> "Network":
        """Enter training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        for module in self.frozen_norms:
            module.eval()
        return self

    def progressed(self, share: float) -> None:
        """Receive the share (0 to 1) of the training that is done, before each optimizer step; for inner schedules."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return raw logits by name."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def checkpoint_activations(self) -> None:
        """Turn on activation checkpointing: top-level blocks keep no activations and recompute them for backward."""
        blocks = dict(self.named_modules())
        for name in self.activation_layers():
            recompute(blocks[name])

    def activation_layers(self) -> list[str]:
        """Return the names of the layers whose outputs are worth recording: top-level blocks with weights."""
        names = []
        for name, child in self.named_children():
            is_list = isinstance(child, nn.ModuleList | nn.ModuleDict)
            blocks = {f"{name}.{key}": block for key, block in child.named_children()} if is_list else {name: child}
            names += [key for key, block in blocks.items() if any(True for _ in block.parameters())]
        return names


def _message(network: nn.Module, changed: list[str], frozen: frozenset[str]) -> str:
    """Describe which layers were frozen or unfrozen, and how many parameters learn."""
    sizes = {name: each.numel() for name, each in network.named_parameters()}
    verb = "frozen" if changed[0] in frozen else "unfrozen"
    learning = sum(size for name, size in sizes.items() if name not in frozen)
    return f"{span(changed)} {verb}: {learning:,} of {sum(sizes.values()):,} parameters learn"
