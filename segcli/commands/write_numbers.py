"""`segcli data stats --write`: measured numbers in the data-set file."""

from pathlib import Path

from segcli.config.dataset_file import find_dataset
from segcli.config.document import read_document
from segcli.config.shipped import located, shipped
from segcli.config.yaml_edit import with_keys
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import shown, write_text
from segcli.core.text import read_text
from segcli.data.moments import rounded
from segcli.report.results import Stats

__all__ = ["write_numbers"]

WRITABLE = 0o222
"""Rights to write of owner, group and others."""


def write_numbers(config: Path, stats: Stats) -> Path:
    """Write `mean` and `std` into the data-set file of a config; return the file.

    Raises:
        ConfigError: The file belongs to the installed package, or has no place for new keys.
        DataError: The file is read-only, or cannot be written.
    """
    if shipped(config, datasets=True) is not None:
        raise ConfigError(
            f"`{config}` is the name of a shipped config, which stays as it is",
            hint="copy it with `segcli configs copy`, and name the copy",
        )
    path = located(config, datasets=True)
    document = read_document(path)
    given = document.values.get("dataset")
    section = ["dataset"] if isinstance(given, dict) else []
    if isinstance(given, str):
        path = find_dataset(given, path, document.origin(("dataset",)))
    mean, std = rounded(stats.mean, stats.std)
    values = {"mean": mean, "std": [value or 1.0 for value in std]}
    comment = f"measured on {stats.num_images} training images by `segcli data stats`"
    try:
        if not path.stat().st_mode & WRITABLE:  # replacing a file heeds only the rights to its folder
            raise DataError(f"`{shown(path)}` is read-only", hint="grant rights to it")
        write_text(path.resolve(), with_keys(read_text(path), section, values, comment))  # a link stays one
    except OSError as error:
        raise DataError(
            f"cannot write `{shown(path)}` ({error.strerror or error})", hint="grant rights to it"
        ) from None
    return path
