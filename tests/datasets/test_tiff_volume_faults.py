import re
import shutil

import numpy as np
import pytest
import tifffile
import yaml
from factories import nuclei_experiment, nucleus, write_experiment, write_nuclei
from stacks import SIZE, everywhere, faults, layout

from segcli.core.errors import DataError
from segcli.files import open_picture


@pytest.fixture
def root(tmp_path):
    return write_nuclei(tmp_path / "data")


def test_a_sample_without_class_is_named(root):
    table = (root / "classes.csv").read_text().replace("0003,large\n", "")
    (root / "classes.csv").write_text(table)
    assert "`" + str(root / "0003") + "` has no class" in faults(root)["sample_without_class"]


def test_a_class_without_samples_is_named(root):
    told = faults(root, classes=["large", "small", "giant"])
    assert "class `giant` has no samples" in told["class_without_samples"]


@pytest.mark.parametrize(("other", "code"), [("Large", "similar_classes"), ("NaN", "class_without_value")])
def test_a_class_that_may_be_a_slip_of_the_table_is_told_with_its_samples(root, other, code):
    table = (root / "classes.csv").read_text().replace("0003,large", f"0003,{other}")
    (root / "classes.csv").write_text(table)
    (finding,) = [each for each in layout(root).inspect("train") if each.code == code]
    assert f"1 sample is `{other}`" in f"{finding.message} {finding.hint}"
    if code == "class_without_value":
        assert finding.hint.endswith("set `class_filter: [large, small]`")
        assert code not in faults(root, class_filter=["large", "small"])


def test_a_class_that_is_none_and_a_sample_of_two_classes_are_named(root):
    table = (root / "classes.csv").read_text().replace("0002,small", "0002,tiny") + "0001,small\n0099,large\n"
    (root / "classes.csv").write_text(table)
    told = faults(root, classes=["large", "small"])
    assert "sample `0002` has the class `tiny`" in told["unknown_class"]
    assert "sample `0001` is `small`, but `large` in line 2" in told["two_classes"]
    assert "there is no sample `0099`" in told["missing_sample"]


def test_samples_that_cannot_be_read_say_nothing_about_the_size_of_crops(root):
    for path in root.glob("*/raw/*.tif"):
        path.write_bytes(b"")
    assert layout(root).proposed_crop(layout(root).all_cases("train")) is None
    assert list(layout(root).compared(["train", "val"])) == []


def test_slices_that_tifffile_took_for_colours_are_told_with_the_way_to_write_them(root):
    voxels = nucleus(0, (4, 16, 16))[0]
    for path in (root / "0001/raw").iterdir():
        path.unlink()
    as_colours = {"photometric": "rgb", "planarconfig": "separate"}  # what older versions do unless told otherwise
    tifffile.imwrite(root / "0001/raw/stack.tif", voxels, **as_colours)
    assert "has 4 channels, but grey slices are expected" in everywhere(root)["unreadable_image"]
    (hint,) = {
        each.hint for split in ("train", "val") for each in layout(root).inspect(split) if "channels" in each.message
    }
    advised = re.search(r"tifffile.imwrite\(NAME, slices, (.*)\)", hint)[1]
    assert advised == "photometric='minisblack'"
    with pytest.raises(DataError, match="4 channels of one plane") as caught:
        open_picture(root / "0001/raw/stack.tif", 3)
    assert advised in caught.value.hint
    tifffile.imwrite(root / "0001/raw/stack.tif", voxels, photometric="minisblack")
    assert "unreadable_image" not in everywhere(root)
    with open_picture(root / "0001/raw/stack.tif", 3) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], voxels)


def test_slices_of_different_size_are_named(root):
    tifffile.imwrite(root / "0004/raw/z3.tif", np.zeros((16, 15), np.uint16))
    told = everywhere(root)["size_mismatch"]
    assert f"slice `{root / '0004/raw/z3.tif'}` is 16x15, but `{root / '0004/raw/z0.tif'}` is 16x16" in told


def test_an_unreadable_slice_is_named_and_stops_a_training(root):
    path = root / "0004/raw/z3.tif"
    path.write_bytes(path.read_bytes()[:30])
    assert f"cannot read slice `{path}`" in everywhere(root)["unreadable_image"]
    made = layout(root, split={"val": None})
    with pytest.raises(DataError, match="cannot read slice"):
        made.cases("train")


def test_a_mask_with_fewer_slices_is_named_once(root):
    (root / "0004/mask/z3.tif").unlink()
    told = everywhere(root)
    assert told["slices_without_partner"] == f"slice 3 has no partner: `{root / '0004/mask'}` lacks 3"
    assert "mask_mismatch" not in told


