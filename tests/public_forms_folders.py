"""Small folders in further forms of public data sets: several kinds of files in one folder, and folders of pairs."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from factories import blobs, street
from public_forms import organs, pair, save, stack, street_pair, volume, write_pairs


def wider(mask: np.ndarray) -> np.ndarray:
    """Widen a mask to that of a second observer."""
    return cv2.dilate(mask, np.ones((3, 3), np.uint8))


def numbered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a grey image and a mask that numbers its objects."""
    numbers = np.zeros((64, 64), np.uint16)
    for each in range(9 + seed % 10):
        top, left = 12 * (each // 5) + 1, 12 * (each % 5) + 1
        numbers[top : top + 8, left : left + 8] = each + 1
    image = np.random.default_rng(seed).normal(50, 8, (64, 64)) + 60 * (numbers > 0)
    return image.clip(0, 255).astype(np.uint8), numbers


def sides(**counts: int) -> Iterator[tuple[str, int]]:
    """Yield the name of each folder with numbers that no other one has."""
    total = 0
    for side, count in counts.items():
        for number in range(total, total + count):
            yield side, number
        total += count


# ---- several kinds of files in one folder


def chase(root: Path) -> None:
    for number in range(8):
        name = f"Image_{number // 2:02d}{'LR'[number % 2]}"
        truth = pair(root, number, f"{name}.jpg", f"{name}_1stHO.png")
        save(root / f"{name}_2ndHO.png", wider(truth))


def stains(root: Path) -> None:
    for number in range(6):
        image, mask = blobs(number)
        for kind, pixels in (("DAPI", image[..., 0]), ("GFP", image[..., 1]), ("mask", mask)):
            save(root / f"{number}_{kind}.png", pixels)


def ultrasound(root: Path) -> None:
    for number in range(10):
        kind = ("benign", "malignant")[number % 2]
        name = f"{kind}/{kind} ({number // 2 + 1})"
        truth = pair(root, number, f"{name}.png", f"{name}_mask.png")
        if number < 2:
            save(root / f"{name}_mask_1.png", np.roll(truth, 9, 0))


def one_stem(root: Path) -> None:
    for number, name in enumerate(("cat", "dog", "cow", "hen", "fox", "owl")):
        pair(root, number, f"{name}.jpg", f"{name}.png")


def one_stem_of_clips(root: Path) -> None:
    for number in range(12):
        pair(root, number, f"clip{number % 3}/{number:03d}.tif", f"clip{number % 3}/{number:03d}.png")


def flat_brats(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        for kind in ("flair", "t1", "t1ce"):
            volume(root / f"p{number}_{kind}.nii.gz", (image * (300 + 40 * len(kind))).astype(np.int16))
        volume(root / f"p{number}_seg.nii.gz", labels)


def isbi(root: Path) -> None:
    image, labels = organs(1)
    for kind in ("train-volume", "test-volume"):
        stack(root / f"{kind}.tif", (image * 200).clip(0, 255).astype(np.uint8))
    stack(root / "train-labels.tif", (labels > 0).astype(np.uint8) * np.uint8(255))


def two_observers(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        volume(root / f"p{number}.nii.gz", image)
        for observer in ("first", "second"):
            volume(root / f"p{number}_{observer}.nii.gz", labels)


def two_prefixes(root: Path) -> None:
    for number in range(6):
        truth = pair(root, number, f"img_{number}.png", f"gt1_{number}.png")
        save(root / f"gt2_{number}.png", wider(truth))


# ---- folders of images with a folder of masks each


def buildings(root: Path) -> None:
    for side, number in sides(train=5, val=2, test=2):
        pair(root, number, f"tiff/{side}/{side}{number}.tiff", f"tiff/{side}_labels/{side}{number}.tif")


def masks_of_two(root: Path) -> None:
    for side, number in sides(train=5, test=2):
        pair(root, number, f"{side}_images/{number}.png", f"{side}_masks/{number}.png")


def camvid(root: Path) -> None:
    for side, number in sides(train=5, val=2):
        street_pair(root, number, f"{side}/{number:04d}.png", f"{side}annot/{number:04d}.png")


def food(root: Path) -> None:
    for side, number in sides(train=5, test=2):
        street_pair(root, number, f"Images/img_dir/{side}/{number:08d}.jpg", f"Images/ann_dir/{side}/{number:08d}.png")
    (root / "category_id.txt").write_text("0\tbackground\n1\tcandy\n")


def drives(root: Path) -> None:
    for side, number in sides(train=6, val=2):
        image, truth = street(number, (48, 64))
        save(root / f"images/{side}/{number:04d}.jpg", image)
        save(root / f"labels/{side}/{number:04d}_train_id.png", np.where(truth == 3, 255, truth).astype(np.uint8))
    save(root / "images/test/0099.jpg", street(99, (48, 64))[0])


def tracking(root: Path) -> None:
    for clip in ("01", "02"):
        for frame in range(6):
            image, numbers = numbered(frame + 10 * int(clip) - 10)
            save(root / f"{clip}/t{frame:03d}.tif", image)
            if frame % 3 < 2:
                save(root / f"{clip}_GT/SEG/man_seg{frame:03d}.tif", numbers)
        (root / f"{clip}_GT/SEG/notes.txt").write_text("1 0 5 0\n")


def discs(root: Path) -> None:
    for number in range(8):
        kind = ("Glaucoma", "Non-Glaucoma")[number % 2]
        image, mask = blobs(number, (96, 96))
        save(root / f"Training400/{kind}/{kind[0].lower()}{number:04d}.jpg", image)
        levels = np.where(mask > 0, 0, np.where(wider(mask) > 0, 128, 255)).astype(np.uint8)
        save(root / f"Annotation-Training400/Masks/{kind}/{kind[0].lower()}{number:04d}.bmp", levels)


def videos(root: Path) -> None:
    for side, number in sides(train=6, val=3):
        name = f"clip{number // 3}/{number:04d}"
        street_pair(root, number, f"{side}/images/{name}.jpg", f"{side}/labels/{name}.png")


def comma(root: Path) -> None:
    for number in range(8):
        name = f"{'2' * (number % 2)}/{number:04d}.png"
        street_pair(root, number, f"imgs{name}", f"masks{name}")


def lesions(root: Path) -> None:
    for side, number in sides(**{"a. Training Set": 5, "b. Testing Set": 2}):
        image, mask = blobs(number)
        save(root / f"1. Originals/{side}/I_{number:02d}.jpg", image)
        for shift, (kind, short) in enumerate((("1. Microaneurysms", "MA"), ("2. Haemorrhages", "HE"))):
            if (number, shift) != (3, 1):
                save(root / f"2. Truth/{side}/{kind}/I_{number:02d}_{short}.tif", np.roll(mask, 20 * shift, 0))


def bowl_of_two_stages(root: Path) -> None:
    for number in range(6):
        pair(root, number, f"stage1_train/{number}a/images/{number}a.png", f"stage1_train/{number}a/masks/1.png")
        save(root / f"stage1_train/{number}a/masks/2.png", np.roll(blobs(number)[1], 20, 0))
    for number in range(3):
        save(root / f"stage1_test/x{number}/images/x{number}.png", blobs(number)[0])


def vistas(root: Path) -> None:
    for side, number in sides(training=5, validation=2):
        truth = street_pair(root, number, f"{side}/images/{number}.jpg", f"{side}/v2/labels/{number}.png")
        save(root / f"{side}/v2/instances/{number}.png", truth.astype(np.uint16) * 256 + 1)


def polyps(root: Path) -> None:
    for side, number in sides(**{"TrainDataset": 5, "TestDataset/CVC": 2, "TestDataset/Kvasir": 2}):
        pair(root, number, f"{side}/image/{number}.png", f"{side}/mask/{number}.png")


def satellites(root: Path) -> None:
    for side, number in sides(train=6, valid=2):
        image, truth = street(number, (48, 64))
        save(root / f"{side}/{number}_sat.jpg", image)
        if side == "train":
            save(root / f"{side}/{number}_mask.png", truth)


# ---- volumes


def amos(root: Path) -> None:
    for side, number in sides(Tr=4, Va=2, Ts=1):
        image, labels = organs(number)
        volume(root / f"images{side}/amos_{number:04d}.nii.gz", image)
        if side != "Ts":
            volume(root / f"labels{side}/amos_{number:04d}.nii.gz", labels)


def nnunet_with_test(root: Path) -> None:
    for side, number in sides(Tr=5, Ts=2):
        image, labels = organs(number)
        for channel in range(2):
            volume(root / f"images{side}/case_{number}_{channel:04d}.nii.gz", image * (1 + channel))
        volume(root / f"labels{side}/case_{number}.nii.gz", labels)


def trained_and_tested(root: Path) -> None:
    for side, number in sides(training=5, testing=2):
        image, labels = organs(number)
        volume(root / f"{side}/images/c{number}.nii.gz", image)
        volume(root / f"{side}/labels/c{number}.nii.gz", labels)


def trained_and_tested_flat(root: Path) -> None:
    for side, number in sides(training=5, testing=2):
        image, labels = organs(number)
        volume(root / f"{side}/c{number}.nii.gz", image)
        volume(root / f"{side}/c{number}_gt.nii.gz", labels)


def total(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        volume(root / f"s{number:04d}/ct.nii.gz", image)
        for value, organ in ((1, "liver"), (2, "spleen")):
            volume(root / f"s{number:04d}/segmentations/{organ}.nii.gz", (labels == value).astype(np.uint8))


def visits(root: Path) -> None:
    for patient in range(3):
        for visit in range(2):
            image, labels = organs(3 * visit + patient)
            name = f"p{patient:02d}_{visit:02d}"
            for kind in ("flair", "t2"):
                volume(root / f"p{patient:02d}/images/{name}_{kind}.nii", image)
            volume(root / f"p{patient:02d}/masks/{name}_mask.nii", labels)


def nnunet_of_folds(root: Path) -> None:
    names = [f"case_{number}" for number in range(5)]
    for number, name in enumerate(names):
        image, labels = organs(number)
        volume(root / f"imagesTr/{name}_0000.nii.gz", image)
        volume(root / f"labelsTr/{name}.nii.gz", labels)
    folds = [{"train": [name for name in names if name != each], "val": [each]} for each in names]
    (root / "splits_final.json").write_text(json.dumps(folds))


# ---- what is refused


def numbered_in_red(root: Path) -> None:
    for number in range(5):
        image, numbers = numbered(number)
        save(root / f"images/{number}.tif", image)
        red = numbers.astype(np.uint8)
        save(root / f"masks/{number}.png", np.dstack([red, 0 * red, 0 * red]))


def capitals(root: Path) -> None:
    for side, number in sides(Train=4, Test=2):
        for kind, pixels in zip(("images", "masks"), blobs(number), strict=True):
            save(root / side / f"{kind.capitalize() if side == 'Train' else kind}/{number}.png", pixels)


def outlines(root: Path) -> None:
    for number in range(4):
        save(root / f"{number}.jpg", blobs(number)[0])
        (root / f"{number}.json").write_text('{"shapes": []}')


def arrays(root: Path) -> None:
    (root / "images").mkdir(parents=True)
    np.save(root / "images/0.npy", np.zeros((8, 8)))


def itk(root: Path) -> None:
    root.mkdir()
    (root / "Case00.mhd").write_text("ObjectType = Image")
    (root / "Case00.raw").write_bytes(b"x")


# ---- lists

LISTED = {"train": ["a_0", "a_1", "a_2", "a_3", "a_4"], "val": ["a_5"], "test": ["a_6", "a_7"]}
"""Names of the splits of `listed`."""

BEGINS = [*(f"train_{number}" for number in range(5)), "testA_1", "testA_2", "testB_1"]
"""Names of images of GlaS."""


def listed(root: Path) -> Path:
    """Write images and masks for lists; returns `root`."""
    names = [name for names in LISTED.values() for name in names]
    return write_pairs(root, image="images/{}.jpg", mask="masks/{}.png", names=names)


def write_lists(root: Path, pattern: str, line: str, *, joined: bool = False) -> None:
    """Write a text file for each split; with `joined`, training and validation are one."""
    listed(root)
    given = {"trainval": [*LISTED["train"], *LISTED["val"]], "test": LISTED["test"]} if joined else LISTED
    for side, names in given.items():
        path = root / pattern.format(side)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["# names", *(line.format(name) for name in names)]))


def write_table(root: Path, header: str, line: str) -> None:
    """Write a table with a column of splits."""
    rows = [line.format(name, side) for side, names in LISTED.items() for name in names]
    (listed(root) / "table.csv").write_text("\n".join([header, *rows]))


def write_tables(root: Path) -> None:
    """Write a table for each split."""
    for side, names in LISTED.items():
        rows = [f"images/{name}.jpg,masks/{name}.png" for name in names]
        (listed(root) / f"{side}.csv").write_text("\n".join(["image,mask", *rows]))


def write_json(root: Path) -> None:
    """Write all splits into one file."""
    (listed(root) / "splits.json").write_text(
        json.dumps({side: [f"{n}.jpg" for n in names] for side, names in LISTED.items()})
    )


def write_with_a_stranger(root: Path) -> None:
    """Write lists of which one names an image that is not there."""
    write_lists(root, "{}.txt", "{}")
    with (root / "train.txt").open("a") as file:
        file.write("\ngone\n")
