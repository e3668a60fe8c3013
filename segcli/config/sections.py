"""Sections that choose a component: its name, its own keys beside the section's, and the short forms of both."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from segcli.core.errors import ConfigError
from segcli.core.registry import (
    DATASETS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SCHEDULERS,
    TRACKERS,
    Registry,
    same_name,
)
from segcli.core.types import ConfigModel, FilePath, Positive, Sha256
from segcli.data.settings import DatasetSpec

__all__ = [
    "Component",
    "DatasetSection",
    "LossPart",
    "MetricSection",
    "ModelSection",
    "OptimizerSection",
    "SchedulerSection",
    "TrackerSection",
]


class Component(ConfigModel):
    """Choose a component by its `type`; the component's own keys stand beside it."""

    model_config = ConfigDict(extra="allow")
    registry: ClassVar[Registry]
    shareable: ClassVar[tuple[str, ...]] = ()
    """Keys of the section that a component may have itself, with other values."""

    type: str
    """Name of the component."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out a component's name alone."""
        return {"type": given} if isinstance(given, str) else given

    @property
    def options(self) -> dict[str, Any]:
        """Keys of the component itself, those included that the section has for all components."""
        own = dict(self.model_extra or {})
        return own | self.model_dump(include=self.shared(self.kind)) if self.shareable else own

    @classmethod
    def shared(cls, kind: Any) -> set[str]:
        """Return the keys of the section that a component takes itself, because its own keys have the same names."""
        return set(cls.shareable) & set(kind.Config.model_fields)

    @property
    def kind(self) -> Any:
        """Import the component and give its class."""
        return self.registry.load(self.type, digest=(self.model_extra or {}).get("sha256"))

    def build(self, **program: Any) -> Any:
        """Import the component and make it; `program` is what the user does not type."""
        kind = self.kind
        return kind(kind.Config.model_validate(self.options), **program)


class ModelSection(Component):
    """Choose the network."""

    other_keys: ClassVar[dict[str, str]] = {
        "name": "type",
        "architecture": "type",
        "n_channels": "in_channels",
        "input_channels": "in_channels",
        "n_classes": "out_channels",
        "num_classes": "out_channels",
        "output_channels": "out_channels",
        "activation_function": "activation",
    }

    registry = MODELS
    shareable = ("weights", "weights_sha256")

    weights: FilePath | None = None
    """Weights that a new training starts from: an earlier run (its name or folder; the best checkpoint), its
    checkpoint, or a state dict of PyTorch (`.pt`, `.pth`, `.safetensors`; also under `state_dict`, `model_state_dict`
    or `model`). The log lists loaded, skipped and missing weights; layers that depend on the
    classes start from random weights."""
    weights_sha256: Sha256 | None = None
    """SHA-256 that the file of `weights` must have, as `sha256sum` prints it; a training writes it down."""
    weights_map: Literal["order"] | dict[str, str] | None = None
    """Pairs for tensors of `weights` with other names: `order` pairs by shape and order, `{"enc.*": "down.*"}` by
    patterns of old and new names. The log lists each pair."""
    in_channels: Positive | None = None
    """Channels of an image; follows from the data set, and must agree with it if given."""
    out_channels: Positive | None = None
    """Channels of the mask; follows from the data set, and must agree with it if given."""
    checkpoint_activations: bool = False
    """Activation checkpointing: recompute the activations within blocks in the backward pass. Less memory, about a
    third more time, the same results."""
    final_activation: str | None = None
    """Function from logits to probabilities; follows from the task, and must agree with it if given."""


class OptimizerSection(Component):
    """Choose the optimizer."""

    registry = OPTIMIZERS
    type: str = "adam"
    """Name of the optimizer."""
    rates: dict[str, Annotated[float, Field(gt=0.0)]] = {}
    """Factors of the learning rate by pattern of parameters or modules, such as `{"down.*": 0.1}`; the first pattern
    that matches counts."""


class SchedulerSection(Component):
    """Choose the learning-rate schedule."""

    registry = SCHEDULERS
    type: str = "cosine"
    """Name of the schedule."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out a name alone; `null` keeps a constant rate."""
        return {"type": "constant"} if given is None else super().long_form(given)


class MetricSection(Component):
    """Choose one metric."""

    registry = METRICS


class TrackerSection(Component):
    """Choose one tracker."""

    registry = TRACKERS


BCE_AND_DICE = {"bce": 0.5, "dice": 0.5}
CROSS_ENTROPY_AND_DICE = {"cross_entropy": 1.0, "dice": 1.0}
SUMS = {
    **dict.fromkeys(("combined", "combinedloss", "bcedice", "bcediceloss", "dicebce", "dicebceloss"), BCE_AND_DICE),
    **dict.fromkeys(("dicece", "diceceloss", "cedice"), CROSS_ENTROPY_AND_DICE),
}
"""Names of sums elsewhere, normalised, with our parts and their weights."""


