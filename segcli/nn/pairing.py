"""Pair the names of a checkpoint's tensors with those of a network: prefixes, patterns, shape and order."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from torch import Tensor

from segcli.core.errors import ConfigError

__all__ = ["COUNTER", "STATISTIC", "Names", "layers", "paired_names"]

PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""Prefixes that DataParallel, `torch.compile` and wrapping classes add to every name."""
MOST_PREFIXES = 3
Key = tuple[object, ...]
COUNTER = "num_batches_tracked"
"""Last part of the name of a batch norm's counter, which no computation reads."""
STATISTIC = "running_mean"
"""Last part of the name of a statistic that only batch norms have."""


@dataclass
class Names:
    """Names of a checkpoint's tensors in the network."""

    tensors: dict[str, Tensor]
    """Tensors by their names in the network; those that have none there keep their own."""
    prefix: str = ""
    """Prefix that was removed from the names, or with a leading `+`, added."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Name in the network -> name in the file, for names that were paired by a pattern or by shape and order."""


def paired_names(
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    how: str | Mapping[str, str] | None,
    *,
    stem: Iterable[str] = (),
    ordered: bool = True,
) -> Names:
    """Find the names of a checkpoint's tensors in a network.

    Args:
        tensors: Tensors of the checkpoint, in the order of the file.
        expected: Tensors of the network, in its order.
        how: `order` to pair by shape and order what the names do not pair; patterns of old and new names, such as
            `{"encoder.*": "down.*"}`; None for names alone.
        stem: Tensors of the network whose input channels may differ from those of the checkpoint.
        ordered: The order of the checkpoint is that of its network; else only unique shapes are paired.

    Raises:
        ConfigError: A pattern matches no tensor, or gives two tensors one name.
    """
    prefix, bare = _bare(list(tensors), expected)
    names = Names({bare[name]: value for name, value in tensors.items()}, prefix)
    if how == "order":
        _pair(names, _by_shape(names.tensors, expected, set(stem), ordered=ordered))
    elif isinstance(how, Mapping):
        _pair(names, _by_patterns(list(names.tensors), how))
    return names


def _pair(names: Names, pairs: Mapping[str, str]) -> None:
    """Give tensors the new names of `pairs`, which are keyed by the old ones."""
    names.renamed = {new: old for old, new in pairs.items() if new != old}
    given = {name: pairs.get(name, f"{name} of the file" if name in names.renamed else name) for name in names.tensors}
    names.tensors = {given[name]: value for name, value in names.tensors.items()}


# ---- prefixes


def _bare(names: list[str], expected: Mapping[str, Tensor]) -> tuple[str, dict[str, str]]:
    """Remove the prefixes without which the most names are those of the network; where none is, all common prefixes."""

    def without(prefix: str) -> dict[str, str]:
        return {name: name.removeprefix(prefix) for name in names}

    def known(bare: Mapping[str, str]) -> int:
        return sum(name in expected for name in bare.values())

    tried = [""] + [
        "".join(each) for length in range(1, MOST_PREFIXES + 1) for each in product(PREFIXES, repeat=length)
    ]
    used = [prefix for prefix in tried if not prefix or any(name.startswith(prefix) for name in names)]
    best = max(used, key=lambda prefix: known(without(prefix)))
    if known(without(best)):
        return _if_unique(best, without, names)
    common = [prefix for prefix in used if all(name.startswith(prefix) for name in names)]
    outer = {f"{name.partition('.')[0]}." for name in expected}
    inner = without(max(common, key=len, default=""))
    added = {name: f"{next(iter(outer))}{rest}" for name, rest in inner.items()} if len(outer) == 1 else {}
    if known(added):
        return f"+{next(iter(outer))}", added
    return _if_unique(max(common, key=len, default=""), without, names)


def _if_unique(prefix: str, without: Callable[[str], dict[str, str]], names: list[str]) -> tuple[str, dict[str, str]]:
    bare = without(prefix)
    return (prefix, bare) if len(set(bare.values())) == len(names) else ("", without(""))


# ---- patterns


