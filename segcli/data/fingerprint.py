"""Fingerprint of the files of a split: tells whether the data are still those that a run was trained on.

It depends on the content of the files and on the names of the cases, and on neither the root folder nor the order.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import printable
from segcli.data.samples import Case

__all__ = ["difference", "fingerprint", "summary"]

VERSION = 2
"""Version of the rule; fingerprints of version 1 hold no version, and are of names and sizes only."""
WHOLE = 2**16
"""Largest file in bytes of which every byte counts."""
BLOCK = 2**12
"""Bytes of each sample of a larger file."""
FEWEST, MOST = 3, 1024
"""Fewest and most samples of a larger file; a file of many cases gets two for each case."""
PARTS = ("image", "mask", "field of view", "class")
"""Parts of a case, in the order of their digests."""
LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that a file manager leaves in folders, and that are no data."""


def fingerprint(cases: Sequence[Case], classes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the number of cases, a digest of all their files, and digests of the files of each case.

    Files of up to 64 KiB are read whole; of a larger file, samples of 4 KiB are read: the first, the last, and more at
    equal distances between them.

    Args:
        cases: Cases of a split.
        classes: Class of each case by its id, where classes are not stored in masks.

    Raises:
        DataError: A file cannot be read.
    """
    shares = Counter(case.image for case in cases if _shares_file(case))
    digests: dict[Path, str] = {}
    found: dict[tuple[str, str], set[str]] = {}
    for case in cases:
        for path in case.files:
            if path not in digests:
                digests[path] = _content(path, 2 * shares[path])
        files = (case.image, case.label, case.fov, *case.others)
        parts = ["-" if path is None else digests[path] for path in files]
        if case.class_files:
            parts[1] = _digest(_bytes("-" if path is None else digests[path]) for path in case.class_files)
        label = (classes or {}).get(case.id, "")
        parts.append(_digest([_bytes(label)]) if label else "-")
        name = case.part_of or case.id
        key = ("", case.image.name) if _shares_file(case) else (name, name)  # the name of a file of cases is no name
        found.setdefault(key, set()).add(" ".join(parts))
    lines = [_bytes(f"{name}|{parts}\n") for (name, _), each in sorted(found.items()) for parts in sorted(each)]
    return {
        "version": VERSION,
        "num_images": len(cases),
        "digest": _digest([f"{len(cases)}\n".encode(), *lines]),
        "order": _digest(_bytes(f"{case.id}\n") for case in cases),
        "cases": {
            shown + f" ({number})" * (number > 1): " ".join(part[:8] for part in parts.split())
            for (_, shown), each in found.items()
            for number, parts in enumerate(sorted(each), start=1)
        },
    }


def _bytes(text: str) -> bytes:
    """Encode names of files, which need not be UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def _shares_file(case: Case) -> bool:
    """Tell whether a case is one of many in a file."""
    return case.index is not None and case.part_of is None


def summary(data: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the digests of single cases out of a fingerprint."""
    return {key: value for key, value in data.items() if key != "cases"}


def difference(then: Mapping[str, Any], now: Mapping[str, Any], cases: Sequence[Case]) -> str | None:
    """Describe how the data differ from an earlier fingerprint; None if they are the same.

    Args:
        then: The earlier fingerprint, of any version.
        now: Fingerprint of the data.
        cases: Cases of the data, for an earlier fingerprint of names and sizes.

    Raises:
        DataError: A file cannot be read.
    """
    counts = f"{then['num_images']} then, {now['num_images']} now"
    if "version" not in then:
        return None if dict(then) == _of_sizes(cases) else f"{counts}, or files of another name or size"
    if then["digest"] == now["digest"]:
        return None
    old, new = then.get("cases") or {}, now["cases"]
    facts = [
        *_fact(
            [_changed(name, old[name], new[name]) for name in new if old.get(name, new[name]) != new[name]], "other"
        ),
        *_fact([f"`{printable(name)}`" for name in old if name not in new], "missing"),
        *_fact([f"`{printable(name)}`" for name in new if name not in old] if old else [], "new"),
    ]
    return f"{counts}: {', '.join(facts)}" if facts else counts


def _fact(names: list[str], kind: str) -> Iterable[str]:
    """Say in a part of a sentence which cases differ, and how many."""
    if not names:
        return
    verb = {"other": ("has other content", "have other content"), "missing": ("is missing", "are missing")}
    one, many = verb.get(kind, ("is new", "are new"))
    yield f"{names[0]} {one}" if len(names) == 1 else f"{len(names)} {many}, such as {names[0]}"


def _changed(name: str, old: str, new: str) -> str:
    """Name the part of a case that changed."""
    pairs = zip(PARTS, old.split(), new.split(), strict=False)
    part = next((part for part, before, after in pairs if before != after), PARTS[0])
    return f"the {part} of `{printable(name)}`"


def _content(path: Path, samples: int) -> str:
    """Compute the digest of a file, or of a folder of slices or chunks.

    Raises:
        DataError: A file cannot be read.
    """
    try:
        if not path.is_dir():
            return _of_file(path, samples)
        inside = sorted((each.relative_to(path).as_posix(), each) for each in _files(path))
        return _digest(part for name, each in inside for part in (_bytes(f"{name}|"), _of_file(each).encode()))
    except OSError as error:
        raise DataError(
            f"cannot read `{path}` ({error.strerror or error})", hint="restore the file, or grant rights to read it"
        ) from error


def _files(folder: Path) -> Iterable[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if name not in LITTER)


def _of_file(path: Path, samples: int = 0) -> str:
    """Compute the digest of the size of a file and of samples of its bytes."""
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        head = f"{size}|".encode()
        if size <= WHOLE:
            return _digest([head, stream.read(WHOLE)])
        count = min(max(samples, FEWEST), MOST, size // BLOCK)
        blocks = []
        for number in range(count):
            stream.seek((size - BLOCK) * number // (count - 1))
            blocks.append(stream.read(BLOCK))
        return _digest([head, *blocks])


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _of_sizes(cases: Sequence[Case]) -> dict[str, Any]:
    """Compute a fingerprint of version 1: of the names and sizes of the files."""
    digest = hashlib.sha256()
    sizes: dict[Path | None, int] = {None: 0}
    for case in cases:
        for path in (case.image, case.label):
            if path is not None and path not in sizes:
                inside = path.iterdir() if path.is_dir() else [path]
                sizes[path] = sum(each.stat().st_size for each in inside)
        digest.update(_bytes(f"{case.id}|{sizes[case.image]}|{sizes[case.label]}\n"))
    return {"num_images": len(cases), "digest": digest.hexdigest()[:16]}
