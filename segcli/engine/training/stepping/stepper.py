"""Parts of an optimizer step: forward, backward, gradient accumulation, clipping, update, weight averaging (EMA)."""

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.types import Batch, Outputs
from segcli.engine.assembly import Assembly
from segcli.engine.assembly.components import freezing_of
from segcli.engine.training.stepping.optimizer_state import optimizer_tensors, restore_optimizer
from segcli.engine.training.stepping.sharing import Sharing
from segcli.engine.world import World
from segcli.nn.rates import RATE, factors_of, split_groups
from segcli.nn.shards import gathered, load_whole, own_share, shard, whole
from segcli.nn.shared_probs import sharing
from segcli.nn.sync_norm import Link
from segcli.nn.tensor_files import below

__all__ = ["Stepper"]


class Stepper:
    """Holds the state that changes with every step: weights, optimizer, loss scale and averaged weights."""

    def __init__(self, parts: Assembly, world: World | None = None, link: Link | None = None) -> None:
        training, world = parts.run.training, world or World.alone()
        self.parts = parts
        self.sharing = Sharing(parts, world, link)
        self.network = parts.network
        parts.network.freeze(freezing_of(parts.run))
        self.averaged: nn.Module | None = deepcopy(parts.network) if training.ema.enabled else None
        if self.averaged is not None:
            self.averaged.requires_grad_(requires_grad=False)
        self.is_sharded = training.strategy == "fsdp" and not world.is_alone
        """True if each process has only a share of the networks and of the optimizer's state."""
        if self.is_sharded:
            self._shard(world)
        compiles = training.compile and not self.is_sharded
        self.forward: Any = torch.compile(parts.network) if compiles else parts.network
        self.base_lr: float = training.optimizer.kind.Config.model_validate(training.optimizer.options).learning_rate
        self.optimizer: torch.optim.Optimizer = training.optimizer.build().build(parts.network.parameters())
        if training.optimizer.rates:
            modules = parts.network.activation_layers()
            split_groups(self.optimizer, parts.network, factors_of(parts.network, training.optimizer.rates, modules))
        self.scaler = torch.amp.GradScaler(parts.device.type, enabled=parts.precision.scales)
        self.clip_norm = training.gradient_clip_norm
        self.has_gradient = False
        """True if a batch has added a gradient since the last update."""

    def _shard(self, world: World) -> None:
        if self.parts.precision.scales:
            raise ConfigError(
                "`training.strategy: fsdp` does not work in fp16", hint="set `training.amp=bf16` or `training.amp=off`"
            )
        compiles, device = self.parts.run.training.compile, self.parts.device
        shard(self.network, device, world.size, compiles=compiles)
        if self.averaged is not None:
            shard(self.averaged, device, world.size, compiles=False)

    @property
    def best_network(self) -> nn.Module:
        """Network for the validation: the averaged (EMA) network if there is one."""
        return self.averaged if self.averaged is not None else self.network

    def whole(self) -> AbstractContextManager[None]:
        """Hold the whole of `best_network` in each process, so that each may run it for itself."""
        return gathered(self.best_network) if self.is_sharded else nullcontext()

    def forward_loss(self, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        """Compute the loss with its parts, and return them with the raw outputs."""
        with self.parts.precision.autocast():
            outputs: Outputs = self.forward(batch["image"])
        if self.parts.device.type == "cpu":  # once for losses and metrics; a softmax reorders its input by itself
            outputs = {name: sharing(values.float().contiguous()) for name, values in outputs.items()}
        return self.sharing.losses(outputs, batch), outputs

    def backward(self, loss: Tensor, share: float) -> None:
        """Add the gradient of `share * loss`."""
        self.scaler.scale(loss * share if share != 1.0 else loss).backward()  # type: ignore[no-untyped-call]
        self.has_gradient = True

    def gradients(self) -> dict[str, Tensor]:
        """Copy the gradients that earlier batches of this optimizer step have added to the CPU."""
        named = self.network.named_parameters()
        return {name: each.grad.cpu().clone() for name, each in named if each.grad is not None}

    def restore_gradients(self, kept: dict[str, Tensor]) -> None:
        """Restore the gradients that `gradients` returned."""
        for name, parameter in self.network.named_parameters():
            parameter.grad = kept[name].to(parameter.device) if name in kept else None
        self.has_gradient = bool(kept)

    def buffers(self) -> list[Tensor]:
        """Copy the buffers of the network, such as running statistics of batch norms, which a forward pass changes."""
        return [buffer.clone() for buffer in self.network.buffers()]

    @torch.no_grad()
    def restore_buffers(self, kept: list[Tensor]) -> None:
        """Restore the buffers that `buffers` returned."""
        for buffer, old in zip(self.network.buffers(), kept, strict=True):
            buffer.copy_(old)

    def update(self, rate: float, step: int) -> None:
        """Take optimizer step `step` with learning rate `rate`, times the factor of each group of parameters.

        If every batch of this step was skipped, there is no gradient, and the weights do not change.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(RATE, 1.0)
        if self.has_gradient:
            self._step()
        if self.averaged is not None:
            self._average(step)

    def _step(self) -> None:
        if not self.is_sharded:  # else the backward pass has added them
            self.sharing.add_gradients(self.network.parameters())
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.has_gradient = False

    @torch.no_grad()
    def _average(self, step: int) -> None:
        # The decay grows with the steps, so that the mean soon forgets the random initial weights.
        assert self.averaged is not None
        decay = min(self.parts.run.training.ema.decay, (1.0 + step) / (10.0 + step))
        old: list[Tensor] = [own_share(each) for each in self.averaged.parameters()]
        new: list[Tensor] = [own_share(each) for each in self.network.parameters()]
        torch._foreach_lerp_(old, new, 1.0 - decay)
        for kept, buffer in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            # running statistics belong to the weights of their step, so they are averaged in the same way
            if kept.is_floating_point():
                kept.lerp_(buffer, 1.0 - decay)
            else:
                kept.copy_(buffer)

    # ---- state

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, averaged weights and optimizer state by their names in a checkpoint, each as a whole."""
        tensors = {f"model/{name}": whole(value) for name, value in self.network.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"ema/{name}": whole(value) for name, value in self.averaged.state_dict().items()}
        return tensors | optimizer_tensors(self.optimizer, self.network)

    def restore(self, tensors: dict[str, Tensor], scaler: dict[str, Any]) -> None:
        """Load the tensors that `tensors()` returned.

        Raises:
            CheckpointError: Tensors are missing or have another shape.
        """
        try:
            self._load(self.network, below(tensors, "model/"))
            if self.averaged is not None:
                self._load(self.averaged, below(tensors, "ema/") or below(tensors, "model/"))
            restore_optimizer(self.optimizer, self.network, tensors)
        except (RuntimeError, KeyError) as error:
            detail = " ".join(str(error).split())[:160]
            raise CheckpointError(
                f"the checkpoint does not fit the run ({detail})", hint="`model` and `optimizer` must be unchanged"
            ) from error
        if scaler:
            self.scaler.load_state_dict(scaler)

    def _load(self, network: nn.Module, tensors: dict[str, Tensor]) -> None:
        if self.is_sharded:
            load_whole(network, tensors)
        else:
            network.load_state_dict(tensors)
