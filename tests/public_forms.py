"""Small folders in the form of well-known public data sets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import tifffile
from factories import blobs, bodies, street
from PIL import Image

COLOURS = np.array([[70, 130, 180], [128, 64, 128], [0, 0, 142], [0, 0, 0], [70, 70, 70]], np.uint8)
"""Sky, road, car, void and building of Cityscapes."""
IDS = np.array([23, 7, 26, 0, 11], np.uint8)
"""Their numbers in `labelIds`."""


@dataclass(frozen=True)
class Form:
    """Describes one form: how it is written, and what is to be found."""

    write: Callable[[Path], object]
    keys: dict[str, Any]
    """Keys of the data-set file; None means that the key is absent."""
    counts: dict[str, int]
    """Samples in each split."""
    notes: tuple[str, ...] = ()
    """Parts of the notes."""
    asks: tuple[str, ...] = ()
    """Keys that are asked for; with `!`, none of the answers is likelier than another."""


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write an image with Pillow, JPEG in good quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 92} if path.suffix == ".jpg" else {}), **options)


def pair(root: Path, seed: int, image: str, mask: str, size: tuple[int, int] = (48, 48)) -> np.ndarray:
    """Write an image and its mask of 0 and 255; returns the mask."""
    pixels, truth = blobs(seed, size)
    save(root / image, pixels)
    save(root / mask, truth)
    return truth


def street_pair(root: Path, seed: int, image: str, mask: str) -> np.ndarray:
    """Write the picture of a street and its mask of classes; returns the mask."""
    pixels, truth = street(seed, (48, 64))
    save(root / image, pixels)
    save(root / mask, truth)
    return truth


def write_pairs(
    root: Path,
    count: int = 6,
    *,
    image: str = "a/{}.png",
    mask: str = "b/{}.png",
    names: Sequence[str] = (),
    paint: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
    size: tuple[int, int] = (48, 48),
) -> Path:
    """Write images and masks under the names that the patterns give; returns `root`."""
    for index, name in enumerate(names or [f"{index:02d}" for index in range(count)]):
        pixels, truth = blobs(index, size)
        save(root / image.format(name), pixels)
        save(root / mask.format(name), paint(truth))
    return root


def volume(path: Path, voxels: np.ndarray) -> None:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 1.0, 3.0, 1.0])), path)


def organs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and a label map of the numbers 1 and 2."""
    image, masks, _ = bodies(seed)
    return image, (masks[0] + 2 * masks[1] * (masks[0] == 0)).astype(np.uint8)


# ---- pictures


def drive(root: Path) -> None:
    field = cv2.circle(np.zeros((96, 96), np.uint8), (48, 48), 44, 255, -1)
    for side, numbers, observers in (("training", range(21, 27), ("1st",)), ("test", (1, 2), ("1st", "2nd"))):
        for number in numbers:
            name = f"{number:02d}"
            for position, each in enumerate(observers, start=1):
                truth = pair(
                    root / side,
                    number,
                    f"images/{name}_{side}.tif",
                    f"{each}_manual/{name}_manual{position}.gif",
                    (96, 96),
                )
                assert truth.any()
            save(root / side / f"mask/{name}_{side}_mask.gif", field)


def stare(root: Path) -> None:
    for number in range(6):
        pixels, truth = blobs(number)
        save(root / f"stare-images/im{number:04d}.ppm", pixels)
        save(root / f"labels-ah/im{number:04d}.ah.ppm", np.repeat(truth[..., None], 3, axis=2))
        wider = cv2.dilate(truth, np.ones((3, 3), np.uint8))
        save(root / f"labels-vk/im{number:04d}.vk.ppm", np.repeat(wider[..., None], 3, axis=2))


def isic(root: Path) -> None:
    for number in range(6):
        pair(root, number, f"ISIC_{number:07d}.jpg", f"ISIC_{number:07d}_segmentation.png")


def cityscapes(root: Path) -> None:
    for first, (side, towns) in enumerate((("train", ("aachen", "bremen")), ("val", ("ulm",)), ("test", ("bonn",)))):
        for second, town in enumerate(towns):
            for number in range(2):
                image, truth = street(20 * first + 10 * second + number, (48, 64))
                stem = f"{side}/{town}/{town}_{number:06d}_000019"
                truth[8:18] = 4
                truth = np.zeros_like(truth) + 3 if side == "test" else truth
                save(root / f"leftImg8bit/{stem}_leftImg8bit.png", image)
                save(root / f"gtFine/{stem}_gtFine_labelIds.png", IDS[truth])
                save(root / f"gtFine/{stem}_gtFine_color.png", COLOURS[truth])
                save(root / f"gtFine/{stem}_gtFine_instanceIds.png", (IDS[truth].astype(np.uint16) * 1000))
                (root / f"gtFine/{stem}_gtFine_polygons.json").write_text("{}")


