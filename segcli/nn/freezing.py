"""Parameters that a training freezes, by pattern, and the epochs in which they are unfrozen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from segcli.core.errors import ConfigError

__all__ = ["Freezing", "first_match", "refuse_unmatched", "span"]

NAMES_SHOWN = 12


@dataclass(frozen=True)
class Freezing:
    """Which parameters are frozen; a function of the epoch, so that a run can resume in any."""

    patterns: Mapping[str, int | None] = field(default_factory=dict)
    """Pattern of parameter or module names -> number of epochs for which they are frozen; None for no such number. The
    first pattern that matches counts."""
    every: int | None = None
    """Number of epochs after which the last frozen block of those without a number is unfrozen, and so on."""
    key: str = "training.freeze"
    """Key of the config that holds the patterns."""

    def frozen(self, groups: Sequence[Sequence[str]], epoch: int) -> frozenset[str]:
        """Return the names that are frozen in an epoch (first epoch: 0).

        Args:
            groups: Parameter names of each block, in the order of the network.
            epoch: The epoch.
        """
        if not self.patterns:
            return frozenset()
        matched = {name: first_match(name, self.patterns) for group in groups for name in group}
        timed = {name for name, pattern in matched.items() if pattern and epoch < (self.patterns[pattern] or 0)}
        rest = [
            [name for name in group if (pattern := matched[name]) and self.patterns[pattern] is None]
            for group in groups
        ]
        rest = [group for group in rest if group]
        freed = epoch // self.every if self.every else 0
        return frozenset(timed).union(*rest[: max(len(rest) - freed, 0)])

    def check(self, names: Sequence[str], modules: Sequence[str]) -> None:
        """Refuse patterns that match nothing.

        Raises:
            ConfigError: There is one.
        """
        refuse_unmatched(self.key, self.patterns, names, modules)


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """Find the first pattern that matches a parameter, or a module that it belongs to; None if none does.

    Example:
        >>> first_match("down.0.weight", ["up.*", "down.0", "down.*"])
        'down.0'
    """
    return next((each for each in patterns if fnmatchcase(name, each) or fnmatchcase(name, f"{each}.*")), None)


def span(names: Iterable[str]) -> str:
    """Name the first and the last layer of parameters, for messages; a parameter of the network itself stands for one.

    Example:
        >>> span(["down.0.weight", "down.0.bias", "scale"])
        '`down.0` to `scale`'
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return f"`{layers[0]}`" if len(layers) == 1 else f"`{layers[0]}` to `{layers[-1]}`"


def refuse_unmatched(key: str, patterns: Iterable[str], names: Sequence[str], modules: Sequence[str]) -> None:
    """Refuse patterns that match no parameter.

    Args:
        key: Key of the config that holds the patterns.
        patterns: Patterns of parameter names.
        names: Names of the parameters.
        modules: Names of modules, for the hint.

    Raises:
        ConfigError: There is one.
    """
    for pattern in patterns:
        if not any(first_match(name, [pattern]) for name in names):
            more = f" and {len(modules) - NAMES_SHOWN} more" if len(modules) > NAMES_SHOWN else ""
            raise ConfigError(
                f"`{key}` has `{pattern}`, which matches no parameter",
                hint=f"the modules are {', '.join(modules[:NAMES_SHOWN])}{more}; names look like `{names[0]}`",
            )