def test_slices_are_paired_by_number_and_those_without_a_partner_are_named(root):
    raw, mask = root / "0004/raw", root / "0004/mask"
    (raw / "z3.tif").unlink()
    (mask / "z6.tif").unlink()
    said = f"slices 3 and 6 have no partner: `{mask}` lacks 6 and `{raw}` lacks 3"
    assert everywhere(root)["slices_without_partner"] == said
    with pytest.raises(DataError) as caught:
        layout(root, split={"val": None}).cases("train")
    assert caught.value.message.startswith(said)
    made = layout(root, apply_mask=True, split={"val": None})
    with pytest.raises(DataError) as caught:  # as in a prediction, which checks no data set
        made.read_input(root / "0004")
    assert caught.value.message.startswith(said)


def test_two_slices_of_one_number_are_refused(root):
    for kind in ("raw", "mask"):
        (root / f"0004/{kind}/z3.tif").rename(root / f"0004/{kind}/z03.tif")
        tifffile.imwrite(root / f"0004/{kind}/z3.tif", np.zeros(SIZE[1:], np.uint8))
    assert everywhere(root)["unreadable_image"] == (
        f"two slices in `{root / '0004/raw'}` have the same number: `z03.tif` and `z3.tif`"
    )


def test_a_row_without_a_name_is_told_as_such(root):
    table = root / "classes.csv"
    table.write_text(table.read_text() + ",small\n")
    line = len(table.read_text().split())
    assert everywhere(root)["missing_sample"] == f"`{table}:{line}` has no name of a sample in the column `sample_id`"


def test_a_sample_of_mixed_bits_is_not_counted_among_those_of_8_and_of_16_bits(root):
    tifffile.imwrite(root / "0004/raw/z3.tif", np.zeros(SIZE[1:], np.uint8))
    found = everywhere(root)
    assert "slices_of_mixed_bits" in found
    assert "mixed_bits" not in found


def test_slices_that_are_not_whole_numbers_from_0_are_told_which_type_is_expected(root):
    for kind in (np.float32, np.int16):
        tifffile.imwrite(root / "0004/raw/z3.tif", np.zeros(SIZE[1:], kind))
        said = everywhere(root)["unreadable_image"]
        assert f"z3.tif` holds {np.dtype(kind)} values, but a slice holds whole numbers from 0" in said


def test_a_number_that_no_slice_has_is_a_warning(root):
    for kind in ("raw", "mask"):
        (root / f"0004/{kind}/z3.tif").unlink()
    said = everywhere(root)["missing_slices"]
    assert said == f"slice 3 is missing in `{root / '0004/raw'}` (numbers 0 to 7)"


def test_slices_of_8_and_16_bits_in_one_sample_are_refused(root):
    path = root / "0004/raw/z3.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8))
    said = f"slice `{path}` has 8 bits, but `{root / '0004/raw/z0.tif'}` has 16: their scales differ by 257"
    assert everywhere(root)["slices_of_mixed_bits"] == said
    with pytest.raises(DataError) as caught:
        layout(root, split={"val": None}).read_input(root / "0004")
    assert caught.value.message == said


def test_samples_of_8_and_16_bits_in_one_set_are_a_warning(root):
    for z in range(8):
        tifffile.imwrite(root / f"0004/raw/z{z}.tif", np.full((16, 16), z, np.uint8))
    said = faults(root)["mixed_bits"]
    assert said == (
        "samples differ in their bits: 1 with 8 bits (such as `0004`) and 11 with 16 bits (such as `0001`); "
        "their scales differ by 257"
    )
    assert layout(root).cases("train")