def ade20k(root: Path) -> None:
    for side, short, count in (("training", "train", 5), ("validation", "val", 2)):
        for number in range(count):
            image, truth = street(number + 10 * count, (48, 64))
            save(root / f"images/{side}/ADE_{short}_{number:08d}.jpg", image)
            save(root / f"annotations/{side}/ADE_{short}_{number:08d}.png", truth + np.uint8(1))
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tName\n1\t0.3\tsky\n")


def voc(root: Path) -> None:
    palette = [value for number in range(256) for value in (number * 5 % 256, number * 91 % 256, 255 - number)]
    names = [f"2007_{number:06d}" for number in range(8)]
    for number, name in enumerate(names):
        image, truth = blobs(number)
        save(root / f"JPEGImages/{name}.jpg", image)
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{name}.xml").write_text("<annotation/>")
        if number == 7:
            continue  # an image for detection alone
        border = cv2.dilate(truth, np.ones((3, 3), np.uint8)) - truth
        for folder, value in (("SegmentationClass", (15, 7)[number % 2]), ("SegmentationObject", 1)):
            numbers = np.where(truth > 0, value, 0).astype(np.uint8)
            numbers[border > 0] = 255
            picture = Image.fromarray(numbers, mode="P")
            picture.putpalette(palette)
            (root / folder).mkdir(exist_ok=True)
            picture.save(root / folder / f"{name}.png")
    lists = {"Main": (names[:6], names[6:]), "Segmentation": (names[:5], names[5:7])}
    for task, sides in lists.items():
        (root / "ImageSets" / task).mkdir(parents=True)
        for side, members in zip(("train", "val"), sides, strict=True):
            (root / "ImageSets" / task / f"{side}.txt").write_text("\n".join(members) + "\n")
        (root / "ImageSets" / task / "trainval.txt").write_text("\n".join([*sides[0], *sides[1]]) + "\n")


def kvasir(root: Path) -> None:
    for number in range(6):
        pair(root, number, f"images/cju{number}x.jpg", f"masks/cju{number}x.jpg", (96, 96))
    (root / "kavsir_bboxes.json").write_text("{}")


def pets(root: Path) -> None:
    for number in range(6):
        pixels, truth = blobs(number)
        name = f"{('Abyssinian', 'beagle')[number % 2]}_{number}"
        trimap = np.full(truth.shape, 2, np.uint8)
        trimap[cv2.dilate(truth, np.ones((3, 3), np.uint8)) > 0] = 3
        trimap[truth > 0] = 1
        save(root / f"images/{name}.jpg", pixels)
        save(root / f"annotations/trimaps/{name}.png", trimap)
        (root / "annotations/trimaps" / f"._{name}.png").write_bytes(b"rest of a Mac")
    lines = [f"{('Abyssinian', 'beagle')[number % 2]}_{number} 1 1 1" for number in range(6)]
    (root / "annotations/trainval.txt").write_text("\n".join(lines))


