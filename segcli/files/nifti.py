"""NIfTI volumes, `.nii` or compressed `.nii.gz`; needs the extra `medical`.

Axes are read in one order: left to right, posterior to anterior, inferior to superior.

- The geometry is the sform if `sform_code` is not 0, or else the qform; if neither is stated, the size of the voxels
  alone, as nibabel has it. A qform that is stated replaces an sform that cannot be used.
- Spacing is in millimetres, whatever the unit in `xyzt_units`; no unit means millimetres.
- A scale factor of 0 or NaN scales nothing.
- Axes of length 1 after the third are left out; one that remains, such as time or the components of vectors, holds the
  channels.
"""

import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import imagecodecs
import numpy as np
import numpy.typing as npt

from segcli.core.errors import DataError
from segcli.core.files import replacing
from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.files import HINT, Add, FileFormat, Picture, Window, ending_of
from segcli.files._gathered import Gathered
from segcli.files._grid import UNITS_MM, Grid, is_usable, nibabel_module, unplaced
from segcli.files._mapped import Mapped, map_file
from segcli.files._promises import DEFLATE

__all__ = ["NIfTI"]

BLOCK = 2**24
"""Bytes to unpack at once."""
AT_ONCE = 2**26
"""Bytes to write, or to unpack, at once."""
NO_PLACE = "write the file again with an affine that nibabel or SimpleITK can read"
GZIP = b"\x1f\x8b"
"""Start of a compressed file."""
EXTRA = 4
"""Blocks after the voxels that are unpacked to reach the checksum."""
UNIT_NAMES = {1: "meter", 2: "mm", 3: "micron"}
"""Units by their number in `xyzt_units`; any other number means millimetres."""


