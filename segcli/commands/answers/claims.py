"""Files that a prediction will write. A file that would replace another one is refused before the first is written."""

from collections.abc import Iterable
from pathlib import Path

from segcli.core.errors import ConfigError
from segcli.core.names import composed

__all__ = ["Claims"]


class Claims:
    """Records the owner of each result file.

    Args:
        inputs: Files to predict; no result may replace them.
    """

    def __init__(self, inputs: Iterable[Path]) -> None:
        self.inputs = {_place(path): path for path in inputs}
        self.owners: dict[Path, str] = {}

    def take(self, path: Path, owner: Path | str, what: str = "mask") -> None:
        """Claim a file.

        Args:
            path: The file.
            owner: Input of the result, or the option that requests the file.
            what: Word for its content.

        Raises:
            ConfigError: The file belongs to another input, or is itself an input.
        """
        name, place = f"`{owner}`", _place(path)
        other = self.owners.setdefault(place, name)
        if other != name:
            raise ConfigError(
                f"{other} and {name} would both be written to `{path}`",
                hint="predict them in two calls with different `--out` folders",
            )
        image = self.inputs.get(place)
        if image is not None:
            replaced = "the image" if image == owner else f"the image `{image}`"
            raise ConfigError(f"the {what} of {name} would replace {replaced}", hint="give another folder with `--out`")


def _place(path: Path) -> Path:
    """Resolve the folder of a path, so that two names of a file are equal; a link itself is not followed.

    Names that differ only in the Unicode form of their letters are one file on some file systems.
    """
    return path.parent.resolve() / composed(path.name)
