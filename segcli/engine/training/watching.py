"""Logging to trackers: metrics, images, activations, network graph and hyperparameters, each at its interval.

Logging never changes a training: it draws no random numbers and does not change the network. Logging that fails is
switched off with a warning.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segcli.config.schema import Logging, Run
from segcli.core.files import plain
from segcli.core.names import safe_name
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly
from segcli.engine.events import Listener
from segcli.engine.memory import MemoryLog
from segcli.engine.runfolder import RunFolder
from segcli.engine.training.activations import observed, observed_layers, undisturbed
from segcli.engine.training.monitor import Monitor
from segcli.engine.training.panels import Panels, picked
from segcli.engine.training.tracking import Tracking, raise_if_elsewhere
from segcli.engine.world import World
from segcli.files.png import PNG
from segcli.metrics import Scored

__all__ = ["Watching"]

IMAGES, ACTIVATIONS = "logging.log_images", "logging.log_activations"
PICTURES = "logging.visualization_interval"
CHOSEN = ("model", "data", "training", "inference", "seed", "device")
"""Config sections whose values are logged as hyperparameters."""
SMALL = 32
"""Smallest size along each axis, in pixels, of the input that traces the network graph."""


class Watching:
    """Logs one training to its trackers.

    Args:
        parts: The run's parts.
        folder: Run folder.
        cases: Validation cases.
        listener: Receives a warning when logging fails.
        memory: Memory figures of each epoch; None in a process that records nothing.
        epochs: Number of completed epochs.
        records: False in all processes but the first: they only pass on their predictions of chosen images.
    """

    def __init__(
        self,
        parts: Assembly,
        folder: RunFolder,
        cases: Sequence[Case],
        listener: Listener,
        memory: MemoryLog | None,
        *,
        epochs: int,
        records: bool = True,
    ) -> None:
        self.parts = parts
        self.memory = memory
        self.listener = listener
        self.settings = parts.run.logging
        self.records = records
        run = parts.run if records else parts.run.model_copy(update={"logging": Logging(tensorboard=False)})
        self.tracking = Tracking(run, folder.path, listener, first_step=epochs + 1)
        self.cases = picked(cases)
        self.panels = Panels(parts, cases)
        self.layers = observed_layers(parts.run, parts.network) if self.settings.log_activations else []
        self.on = {IMAGES: self.settings.log_images, ACTIVATIONS: self.settings.log_activations}
        self.folder = folder
        drawn = parts.task.has_pixels
        for key, asked in self.on.items() if records else ():
            if asked and not (cases and self.tracking.is_on and (drawn or key != IMAGES)):
                why = "there are no validation images" if self.tracking.is_on else "no tracker is on"
                if cases and self.tracking.is_on:
                    why = "the task predicts one class for a whole image"
                listener.warn(f"`{key}` has no effect: {why}")
                self.on[key] = False

        self.on[PICTURES] = bool(cases) and drawn and self.settings.visualization_interval is not None

    def begin(self, network: nn.Module | None, history: Sequence[dict[str, Any]]) -> None:
        """Log the network graph, if there is a network to run here, and earlier epochs, before the first step."""
        for entry in history:
            self.tracking.earlier_scalars(self._values(entry), entry["epoch"])
        if self.tracking.is_on and network is not None:
            io, stride = self.parts.network.io, self.parts.network.stride
            length = stride * max(4, -(-SMALL // stride))
            image = torch.zeros(1, io.in_channels, *(io.size or [length] * io.ndim), device=self.parts.device)
            with undisturbed(network, self.parts.device):
                self.tracking.graph(network, image)

    def image_scored(self, case: Case, probs: Tensor, _: Scored) -> None:
        """Receive the probabilities `(K, *S)` of one validation image."""
        keys = [key for key in (IMAGES, PICTURES) if self.on[key]]
        if keys and self.panels.wants(case):
            self._attempt(lambda: self.panels.hear(case, probs), *keys)

    def join(self, world: World) -> None:
        """Give the first process what the others have predicted of the chosen images."""
        # the first process alone knows its trackers, and which logging has failed
        if world.is_alone or not world.told(any(self.on[key] for key in (IMAGES, PICTURES))):
            return
        known = world.gathered({name: probs.cpu() for name, probs in self.panels.probs.items()})
        if self.records:
            self._attempt(lambda: self.panels.join(known[1:]), IMAGES, PICTURES)

    def epoch_over(self, entry: dict[str, Any], network: nn.Module, *, improved: bool) -> None:
        """Log an epoch, with its history entry and the network that was validated."""
        if not self.records:
            return
        epoch, train = entry["epoch"], entry["train"]
        val = _validated(entry)
        self.tracking.scalars(self._values(entry), epoch)
        both = {f"comparison/{name}": {"train": train[name], "val": val[name]} for name in train if name in val}
        self.tracking.comparisons(both, epoch)
        if self.on[IMAGES] and val and (improved or self._are_due(epoch, self.settings.image_log_frequency)):
            self._attempt(lambda: self._record_images(epoch), IMAGES)
        every = self.settings.visualization_interval
        if self.on[PICTURES] and val and every is not None and self._are_due(epoch, every):
            self._attempt(lambda: self._write_pictures(epoch), PICTURES)
        if self.on[ACTIVATIONS] and epoch % self.settings.activation_log_frequency == 0:
            self._attempt(lambda: self._record_activations(network, epoch), ACTIVATIONS)

    def _values(self, entry: dict[str, Any]) -> dict[str, float]:
        """List losses, metrics and memory of an epoch by tag."""
        memory = {} if self.memory is None else self.memory.by_epoch.get(entry["epoch"], {})
        return {**_scalars(entry), **{f"memory/{name}": value for name, value in memory.items()}}

    def training_over(self, entry: dict[str, Any], monitor: Monitor) -> None:
        """Log the end of the training, with the last history entry."""
        final = {**{f"train_{name}": value for name, value in entry["train"].items()}, **entry["val"]}
        metrics = {f"final/{name}": value for name, value in final.items()}
        if monitor.best is not None:
            metrics[f"best/{monitor.name}"] = monitor.best
        self.tracking.hyperparameters(_hyperparameters(self.parts.run), metrics, entry["epoch"])

    def close(self) -> None:
        """Write all values that are still in memory."""
        self.tracking.close()

    def _are_due(self, epoch: int, every: int) -> bool:
        """Tell if a multiple of `every` epochs was reached since the previous validation."""
        interval = self.parts.run.training.val_interval
        before = (epoch - 1) // interval * interval
        return epoch // every > before // every

    def _record_images(self, epoch: int) -> None:
        self.tracking.images({f"images/{name}": picture for name, picture in self.panels.drawn().items()}, epoch)

    def _write_pictures(self, epoch: int) -> None:
        folder = self.folder.visualizations(epoch)
        for name, picture in self.panels.overlays().items():
            PNG.write(folder / safe_name(f"{name.replace('/', '_')}.png"), picture)

    def _record_activations(self, network: nn.Module, epoch: int) -> None:
        with undisturbed(network, self.parts.device):
            seen = observed(network, self.layers, lambda: self._predict(network))
        samples = {f"activations/{name}": outputs.sample() for name, outputs in seen.items()}
        self.tracking.histograms({tag: values for tag, values in samples.items() if values.size}, epoch)
        self.tracking.scalars(
            {
                f"activations/{name}/{figure}": value
                for name, outputs in seen.items()
                for figure, value in outputs.figures().items()
            },
            epoch,
        )

    def _predict(self, network: nn.Module) -> None:
        """Run the network on the same images every time; they are read again one by one to save memory."""
        inferer, pipeline = self.parts.inferer(network), self.parts.pipeline
        for case in self.cases:
            ready = pipeline.for_evaluation(pipeline.resized(self.parts.layout.read(case)))
            image = torch.from_numpy(ready.arrays["image"])[None].to(self.parts.device)
            inferer.logits(image.to(memory_format=self.parts.memory_format))

    def _attempt(self, call: Callable[[], None], *keys: str) -> None:
        """Run `call`; if it fails, switch off the logging under `keys` for the rest of the training."""
        try:
            call()
        except Exception as error:
            raise_if_elsewhere(error)
            for key in keys:
                self.on[key] = False
                self.listener.warn(f"`{key}` failed and is switched off: {error}")


def _validated(entry: dict[str, Any]) -> dict[str, float]:
    return {name.removeprefix("val_"): value for name, value in entry["val"].items()}


def _scalars(entry: dict[str, Any]) -> dict[str, float]:
    """List the values of an epoch by tag."""
    return {
        **{f"train/{name}": value for name, value in entry["train"].items()},
        **{f"val/{name}": value for name, value in _validated(entry).items()},
        **{
            f"val_per_class/{name}/{label}": value
            for name, classes in entry.get("val_per_class", {}).items()
            for label, value in classes.items()
        },
        "learning_rate": entry["learning_rate"],
    }


def _hyperparameters(run: Run) -> dict[str, str | float | bool]:
    values = run.resolved()
    return _flat({"dataset": {"name": values["dataset"]["name"]}, **{key: values[key] for key in CHOSEN}})


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str | float | bool]:
    """Flatten nested values by dotted key; lists become text, None becomes `null`.

    Example:
        >>> _flat({"model": {"type": "unet", "depths": [4, 8]}, "seed": 42})
        {'model.type': 'unet', 'model.depths': '[4, 8]', 'seed': 42}
    """
    flat: dict[str, str | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            flat[f"{prefix}{key}"] = value
        else:
            flat[f"{prefix}{key}"] = json.dumps(plain(value))
    return flat
