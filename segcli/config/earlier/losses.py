"""Make the sum of losses out of names, weights and options."""

from collections.abc import Mapping
from typing import Any

from segcli.config.earlier import names
from segcli.config.earlier.work import Work, keys_of
from segcli.core.registry import LOSSES

__all__ = ["combine_loss"]

LOSS = "training.loss"


def combine_loss(work: Work) -> None:
    """Collect the parts of the loss, each with its weight and its options."""
    parts: dict[str, dict[str, Any]] = {}
    named: set[str] = set()
    for key, value in work.below(LOSS).items():
        name, _, option = key.partition(".")
        del work.ours[f"{LOSS}.{key}"]
        if not (option or isinstance(value, Mapping | int | float)) or isinstance(value, bool):
            work.ask(f"{LOSS}.{key}", "it must be a weight, or a section with keys", value)
            continue
        part = parts.setdefault(name, {})
        part |= {option: value} if option else value if isinstance(value, Mapping) else {"weight": value}
        named |= {name} if not option or option == "weight" else set()
    _weights(work, parts)
    for name in [name for name in parts if named and name not in named]:
        _leave_out(work, name, parts.pop(name))
    for name in [name for name, part in parts.items() if part.get("weight") == 0]:
        _leave_out(work, name, parts.pop(name))
    if not parts:
        parts = {work.pipeline.loss: {}}
        work.ask(LOSS, f"`{work.pipeline.loss}` was taken, because the old file names no loss that is known")
    if len(parts) > 1 and not any("weight" in part for part in parts.values()):
        work.ask(LOSS, f"the weights of {' and '.join(f'`{name}`' for name in parts)} are not stated; each is 1")
    _options(work, parts)
    for name, part in parts.items():
        short = part.get("weight", 1.0) if part.keys() <= {"weight"} else part
        work.ours[f"{LOSS}.{name}"] = short


def _leave_out(work: Work, name: str, part: dict[str, Any]) -> None:
    reason = "its weight is 0" if part.get("weight") == 0 else f"the loss has no part `{name}`"
    for option, value in part.items():
        key = f"{LOSS}.{name}.{option}"
        work.ours[key] = value
        work.drop(key, reason)


def _weights(work: Work, parts: dict[str, dict[str, Any]]) -> None:
    """Give a list of weights to a list of losses of the same length."""
    given = work.fact("weights")
    if given is None:
        return
    listed = work.old.get("loss", work.old.get("loss.name", work.old.get("losses")))
    order = [names.loss_part(name) for name in listed] if isinstance(listed, list) else list(parts)
    if not isinstance(given, list) or len(given) != len(order) or not all(name in parts for name in order):
        work.ask(work.source["~weights"], "which loss each weight belongs to is not stated; set `training.loss`", given)
        return
    for name, weight in zip(order, given, strict=True):
        parts[str(name)]["weight"] = float(weight)


def _options(work: Work, parts: dict[str, dict[str, Any]]) -> None:
    """Give options without a loss to every part that has them."""
    for fact in [name for name in work.facts if name.startswith("option.")]:
        option, source, value = fact.partition(".")[2], work.source[f"~{fact}"], work.fact(fact)
        takers = [name for name in parts if option in (keys_of(LOSSES, name) or ())]
        for name in takers:
            parts[name].setdefault(option, value)
        if not takers:
            work.source[option] = source
            work.ours[option] = value
            work.drop(option, f"no part of the loss has `{option}`")
        elif len(takers) > 1:
            work.ask(source, f"`{option}` was given to {', '.join(takers)}; set it in the part that was meant", value)