def test_data_check_lists_all_these_faults_at_once(root, run_cli):
    (root / "0004/mask/z3.tif").unlink()
    (root / "0005/raw/z1.tif").write_bytes(b"no image")
    tifffile.imwrite(root / "0006/raw/z3.tif", np.zeros((16, 15), np.uint16))
    (root / "classes.csv").write_text((root / "classes.csv").read_text().replace("0003,large\n", ""))
    layout(root)
    result = run_cli("data", "check", root.parent / "set.yaml", "classes=[large,small,giant]", "--json")
    assert result.code == 1
    codes = {finding["code"] for finding in yaml.safe_load(result.out)["findings"] if finding["severity"] == "error"}
    assert codes >= {
        "slices_without_partner",
        "unreadable_image",
        "size_mismatch",
        "sample_without_class",
        "class_without_samples",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: ("sep=;\r\n" + text.replace(",", ";")).encode("utf-8-sig"),
        lambda text: ("\nsep=\t\n" + text.replace(",", "\t")).encode(),
        lambda text: ("sample_id,class,note\n" + "".join(f'"{line.replace(",", chr(34) + "," + chr(34))}","a, b"\n'
                      for line in text.split()[1:])).encode(),
    ],
)  # fmt: skip
def test_the_table_of_classes_is_read_as_programs_write_it(root, change):
    expected = layout(root).class_of
    table = root / "classes.csv"
    table.write_bytes(change(table.read_text()))
    assert layout(root).class_of == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace(",", "|").encode(),
            "classes.csv` has no column `sample_id`; it has sample_id|class",
        ),
        (lambda text: text.replace("small", "größe").encode("latin-1"), "classes.csv:3` is not UTF-8 text (byte 0xf6)"),
        (lambda text: text.replace("0001,", "0001,x,").encode(), "classes.csv:2` has 3 cells, but the table has 2"),
        (lambda text: b"", "classes.csv` has no column `sample_id`; it is empty"),
        (lambda text: text.split()[0].encode(), "classes.csv` names no class, but a classification tells at least two"),
        (lambda text: text.replace("large", "small").encode(), "classes.csv` names one class, `small`, but a class"),
        (lambda text: ("sep=,\n\n" + text.replace("0001,", "0001,x,")).encode(), "classes.csv:4` has 3 cells"),
        (None, "no table"),
    ],
)
def test_a_damaged_table_is_blamed_and_not_the_number_of_classes(run_cli, workplace, change, message):
    root = write_nuclei(workplace / "data")
    config = write_experiment(workplace / "tiny.yaml", nuclei_experiment(root))
    table = root / "classes.csv"
    if change is None:
        table.unlink()
    else:
        table.write_bytes(change(table.read_text()))
    for arguments in (("data", "check", config), ("train", config, "--dry-run")):
        told = run_cli(*arguments)
        assert told.code == 2
        assert f"dataset.classes_csv: `{root}" in told.err or change is None
        assert message in " ".join(told.err.split())
        assert "num_classes" not in told.err


def test_a_missing_folder_is_blamed_and_not_the_number_of_classes(run_cli, workplace):
    config = write_experiment(workplace / "tiny.yaml", nuclei_experiment(workplace / "nothere"))
    told = run_cli("data", "check", config)
    assert f"dataset.paths: no folder `{workplace}/nothere` with the samples" in " ".join(told.err.split())
    assert "num_classes" not in told.err


@pytest.mark.parametrize("kind", ["jpeg", "jpeg2000"])
def test_a_mask_whose_compression_changed_its_numbers_is_refused_by_name(root, kind):
    for path in (root / "0001/mask").iterdir():
        values = tifffile.imread(path)
        tifffile.imwrite(path, 200 * (values > 0).astype(np.uint8), compression=kind, compressionargs={"level": 20})
    masked = layout(root, apply_mask=True)
    case = next(case for case in masked.all_cases("train") + masked.all_cases("val") if case.id == "0001")
    with pytest.raises(DataError, match=f"0001/mask/.* is stored as JPEG{' 2000' * (kind != 'jpeg')}, which changes"):
        masked.read(case)
    assert [found.message.count("is stored as JPEG") for found in masked.examine(case)[1]] == [1]


@pytest.mark.parametrize("name", ["z3 - Copy.tif", "z3 - Copy (2).tif", "Copy of z03.tif", "z3 copy.tif"])
def test_a_copy_of_a_slice_is_no_further_slice(root, name):
    shutil.copy(root / "0004/raw/z3.tif", root / "0004/raw" / name)
    assert "two slices in" in everywhere(root)["unreadable_image"]


def test_a_slice_of_12_bits_among_those_of_16_is_refused(root):
    path = root / "0004/raw/z3.tif"
    tifffile.imwrite(path, np.ones((16, 16), np.uint16), bitspersample=12)
    said = f"slice `{path}` has 12 bits, but `{root / '0004/raw/z0.tif'}` has 16: their scales differ by 16"
    assert everywhere(root)["slices_of_mixed_bits"] == said


def test_a_stack_of_imagej_that_was_cut_is_not_taken_for_one_image(tmp_path):
    voxels = nucleus(0)[0]
    for count in (8, 5):  # ImageJ writes a large stack with one page, as a file of one image with all values behind it
        about = f"ImageJ=1.53t\nimages={count}\nslices={count}\n"
        tifffile.imwrite(tmp_path / "a.tif", voxels[0], description=about, metadata=None)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            start = tiff.pages[0].dataoffsets[0]
        content = (tmp_path / "a.tif").read_bytes()[:start] + voxels[:5].tobytes()
        (tmp_path / "a.tif").write_bytes(content)
        if count > 5:
            with pytest.raises(DataError, match=r"states 8 images, but ends after 5, so further slices are missing"):
                open_picture(tmp_path / "a.tif", 3)
            (tmp_path / "a.tif").write_bytes(content[: start + voxels[0].nbytes])
            with open_picture(tmp_path / "a.tif", 2) as one:  # an image that was taken out of a stack
                np.testing.assert_array_equal(one.read()[..., 0], voxels[0])
        else:
            with open_picture(tmp_path / "a.tif", 3) as whole:
                np.testing.assert_array_equal(whole.read()[..., 0], voxels[:5])