def monuseg(root: Path) -> None:
    for number in range(5):
        rng = np.random.default_rng(number)
        numbers = np.zeros((64, 64), np.uint16)
        for each in range(9 + number):
            top, left = 12 * (each // 5) + 1, 12 * (each % 5) + 1
            numbers[top : top + 8, left : left + 8] = each + 1
        image = (rng.normal(180, 12, (64, 64, 3)) - 90 * (numbers[..., None] > 0)).clip(0, 255).astype(np.uint8)
        save(root / f"Tissue Images/TCGA-A{number}-01Z.tif", image)
        save(root / f"Labels/TCGA-A{number}-01Z.png", numbers)
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/TCGA-A{number}-01Z.xml").write_text("<Annotations/>")


def carvana(root: Path) -> None:
    for car in range(3):
        for view in (1, 2):
            pair(root, 2 * car + view, f"train/car{car}x_{view:02d}.jpg", f"train_masks/car{car}x_{view:02d}_mask.gif")
    save(root / "test/z_01.jpg", blobs(9)[0])


def cases(root: Path) -> None:
    for number in range(6):
        pair(root, number, f"case_{number:02d}/image.png", f"case_{number:02d}/mask.png")


def bowl(root: Path) -> None:
    for number in range(6):
        name = f"{number:02d}f3a9"
        pixels, _ = blobs(number)
        save(root / f"{name}/images/{name}.png", np.dstack([pixels, np.full((48, 48), 255, np.uint8)]))
        for each in range(2 + number % 3):
            mask = np.zeros((48, 48), np.uint8)
            mask[4 + 12 * each : 12 + 12 * each, 5:20] = 255
            save(root / f"{name}/masks/{each}b7{number}.png", mask)


def clips(root: Path) -> None:
    for clip in range(4):
        for frame in range(3):
            name = f"{frame:04d}.png"
            pair(root, 3 * clip + frame, f"clip{clip}/images/{name}", f"clip{clip}/masks/{name}")


# ---- volumes


def lits(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        voxels = (image * 1500 - 1000).astype(np.int16)
        voxels[0, 0, 0] = -1000
        volume(root / f"volume-{number}.nii", voxels)
        volume(root / f"segmentation-{number}.nii", labels)


def brats(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        name = f"BraTS20_Training_{number:03d}"
        for position, kind in enumerate(("flair", "t1", "t1ce", "t2")):
            volume(root / name / f"{name}_{kind}.nii.gz", (image * (400 + 50 * position)).astype(np.int16))
        volume(root / name / f"{name}_seg.nii.gz", labels * labels)
    (root / "name_mapping.csv").write_text("Grade,BraTS_2020_subject_ID\nHGG,BraTS20_Training_000\n")


def brats18(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        name = f"Brats18_{number:03d}_1"
        folder = root / ("HGG", "LGG")[number % 2] / name
        for kind in ("flair", "t1"):
            volume(folder / f"{name}_{kind}.nii.gz", (image * (400 + 50 * len(kind))).astype(np.int16))
        volume(folder / f"{name}_seg.nii.gz", labels)


def kits(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        volume(root / f"case_{number:05d}/imaging.nii.gz", (image * 300).astype(np.int16))
        volume(root / f"case_{number:05d}/aggregated_AND_seg.nii.gz", labels)
        volume(root / f"case_{number:05d}/aggregated_MAJ_seg.nii.gz", labels)


def sides_of_cases(root: Path) -> None:
    for side, first, count in (("train", 0, 4), ("val", 4, 2)):
        for number in range(first, first + count):
            pair(root, number, f"{side}/p{number}/photo.jpg", f"{side}/p{number}/truth.png")


def acdc(root: Path) -> None:
    for patient in range(1, 5):
        name = f"patient{patient:03d}"
        for frame in (1, 8 + patient):
            image, labels = organs(20 * patient + frame)
            volume(root / name / f"{name}_frame{frame:02d}.nii.gz", (image * 300).astype(np.int16))
            volume(root / name / f"{name}_frame{frame:02d}_gt.nii.gz", labels)
        film = np.stack([(organs(each)[0] * 300).astype(np.int16) for each in (patient, patient + 7)], axis=-1)
        volume(root / name / f"{name}_4d.nii.gz", film)
        (root / name / "Info.cfg").write_text("ED: 1\n")


def decathlon(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        volume(root / f"imagesTr/BRATS_{number:03d}.nii.gz", np.stack([image, image * 2], axis=-1))
        volume(root / f"labelsTr/BRATS_{number:03d}.nii.gz", labels)
        (root / f"imagesTr/._BRATS_{number:03d}.nii.gz").write_bytes(b"rest of a Mac")
    volume(root / "imagesTs/BRATS_090.nii.gz", np.stack([organs(90)[0]] * 2, axis=-1))
    about = {"labels": {"0": "background", "1": "edema", "2": "tumour"}, "modality": {"0": "FLAIR", "1": "T1w"}}
    (root / "dataset.json").write_text(json.dumps(about))


def nnunet(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        volume(root / f"imagesTr/case_{number:03d}_0000.nii.gz", image)
        volume(root / f"imagesTr/case_{number:03d}_0001.nii.gz", image * 2)
        volume(root / f"labelsTr/case_{number:03d}.nii.gz", labels)
    volume(root / "imagesTs/case_090_0000.nii.gz", organs(90)[0])
    labels = {"background": 0, "ball": 1, "box": 2}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "T1", "1": "T2"}}))


def stack(path: Path, voxels: np.ndarray) -> None:
    """Write the pages of a TIFF file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, voxels, photometric="minisblack")


def stacks(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        stack(root / f"s{number}.tif", (image * 200).clip(0, 255).astype(np.uint8))
        stack(root / f"s{number}_mask.tif", labels)


def stack_folders(root: Path) -> None:
    for number in range(4):
        image, labels = organs(number)
        stack(root / f"{number:04d}/raw.tif", (image * 200).clip(0, 255).astype(np.uint8))
        stack(root / f"{number:04d}/mask.tif", (labels > 0).astype(np.uint8) * np.uint8(255))
