"""Decode once: keep decoded, resized samples in memory or in files.

The memory cache is filled before the loader workers start; they are forked and so share its pages. The disk cache is
filled by the worker that reads a case first. A changed source file or setting gives another file name, so that no
outdated file is ever read.
"""

import hashlib
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import psutil

from segcli.core.errors import ConfigError
from segcli.core.files import remove_leftovers, replacing
from segcli.core.free_memory import free_bytes
from segcli.core.platform import START_METHOD
from segcli.core.types import Array
from segcli.data.pipeline import Pipeline, Scale, Source
from segcli.data.samples import Case, Sample
from segcli.data.settings import DataSettings

__all__ = ["DiskCache", "Forecast", "MemoryCache", "Resizing", "cache_folder", "copies_of", "forecast"]

READING = 2
"""Increase this when files are decoded differently, so that no outdated cache is read."""
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    BadZipFile,
)
"""Errors of a file that was changed or cut off; its checksums are compared when it is read."""
HEADROOM = 0.8
"""Share of the free memory or disk that a cache may take."""
EASY = 0.5
"""Share of the free memory that a cache takes without being asked for."""


class Resizing:
    """Reads cases from a layout and resizes them; a cache keeps the results."""

    def __init__(self, layout: Source, pipeline: Pipeline) -> None:
        self.layout = layout
        self.pipeline = pipeline

    def read(self, case: Case) -> Sample:
        """Decode and resize one case."""
        return self.pipeline.resized(self.layout.read(case))


@dataclass(frozen=True)
class Forecast:
    """Forecasts how much memory or disk a cache needs."""

    needed_bytes: int
    free_bytes: int
    place: str

    @property
    def fits_easily(self) -> bool:
        """Tell whether so much is free that nobody need be asked."""
        return self.needed_bytes <= EASY * self.free_bytes

    def check(self) -> str:
        """Return one sentence for the log.

        Raises:
            ConfigError: The cache does not fit.
        """
        needed, free = self.needed_bytes / 2**20, self.free_bytes / 2**20
        if self.needed_bytes > HEADROOM * self.free_bytes:
            other = "disk" if self.place == "memory" else "none"
            raise ConfigError(
                f"`data.cache: {self.place}` would take {needed:,.0f} MiB, {free:,.0f} MiB are free",
                hint=f"set `data.cache={other}`, or a smaller `data.image_size`",
            )
        size = f"{needed:,.0f} MiB" if needed >= 1.0 else "less than 1 MiB"
        return f"cache: decoded images take {size} of {self.place} ({free:,.0f} MiB free)"


def cache_folder(settings: DataSettings) -> Path:
    """Return the folder of the disk cache."""
    return settings.cache_dir or Path("outputs") / "cache"


def copies_of(place: str, processes: int, num_workers: int) -> int:
    """Count the caches of a training; forked workers share that of their process, spawned ones have their own.

    Args:
        place: `memory` or `disk`, which all share.
        processes: Processes that train.
        num_workers: Workers of each loader, one of training and one of validation.
    """
    if place == "disk":
        return 1
    return processes * (1 if START_METHOD == "fork" else 1 + 2 * num_workers)


def forecast(
    place: str, source: Source, cases: Sequence[Case], pixels: Callable[[Case], int], folder: Path, copies: int = 1
) -> Forecast:
    """Estimate the size of the cache from one decoded case and the number of pixels of each case.

    Args:
        place: `memory` or `disk`.
        source: Decodes a case.
        cases: The cases.
        pixels: Counts the pixels of a case.
        folder: Folder of the files.
        copies: Processes on this machine that each hold the whole cache.
    """
    first = source.read(cases[0])
    bytes_per_pixel = first.nbytes / max(pixels(cases[0]), 1)
    needed = copies * int(bytes_per_pixel * sum(pixels(case) for case in cases))
    if place == "memory":
        return Forecast(needed, free_bytes(), place)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return Forecast(needed, shutil.disk_usage(existing).free, place)


class MemoryCache:
    """Holds all cases in memory, decoded before the first epoch.

    Args:
        source: Decodes the cases.
        cases: The cases.
        scale: Computes the scale of an image that is normalised by itself; None if the data set has one.
        advance: Called after each case.
    """

    def __init__(
        self,
        source: Source,
        cases: Sequence[Case],
        scale: Callable[[Array], Scale] | None = None,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        def read(case: Case) -> Sample:
            sample = source.read(case)
            return sample if scale is None else replace(sample, scale=scale(sample.image))

        self.samples: dict[Case, Sample] = {}
        with ThreadPoolExecutor(max_workers=min(4, psutil.cpu_count() or 1)) as pool:
            for case, sample in zip(cases, pool.map(read, cases), strict=True):
                self.samples[case] = sample
                advance()

    def read(self, case: Case) -> Sample:
        """Return the decoded case; its arrays are shared and must not be written to."""
        return self.samples[case]


class DiskCache:
    """Keeps one file of decoded arrays per case."""

    def __init__(self, source: Source, folder: Path, settings: str) -> None:
        self.source = source
        self.folder = folder
        self.settings = settings
        """All settings that change the decoded pixels, as text."""
        remove_leftovers(folder)  # a full cache writes nothing, and no write would remove them

    def read(self, case: Case) -> Sample:
        """Return the decoded case, from its file or, the first time, from the source."""
        try:
            path = self.path(case)
        except OSError:  # the files vanished: the source says so
            return self.source.read(case)
        kept = _kept(path)
        if kept is not None:
            return kept
        sample = self.source.read(case)
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **_as_arrays(sample))
        return sample

    def path(self, case: Case) -> Path:
        """Return the cache file of this case; it depends on size and time of the source files."""
        identity = [str(READING), self.settings, str(case.index)]
        for source in case.files:
            status = source.stat()
            identity.append(f"{source.absolute()}|{status.st_mtime_ns}|{status.st_size}")
        return self.folder / f"{hashlib.sha256('|'.join(identity).encode()).hexdigest()[:32]}.npz"


def _kept(path: Path) -> Sample | None:
    """Read the arrays of a case; None if there is no file, or a damaged one."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return _from_arrays({name: stored[name] for name in stored.files})
    except DAMAGED:
        return None


def _as_arrays(sample: Sample) -> dict[str, Array]:
    maps = {f"maps/{name}": values for name, values in sample.maps.items()}
    stored = {f"stored_maps/{name}": values for name, values in sample.stored_maps.items()}
    facts = {f"facts/{name}": values for name, values in sample.facts.items()}
    return {"image": sample.image, **maps, **stored, **facts}


def _from_arrays(arrays: dict[str, Array]) -> Sample:
    def below(prefix: str) -> dict[str, Array]:
        return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}

    return Sample(image=arrays["image"], maps=below("maps/"), stored_maps=below("stored_maps/"), facts=below("facts/"))
