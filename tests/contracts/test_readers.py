"""Files of images are opened in one room: third-party readers are imported nowhere else."""

import ast
from pathlib import Path

import numpy as np
import pytest

import segcli
from segcli.core.errors import DataError
from segcli.core.registry import FILES
from segcli.files import LARGE, FileFormat, Picture, create, ending_of, open_picture, stem_of
from segcli.files._endings import stated_formats

PACKAGE = Path(segcli.__file__).parent
READERS = {"PIL", "tifffile", "h5py", "zarr", "nibabel", "pydicom", "imageio", "skimage"}
WRITERS = {
    "commands/convert.py": {"h5py"},
    "data/classes/lettering.py": {"PIL"},
    "datasets/hdf5_volumes.py": {"h5py"},
    "samples/nuclei.py": {"tifffile"},
    "samples/organs.py": {"h5py"},
}
"""Files that write data sets, or words on pictures, and never open a file of images with the package."""
DECODERS = {"imread", "imdecode", "imreadmulti", "open_memmap"}
"""Functions of packages that do much else, such as OpenCV, that decode a file."""


def imported(tree: ast.AST) -> set[str]:
    """Packages that a file imports, late imports and `optional` included."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                found |= {alias.name.partition(".")[0] for alias in node.names}
            case ast.ImportFrom(module=str(source)):
                found.add(source.partition(".")[0])
            case ast.Call(func=ast.Name(id="optional" | "import_module"), args=[ast.Constant(value=str(source)), *_]):
                found.add(source.partition(".")[0])
    return found


def test_readers_of_third_parties_are_imported_in_the_room_of_files_only():
    found, decoding = {}, set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree, name = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(PACKAGE).as_posix()
        if not name.startswith("files/"):
            found |= {name: imported(tree) & READERS}
            calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            decoding |= {name} if calls & DECODERS else set()
    assert {name: packages for name, packages in found.items() if packages} == WRITERS
    assert decoding == set()


@pytest.mark.parametrize("name", FILES.names())
def test_what_a_format_states_is_known_without_importing_it(name):
    kind, stated = FILES.load(name), next(each for each in stated_formats() if each.name == name)
    assert issubclass(kind, FileFormat)
    for key in ("endings", "listed", "axes", "is_folder", "holds_many"):
        assert getattr(stated, key) == getattr(kind, key)


def test_no_ending_belongs_to_two_formats():
    endings = [ending for each in stated_formats() for ending in each.endings]
    assert len(set(endings)) == len(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


class Broken(Picture):
    """A file whose reader raises."""

    size, channels, itemsize = (4, 5), 1, 1

    def __init__(self, error):
        self.path, self.error = Path("a.xyz"), error

    def whole(self):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("bad\nbytes"), KeyError("x"), RecursionError(), ZeroDivisionError()])
def test_whatever_a_reader_raises_becomes_one_sentence_with_the_name_of_the_file(error):
    for read in (Broken(error).read, Broken(error).read_labels, lambda: Broken(error).read((slice(0, 1),) * 2)):
        with pytest.raises(DataError) as caught:
            read()
        detail = " ".join(str(error).split()) or type(error).__name__
        assert caught.value.message == f"cannot read image `a.xyz` ({detail})"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("told")])
def test_errors_that_are_not_about_the_file_are_left_alone(error):
    with pytest.raises(type(error)) as caught:
        Broken(error).read()
    assert caught.value is error


WRITTEN = [(name, ndim) for name in FILES.names() if FILES.load(name).writes for ndim in FILES.load(name).axes]


@pytest.mark.parametrize(("name", "ndim"), WRITTEN)
def test_what_a_format_writes_it_reads(name, ndim, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (6, 7, 9)[-ndim:]).astype(np.uint8)
    path = tmp_path / f"a.b{FILES.load(name).endings[0]}"
    with create(path, voxels.shape, voxels.dtype) as add:
        add(voxels[:3])
        add(voxels[3:])
    assert (stem_of(path), ending_of(path)) == ("a.b", FILES.load(name).endings[0])
    with open_picture(path, ndim) as picture:
        assert (picture.size, picture.channels, picture.itemsize) == (voxels.shape, 1, 1)
        np.testing.assert_array_equal(picture.read()[..., 0], voxels)
        window = (slice(1, 4), slice(2, 3), slice(0, 5))[:ndim]
        np.testing.assert_array_equal(picture.read(window)[..., 0], voxels[window])
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    assert voxels.size < LARGE
