"""Experiments and data-set files that come with segcli, found by name from any folder."""

import re
from pathlib import Path

from segcli.core.errors import ConfigError, nearest
from segcli.core.near_paths import meant
from segcli.core.paths import exists

__all__ = ["SCHEMA", "dataset_file", "folder", "jobs", "located", "named", "names", "shipped"]

PLACES = ("", "experiments", "datasets")
SCHEMA = "segcli.schema.json"
"""File in the folder of the shipped configs that editors check YAML with."""
NAME = re.compile(r"[\w-]+(/[\w-]+)?")


def folder() -> Path:
    """Find the folder of the shipped configs: in the installed package, or beside it in the source code."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names(*, datasets: bool = False) -> dict[str, Path]:
    """Map each name to its file: that of an experiment, and `datasets/NAME` for a data set."""
    root = folder()
    found = {path.stem: path for place in PLACES[:2] for path in sorted((root / place).glob("*.yaml"))}
    if datasets:
        found |= {f"datasets/{path.stem}": path for path in sorted((root / "datasets").glob("*.yaml"))}
    return dict(sorted(found.items()))


def jobs() -> dict[str, Path]:
    """Map `cluster/NAME` to its file, for each job of a cluster."""
    return {f"cluster/{path.stem}": path for path in sorted((folder() / "cluster").glob("*.*"))}


def shipped(path: Path, *, datasets: bool = False) -> Path | None:
    """Find the shipped file that a name means; None for anything that exists, or that is no such name."""
    if not NAME.fullmatch(path.as_posix()) or exists(path):
        return None
    return names(datasets=datasets).get(path.as_posix())


def located(path: Path, *, datasets: bool = False) -> Path:
    """Find the file of a config: the path itself if it exists, or else the shipped file of that name.

    Args:
        path: Path of a file, or name of a shipped one.
        datasets: Data sets count too.

    Raises:
        ConfigError: It looks like a name, and nothing is called so.
    """
    found = shipped(path, datasets=datasets)
    if found is not None:
        return found
    if not NAME.fullmatch(path.as_posix()) or exists(path):
        return path
    raise _unknown(f"no config file `{path}`, and no shipped config has this name", path.as_posix(), datasets=datasets)


def named(name: str) -> Path:
    """Find the shipped file of a name, which may be that of a job.

    Raises:
        ConfigError: There is none.
    """
    found = {**names(datasets=True), **jobs()}.get(name)
    if found is None:
        raise _unknown(f"no shipped config is called `{name}`", name, datasets=True)
    return found


def _unknown(message: str, name: str, *, datasets: bool) -> ConfigError:
    close = nearest(name, [*names(datasets=datasets), *(jobs() if datasets else ())])
    there = f"did you mean `{close}`?" if close else meant(Path(name))
    return ConfigError(message, hint=there or "`segcli configs list` lists them")


def dataset_file(given: str, experiment: Path) -> Path | None:
    """Find the data-set file that a shipped experiment names by `configs/datasets/NAME.yaml`; None for others."""
    root = folder()
    if not experiment.absolute().is_relative_to(root.absolute()):
        return None
    return root / given.removeprefix("configs/")