class LossPart(ConfigModel):
    """Weigh one part of the loss; the loss's own keys stand beside the weight."""

    model_config = ConfigDict(extra="allow")

    weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of this part in the sum."""

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Write out a weight alone."""
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        return {"weight": float(given)} if is_number else given

    @classmethod
    def named_form(cls, given: Any) -> Any:
        """Write out one loss alone, `dice` or `{type: dice, smooth: 1.0}`, as a sum of one part."""
        parts = cls._sum_named(given)
        if parts is not None:
            return {name: {"weight": weight} for name, weight in parts.items()}
        if isinstance(given, str):
            return {given: {}}
        if not isinstance(given, dict) or "type" not in given:
            return given
        return {str(given["type"]): {key: value for key, value in given.items() if key != "type"}}

    @classmethod
    def _sum_named(cls, given: Any) -> dict[str, float] | None:
        """Find the parts of a sum that a name alone means; None for anything else."""
        name = given["type"] if isinstance(given, dict) and given.keys() == {"type"} else given
        return SUMS.get(same_name(name)) if isinstance(name, str) else None

    @classmethod
    def reading(cls, given: Any) -> tuple[str, str] | None:
        """Say which name stands for which sum."""
        parts = cls._sum_named(given)
        if parts is None:
            return None
        inside = ", ".join(f"{name}: {weight}" for name, weight in parts.items())
        return str(given["type"] if isinstance(given, dict) else given), f"{{{inside}}}"

    @classmethod
    def takes(cls, name: str, key: str) -> bool:
        """Say whether a key below a sum of one part is a key of that part, and not the name of another loss.

        Example:
            >>> LossPart.takes("sadaan", "dice"), LossPart.takes("bce", "dice")
            (True, False)
        """
        try:
            # a key of YAML may be no text; code of the user's own is imported only after it is permitted
            is_file = LOSSES.own_file(str(name)) is not None
            canonical = str(name) if is_file else LOSSES.canonical(str(name))
            own = {} if LOSSES.is_foreign(canonical) else LOSSES.load(canonical).Config.model_fields
        except ConfigError:
            return True
        if key in own or key in cls.model_fields:
            return True
        try:
            LOSSES.canonical(str(key))
        except ConfigError:
            return True
        return False

    @property
    def options(self) -> dict[str, Any]:
        """Keys of the loss itself."""
        return dict(self.model_extra or {})

    def kind(self, name: str) -> Any:
        """Import the loss of this name and give its class."""
        return LOSSES.load(name, digest=self.options.get("sha256"))

    @property
    def class_weights(self) -> str | list[float]:
        """Weight of each class, or how to find them from the training masks; `none` of a loss that knows none."""
        given: str | list[float] = self.options.get("class_weights", "none")
        return given


def _converts(own: dict[str, Any]) -> bool:
    """Tell whether the keys of a format convert colours, so that other channels reach the network than were chosen."""
    return bool(own.get("color", "as_stored") != "as_stored")


class DatasetSection(DatasetSpec):
    """Describe the data set; the keys of its format stand beside those of every format."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _as_many_as_chosen(self) -> "DatasetSection":
        stated, chosen = self.num_channels, self.channels
        if chosen is not None and len(chosen) != stated and not _converts(self.model_extra or {}):
            numbers = "" if self.mean is None else ", and `mean` and `std` of the chosen channels"
            raise ValueError(
                f"`num_channels` is {stated}, but `channels: {chosen}` chooses {len(chosen)}: set "
                f"`num_channels: {len(chosen)}`{numbers}"
            )
        return self

    @property
    def spec(self) -> DatasetSpec:
        """Keys that every format has."""
        return DatasetSpec.model_validate({name: getattr(self, name) for name in DatasetSpec.model_fields})

    @property
    def task_name(self) -> str:
        """Task as stated, or as the format has it."""
        name: str = self.task or self.kind.default_task(self.num_classes)
        return name

    @property
    def kind(self) -> Any:
        """Import the layout and give its class."""
        return DATASETS.load(self.format, digest=(self.model_extra or {}).get("sha256"))

    def build(self) -> Any:
        """Make the layout that reads this data set."""
        kind = self.kind
        layout = kind(kind.Config.model_validate(dict(self.model_extra or {})), self.spec)
        if self.fold is None:
            return layout
        from segcli.datasets._folds import Folded  # noqa: PLC0415 - only where it is needed

        return Folded(layout, self.fold)