def _by_patterns(names: list[str], patterns: Mapping[str, str]) -> dict[str, str]:
    """Rename by patterns, the first that matches; each `*` of the new name is what the same `*` of the old one is."""
    pairs: dict[str, str] = {}
    for old, new in patterns.items():
        if old.count("*") != new.count("*"):
            raise ConfigError(f"`model.weights_map`: `{old}` and `{new}` do not have the same number of `*`")
        shape = re.compile("(.*?)".join(map(re.escape, old.split("*"))))
        found = {name: match for name in names if (match := shape.fullmatch(name))}
        if not found:
            raise ConfigError(
                f"`model.weights_map` has `{old}`, which matches no tensor of the file",
                hint=f"names look like `{names[0]}` and `{names[-1]}`" if names else "the file is empty",
            )
        for name, match in found.items():
            rest = iter(match.groups())
            pairs.setdefault(name, "".join(next(rest) if part == "*" else part for part in re.split(r"(\*)", new)))
    _refuse_twice(names, pairs)
    return pairs


def _refuse_twice(names: list[str], pairs: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        new = pairs.get(name, name)
        if new in taken:
            raise ConfigError(
                f"`model.weights_map` gives `{taken[new]}` and `{name}` the same name `{new}`",
                hint="make the patterns narrower",
            )
        taken[new] = name


# ---- shape and order


def _by_shape(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], stem: set[str], *, ordered: bool
) -> dict[str, str]:
    """Pair tensors that no name pairs: of one kind and shape, the first with the first, if there are as many.

    The first convolution may have other input channels; it is paired if only one tensor of the file is like it.
    """
    fits = {name for name, value in tensors.items() if name in expected and value.shape == expected[name].shape}
    old, new = (_grouped(each, fits) for each in (tensors, expected))
    pairs: dict[str, str] = {}
    for key, names in new.items():
        if len(old.get(key, [])) == len(names) and (ordered or len(names) == 1):
            pairs.update(zip(old[key], names, strict=True))
    pairs |= _lost_biases(pairs, tensors, expected)
    left = [name for names in old.values() for name in names if name not in pairs]
    for name in stem - set(pairs.values()) - fits:
        alike = [each for each in left if _but_channels(tensors[each]) == _but_channels(expected[name])]
        if len(alike) == 1:
            pairs |= _same_module(alike[0], name, tensors, expected)
    return pairs


def _lost_biases(
    pairs: Mapping[str, str], tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, str]:
    """Name biases of paired weights that the network does not have, so that they can go into the batch norm."""
    modules = {old.removesuffix(".weight"): new.removesuffix(".weight") for old, new in pairs.items()}
    named = {f"{old}.bias": f"{new}.bias" for old, new in modules.items()}
    return {old: new for old, new in named.items() if old in tensors and old not in pairs and new not in expected}


def _same_module(old: str, new: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, str]:
    """Pair two tensors, and the others of their modules that have the same name and shape there."""
    before, after = (f"{name.rpartition('.')[0]}." for name in (old, new))
    others = {name: after + name.removeprefix(before) for name in tensors if name.startswith(before)}
    fit = {a: b for a, b in others.items() if b in expected and tensors[a].shape == expected[b].shape}
    return {old: new, **fit, **_lost_biases({old: new}, tensors, expected)}


def _but_channels(value: Tensor) -> Key:
    """Shape without the number of input channels; a vector is like no other tensor."""
    shape = tuple(value.shape)
    return (shape[0], *shape[2:]) if len(shape) > 1 else (object(),)


def _grouped(tensors: Mapping[str, Tensor], without: set[str]) -> dict[Key, list[str]]:
    groups: dict[Key, list[str]] = {}
    for name in tensors:
        if name not in without and not name.endswith(COUNTER):
            groups.setdefault(_key(name, tensors), []).append(name)
    return groups


def _key(name: str, tensors: Mapping[str, Tensor]) -> Key:
    """Tell tensors apart that may not be exchanged: other layers, other parts of a layer, other shapes."""
    module, _, leaf = name.rpartition(".")
    weight = tensors.get(f"{module}.weight", tensors[name])
    return (f"{module}.{STATISTIC}" in tensors, leaf, tuple(weight.shape), tuple(tensors[name].shape))


def layers(names: Iterable[str]) -> list[str]:
    """List the modules of tensors in their order."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))
