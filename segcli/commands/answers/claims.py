"""Files that a prediction will write, each for one input: what would replace another is refused before the first."""

from collections.abc import Iterable
from pathlib import Path

from segcli.core.errors import ConfigError

__all__ = ["Claims"]


class Claims:
    """Knows who writes which file.

    Args:
        inputs: Files that are predicted, which no result may replace.
    """

    def __init__(self, inputs: Iterable[Path]) -> None:
        self.inputs = {_place(path): path for path in inputs}
        self.owners: dict[Path, str] = {}

    def take(self, path: Path, owner: Path | str, what: str = "mask") -> None:
        """Claim a file.

        Args:
            path: The file.
            owner: Input that it is about, or the option that asks for it.
            what: What it holds, in a word.

        Raises:
            ConfigError: It is that of another input, or an input itself.
        """
        name, place = f"`{owner}`", _place(path)
        other = self.owners.setdefault(place, name)
        if other != name:
            raise ConfigError(
                f"{other} and {name} would both be written to `{path}`",
                hint="predict them in two calls, each with its own `--out`",
            )
        image = self.inputs.get(place)
        if image is not None:
            replaced = "the image" if image == owner else f"the image `{image}`"
            raise ConfigError(f"the {what} of {name} would replace {replaced}", hint="give another folder with `--out`")


def _place(path: Path) -> Path:
    """Path by which two names of one file are known; a link is replaced itself, not what it points to."""
    return path.parent.resolve() / path.name
