"""What the fingerprint of the data finds, and what it does not depend on."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from factories import write_dicom, write_folders

from segcli.data.fingerprint import difference, fingerprint
from segcli.data.samples import Case

CLASSES = {"00": "large", "01": "small"}


@pytest.fixture
def root(tmp_path):
    return write_folders(tmp_path / "data", {"train": 4})


def cases_in(root):
    images, labels = (sorted((root / "train" / kind).iterdir()) for kind in ("image", "label"))
    return [Case(image.stem, image, label) for image, label in zip(images, labels, strict=True)]


def flipped(path, at):
    """Change one byte; size and time stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_same_files_in_another_folder_and_order_have_the_same_digest(root, tmp_path):
    before = fingerprint(cases_in(root))
    shutil.copytree(root, tmp_path / "far" / "away")
    cases = cases_in(tmp_path / "far" / "away")
    assert fingerprint(cases) == before
    turned = fingerprint(cases[::-1])
    assert (turned["digest"], turned["cases"]) == (before["digest"], before["cases"])
    assert turned["order"] != before["order"]
    assert difference(before, turned, cases) is None


@pytest.mark.parametrize(("kind", "part"), [("image", "image"), ("label", "mask")])
def test_one_changed_byte_of_a_small_file_is_found_and_named(root, kind, part):
    cases = cases_in(root)
    before = fingerprint(cases)
    path = root / "train" / kind / "02.png"
    assert path.stat().st_size < 2**16
    flipped(path, path.stat().st_size // 2 + 5)
    fact = difference(before, fingerprint(cases), cases)
    assert fact == f"4 then, 4 now: the {part} of `02` has other content"


def test_names_that_are_not_utf8_have_digests_of_their_own(root):
    first = cases_in(root)[0]
    names = [b"a\xff".decode("utf-8", "surrogateescape"), b"a\xfe".decode("utf-8", "surrogateescape")]
    digests = {fingerprint([Case(name, first.image, first.label)])["digest"] for name in names}
    assert len(digests) == 2


def test_cases_that_are_missing_new_or_changed_are_counted_and_one_of_each_is_named(root):
    cases = cases_in(root)
    before = fingerprint(cases)
    for name in ("00", "01"):
        flipped(root / "train" / "label" / f"{name}.png", 60)
    for kind in ("image", "label"):
        (root / "train" / kind / "03.png").rename(root / "train" / kind / "new.png")
    now = cases_in(root)
    assert difference(before, fingerprint(now), now) == (
        "4 then, 4 now: 2 have other content, such as the mask of `00`, `03` is missing, `new` is new"
    )


@pytest.mark.parametrize("place", [0, 2**20 - 1, 2**19], ids=["first", "last", "middle"])
def test_a_changed_byte_in_a_sample_of_a_large_file_is_found(tmp_path, place):
    file = tmp_path / "large.tif"
    file.write_bytes(np.random.default_rng(0).bytes(2**20))
    before = fingerprint([Case("large", file)])
    flipped(file, place)
    assert fingerprint([Case("large", file)])["digest"] != before["digest"]


def test_a_file_of_many_cases_is_sampled_in_more_places_than_a_file_of_one(tmp_path):
    file = tmp_path / "train.h5"
    file.write_bytes(np.random.default_rng(0).bytes(2**20))
    many = [Case(f"{index:04d}", file, index=index) for index in range(64)]
    before, alone = fingerprint(many), fingerprint([Case("one", file)])
    place = (2**20 - 2**12) * 32 // 127 + 10  # in the sample 33 of 128; a file of one case has no sample there
    flipped(file, place)
    assert fingerprint([Case("one", file)]) == alone
    fact = difference(before, fingerprint(many), many)
    assert fact == "64 then, 64 now: the image of `train.h5` has other content"
    file.rename(tmp_path / "moved.h5")
    moved = [Case(f"{index:04d}", tmp_path / "moved.h5", index=index) for index in range(64)]
    flipped(tmp_path / "moved.h5", place)
    assert fingerprint(moved)["digest"] == before["digest"]


@pytest.mark.parametrize("kind", ["slices", "zarr", "dicom"])
def test_a_folder_of_slices_or_chunks_is_one_image(tmp_path, kind):
    folder = tmp_path / "case"
    if kind == "dicom":
        write_dicom(folder, np.arange(60).reshape(3, 4, 5))
        inside = folder / "1.dcm"
    else:
        inside = folder / ("z1.tif" if kind == "slices" else "0/c/0.0")
        inside.parent.mkdir(parents=True)
        inside.write_bytes(b"voxels" * 50)
        (folder / ".zarray").write_text("{}")
    before = fingerprint([Case("case", folder)])
    (folder / ".DS_Store").write_bytes(b"left by a file manager")
    assert fingerprint([Case("case", folder)]) == before
    flipped(inside, -3)
    assert fingerprint([Case("case", folder)])["digest"] != before["digest"]


def test_a_class_that_is_stored_in_a_table_counts(root):
    cases = cases_in(root)
    before = fingerprint(cases, CLASSES)
    now = fingerprint(cases, {**CLASSES, "01": "large"})
    assert difference(before, now, cases) == "4 then, 4 now: the class of `01` has other content"


def test_images_of_one_name_in_two_folders_are_two_cases(root):
    cases = cases_in(root)
    twice = [*cases, Case("00", cases[1].image, cases[1].label)]
    assert len(fingerprint(twice)["cases"]) == 5
    flipped(cases[1].label, 60)
    assert fingerprint(twice)["digest"] != fingerprint([*cases, cases[0]])["digest"]


def test_an_old_fingerprint_of_names_and_sizes_is_compared_by_its_own_rule(root):
    cases = cases_in(root)
    lines = [f"{case.id}|{case.image.stat().st_size}|{case.label.stat().st_size}\n" for case in cases]
    old = {"num_images": 4, "digest": hashlib.sha256("".join(lines).encode()).hexdigest()[:16]}
    flipped(cases[0].label, 60)
    assert difference(old, fingerprint(cases), cases) is None
    cases[0].label.write_bytes(cases[0].label.read_bytes() + b" ")
    assert difference(old, fingerprint(cases), cases) == "4 then, 4 now, or files of another name or size"