class NIfTI(FileFormat):
    """Reads and writes medical volumes with their geometry."""

    endings = (".nii.gz", ".nii")
    axes = (3,)
    keeps_grid = True

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header."""
        return _Volume(path)

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> Iterator[Add]:
        """Write a volume; planes are collected on the disk first, because any axis may be stored first."""
        grid = unplaced(size) if like is None or like.grid is None else like.grid
        with _writing(path, grid, np.dtype(dtype), channels) as add:
            yield add


class _Volume(Picture):
    """Reads a file that nibabel opened."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            if path.is_dir():
                raise DataError(f"`{path}` is a folder, but it must be a file", hint=HINT)
            raise FileNotFoundError(path)
        self.path = path
        self.image = _opened(path)
        self.shape = _shape_of(self.image, path)
        self.grid: Grid = _grid_of(self.image, path)
        self.size, self.spacing = self.grid.size, self.grid.spacing
        self.channels = self.shape[3] if len(self.shape) == 4 else 1
        self.itemsize = self.image.get_data_dtype().itemsize
        _check_length(self.image, path)
        self._parts: Mapped | None = None
        self._unpacked: Scratch | None = None

    @property
    def is_large(self) -> bool:
        """Tell whether the volume is large."""
        return self.has_many_pixels

    def whole(self) -> Array:
        with ExitStack() as stack:
            data, rest = self.image.dataobj, None
            if ending_of(self.path) == ".nii.gz":  # nibabel would stop after the voxels, before the checksum
                rest = stack.enter_context(_unpacking(self.path, data.offset + _bytes_of(self.image)))
                data = type(data)(rest, (data.shape, data.dtype, data.offset, data.slope, data.inter))
            stored = np.asarray(data) if _scaling_of(self.image) is None else np.asarray(data, dtype=np.float32)
            if rest is not None:
                _read_on(rest)
        stored = stored.reshape(self.shape, order="F")
        voxels = self.grid.as_read(stored.astype(stored.dtype.newbyteorder("="), copy=False))
        return voxels if voxels.ndim == 4 else voxels[..., None]

    def part(self, window: Window) -> Array:
        self.unpack(None)
        assert self._parts is not None
        return self._parts.part(window)

    def unpack(self, scratch: Path | None) -> None:
        """Unpack `.nii.gz` to the disk; map `.nii` directly."""
        if self._parts is not None:
            return
        data, scaling = self.image.dataobj, _scaling_of(self.image)
        if ending_of(self.path) == ".nii":
            mapped = map_file(self.path, data.dtype, self.shape, data.offset, order="F")
        else:
            unpacked = self._unpacked = self._whole_on_disk(scratch)

            def mapped() -> Array:
                voxels: Array = unpacked.mapped().view(data.dtype).reshape(self.shape, order="F")
                return voxels

        self._parts = Mapped(mapped, self.grid, scaling=scaling)

    def _whole_on_disk(self, scratch: Path | None) -> Scratch:
        data = self.image.dataobj
        size = _bytes_of(self.image)
        unpacked = Scratch((size,), np.uint8, scratch)
        try:
            with gzip.open(self.path) as stream:
                stream.seek(data.offset)
                done = 0
                while block := stream.read(min(BLOCK, size - done)):
                    unpacked.write((slice(done, done + len(block)),), np.frombuffer(block, np.uint8))
                    done += len(block)
                _read_on(cast("IO[bytes]", stream))
            if done < size:
                raise DataError(f"`{self.path}` is truncated: it ends before its data", hint="copy the file again")
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def close(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()


def _opened(path: Path) -> Any:
    """Open a file with nibabel, which reads the header."""
    with path.open("rb") as stream:
        is_packed, should_be = stream.read(2) == GZIP, ending_of(path) == ".nii.gz"
    if is_packed != should_be and path.stat().st_size:
        is_now, ending = ("is compressed", ".nii.gz") if is_packed else ("is not compressed", ".nii")
        raise DataError(
            f"`{path}` {is_now}, but its name ends in {ending_of(path)}",
            hint=f"if it is NIfTI, rename it to `NAME{ending}`",
        )
    try:
        return nibabel_module().load(path)
    except ValueError as error:
        if "w2 should be positive" not in str(error):
            raise
        raise DataError(f"the qform of `{path}` is no rotation, so its position is unknown", hint=NO_PLACE) from error


def _unpacking(path: Path, size: int) -> IO[bytes]:
    """Open a compressed file to read `size` bytes or more; a small one is unpacked at once, which is faster.

    The last four bytes of a whole file state its unpacked size; any other file is unpacked piece by piece.
    """
    if size <= AT_ONCE:
        content = path.read_bytes()
        stated = int.from_bytes(content[-4:], "little")
        if size <= stated <= size + BLOCK:
            with suppress(Exception):  # whatever it raises for a damaged file, gzip tells it
                return io.BytesIO(imagecodecs.gzip_decode(content, out=stated))
    return cast("IO[bytes]", gzip.open(path))


def _bytes_of(image: Any) -> int:
    """Compute the bytes of the stored voxels."""
    return int(np.prod(image.shape, dtype=np.int64)) * int(image.dataobj.dtype.itemsize)


def _read_on(stream: IO[bytes]) -> None:
    """Read what follows the voxels, which compares the checksum; much more than that is left unread."""
    for _ in range(EXTRA):
        if not stream.read(BLOCK):
            break


def _shape_of(image: Any, path: Path) -> tuple[int, ...]:
    """Return three lengths, or four if there are channels.

    Raises:
        DataError: The file does not hold a volume of numbers.
    """
    shape = tuple(map(int, image.shape))
    kept = (*shape[:3], *(length for length in shape[3:] if length != 1))
    sizes = "x".join(map(str, shape))
    if len(kept) not in (3, 4):
        raise DataError(
            f"`{path}` has {len(shape)} axes ({sizes}), but a volume has 3 (or 4 with channels)",
            hint="write one file for each volume",
        )
    if min(kept) < 1:
        raise DataError(f"`{path}` states a size of {sizes} voxels", hint="write the file again")
    kind = image.get_data_dtype()
    if kind.kind not in "buif":
        what = f"colours ({''.join(kind.names)})" if kind.names else f"{kind} values"
        raise DataError(
            f"`{path}` holds {what}, but it must hold numbers",
            hint="a screenshot or a colour map is no image of the scanner: replace the file, or remove it",
        )
    return kept


def _check_length(image: Any, path: Path) -> None:
    """Compare what the header states with the size of the file, before memory is taken for it."""
    stated = int(np.prod(image.shape, dtype=np.float64)) * image.get_data_dtype().itemsize
    have = path.stat().st_size
    room = have - image.dataobj.offset if ending_of(path) == ".nii" else have * DEFLATE
    if stated > room:
        sizes = "x".join(map(str, image.shape))
        raise DataError(
            f"`{path}` is truncated: its header states {sizes} voxels ({stated:,} bytes), but it has {have:,} bytes",
            hint="copy the file again",
        )


def _grid_of(image: Any, path: Path) -> Grid:
    """Read the geometry of a nibabel image.

    Raises:
        DataError: The file states a geometry that cannot be used.
    """
    header, affine, remark = image.header, image.affine, ""
    codes = (int(header["sform_code"]), int(header["qform_code"]))
    qform = _qform(header) if codes[1] > 0 else None
    if not is_usable(affine):
        source = "sform" if codes[0] > 0 else "qform" if codes[1] > 0 else "size of the voxels"
        rows = affine[:3].round(4).tolist()
        if qform is None or codes[0] <= 0:
            raise DataError(f"the {source} of `{path}` gives its voxels no position: {rows}", hint=NO_PLACE)
        remark = f"the sform of `{path}` gives its voxels no position ({rows}), so its qform is taken"
        affine, codes = qform, (0, codes[1])
    unit = UNIT_NAMES.get(int(header["xyzt_units"]) & 7, "mm")
    zooms, sizes = header.get_zooms()[:3], nibabel_module().affines.voxel_sizes(affine)
    steps = (zoom if np.isclose(zoom, size, rtol=1e-4) else size for zoom, size in zip(zooms, sizes, strict=True))
    return Grid(
        affine,
        tuple(map(int, image.shape[:3])),
        tuple(float(step) * UNITS_MM[unit] for step in steps),
        codes,
        qform,
        unit,
        remark,
    )


def _qform(header: Any) -> Array | None:
    """Read the qform; None if it cannot be used."""
    try:
        qform: Array = header.get_qform()
    except ValueError:
        return None
    return qform if is_usable(qform) else None


def _scaling_of(image: Any) -> tuple[float, float] | None:
    """Read slope and intercept that rescale stored values; None if they change nothing."""
    slope, intercept = (
        getattr(image.dataobj, key, None) or default for key, default in (("slope", 1.0), ("inter", 0.0))
    )
    return None if (slope, intercept) == (1.0, 0.0) else (float(slope), float(intercept))


# ---- writing


def _header(grid: Grid, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Any:
    """Make the header of a file with this geometry."""
    header = nibabel_module().Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_xyzt_units(grid.unit)
    header.set_qform(grid.affine if grid.qform is None else grid.qform, code=grid.codes[1])
    header.set_sform(grid.affine, code=grid.codes[0])
    return header


@contextmanager
def _writing(path: Path, grid: Grid, dtype: np.dtype[Any], channels: int) -> Iterator[Add]:
    shape = grid.stored if channels == 0 else (*grid.stored, channels)
    header = _header(grid, dtype, shape)
    header["vox_offset"] = len(header.binaryblock) + 4
    # the first axis varies fastest in NIfTI, so it is the last axis in C order
    with closing(Scratch(shape[::-1], dtype, path.parent)) as voxels:
        planes_bytes = int(np.prod(grid.stored[:2], dtype=np.int64)) * dtype.itemsize
        step = max(AT_ONCE // planes_bytes, 1)

        def write(first: int, planes: Array) -> None:
            window = grid.window((slice(first, first + len(planes)), *(slice(0, length) for length in grid.size[1:])))
            stored = grid.as_stored(planes)
            for start in range(window[2].start, window[2].stop, step):
                stop = min(start + step, window[2].stop)
                part = stored[:, :, start - window[2].start : stop - window[2].start]
                voxels.write((..., slice(start, stop), window[1], window[0]), part.T)

        bytes_of_plane = int(np.prod(grid.size[1:], dtype=np.int64)) * dtype.itemsize * max(channels, 1)
        gathered = Gathered(write, AT_ONCE // bytes_of_plane)
        yield gathered.add
        gathered.finish()
        with replacing(path) as temporary, _compressing(temporary, packs=ending_of(path) == ".nii.gz") as stream:
            stream.write(header.binaryblock + bytes(4))
            flat_rows = max(AT_ONCE // (int(np.prod(shape[::-1][1:], dtype=np.int64)) * dtype.itemsize), 1)
            for start in range(0, shape[::-1][0], flat_rows):
                stream.write(voxels.read((slice(start, start + flat_rows),)).tobytes())


@contextmanager
def _compressing(path: Path, *, packs: bool) -> Iterator[IO[bytes]]:
    if packs:
        with (
            path.open("wb") as plain,
            gzip.GzipFile("", "wb", 1, plain, 0) as stream,
        ):
            yield stream  # type: ignore[misc]  # GzipFile is a stream, but no IO for the types
        return
    with path.open("wb") as stream:
        yield stream
