"""Make the page of transcripts: the commands of the start pages on real data, and what they print at 80 columns.

Run `python docs/make_transcripts.py --data FOLDER` (about ten minutes on two cores). FOLDER holds `chase_db1`,
`camvid_sequences`, `hippocampus`, `nuclei_tiff` and `em_membrane`, which `configs/datasets` describe. They are copied,
because a training writes the split beside the images. `--only NAME` makes one transcript and prints it.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from make_pictures import ROOT, watch

PAGE = ROOT / "docs" / "transcripts.md"
EPOCHS = "training.epochs=3"
FIRST, LAST = 24, 14
"""Lines of a longer output that are shown."""
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TOP = """\
# Transcripts

The commands of the five start pages, typed by a new user: an empty folder, a fresh environment with
`pip install '.[export,medical]'`, real data, a terminal of 80 columns. Only the paths, the classes and the
pattern of `group` were adapted, and one hint of `data check` was followed.
Each training has three epochs only, so the scores show nothing about accuracy.
`[…]` marks lines that are left out.

`python docs/make_transcripts.py --data FOLDER` made this page on {day} with segcli {segcli}, PyTorch {torch} and Python
{python}, on {cores} cores ({processor}) without a GPU.
"""


@dataclass(frozen=True)
class Way:
    """One start page on one data set."""

    name: str
    title: str
    data: str
    files: dict[str, str]
    new: tuple[str, ...]
    """Files of the data that are predicted as new ones; none to predict the folder of the data."""
    options: tuple[str, ...] = ()
    """Options of `predict` on the page."""
    after_check: tuple[str, str, str] | None = None
    """File, line and new line: what the hint of `data check` says."""


FUNDUS = Way(
    "fundus",
    "Fundus photographs: CHASE_DB1",
    "chase_db1",
    {
        "fundus.yaml": r"""name: fundus
paths: {root: chase_db1}
image_folder: images
label_folder: 1stHO
label_suffix: _1stHO
fov_folder: fov
split: {by: fraction, val: 0.25, test: 0.25, group: '^Image_(\d+)'}
""",
        "fundus_unet.yaml": """name: fundus_unet
dataset: fundus.yaml
data: {batch_size: 4, patch_size: [256, 256], patches_per_image: 4, augmentation: medium}
model: {type: unet, depths: [16, 32, 64, 128]}
training:
  epochs: 100
  loss: {bce: 0.5, dice: 0.5}
  metrics: [dice, auc]
""",
    },
    ("images/Image_01L.jpg", "images/Image_01R.jpg"),
    ("--overlay",),
)
FRAMES = Way(
    "frames",
    "Frames of a dash cam: CamVid",
    "camvid_sequences",
    {
        "my_roads.yaml": """name: my_roads
format: sequences
paths: {root: camvid_sequences}
classes_file: classes.csv
ignore: [void]
split: {val: 0.1, test: 0.2}
""",
        "roads_unet.yaml": """name: roads_unet
dataset: my_roads.yaml
data: {batch_size: 2, image_size: [96, 128], augmentation: street}
model: {type: unet, depths: [16, 32, 64, 128]}
training:
  epochs: 60
  loss: {type: cross_entropy, class_weights: median_frequency}
  metrics: [mean_iou]
inference: {undo_class_weights: 0.5}
""",
    },
    ("Images/Video_0006R0/0006R0_f00930.jpg", "Images/Video_0006R0/0006R0_f01020.jpg"),
    ("--overlay", "--video", "drive.mp4", "--fps", "15"),
)
VOLUMES = Way(
    "volumes",
    "MR volumes: the hippocampus of the Medical Segmentation Decathlon",
    "hippocampus",
    {
        "hippocampus.yaml": """name: hippocampus
format: nifti_volumes
paths: {root: hippocampus}
num_channels: 1
classes: [anterior, posterior]
numbers: [1, 2]
split: {val: 0.25, test: 0.25, seed: 0}
""",
        "hippocampus_unet.yaml": """name: hippocampus_unet
dataset: hippocampus.yaml
data:
  batch_size: 2
  patch_size: [32, 32, 32]
  augmentation: {preset: light, rotation_degrees: 8}
  preprocessing: {normalize: per_image}
model: {type: unet, depths: [12, 24, 48]}
training:
  epochs: 60
  loss: {bce: 0.5, dice: 0.5}
  metrics: [dice, presence_accuracy]
""",
    },
    ("imagesTr/hippocampus_001.nii.gz",),
    ("--overlay",),
)
NUCLEI = Way(
    "nuclei",
    "Nuclei with classes: TIFF slices of StarDist's sample data",
    "nuclei_tiff",
    {
        "my_nuclei.yaml": """name: my_nuclei
format: tiff_volumes
paths: {root: nuclei_tiff}
crop_size: [32, 64, 64]
margin: [0, 4, 4]
apply_mask: true
class_filter: [small, large]
sample_fraction: 1.0
cache_volumes: 10
split: {val: 0.2, test: 0.2}
""",
        "nuclei_vgg.yaml": """name: nuclei_vgg
dataset: my_nuclei.yaml
data:
  batch_size: 8
  augmentation: {preset: nuclei}
  preprocessing: {normalize: min_max}
model: {type: vgg3d, depths: [8, 16, 32], convolutions: 1, classifier_size: 64, dropout: 0.3}
training:
  epochs: 40
  loss: {type: cross_entropy, class_weights: inverse, label_smoothing: 0.05}
  metrics: [accuracy, f1]
""",
    },
    (),
    after_check=("my_nuclei.yaml", "crop_size: [32, 64, 64]", "crop_size: [16, 16, 16]"),
)
GREY = Way(
    "grey",
    "Grey images: electron microscopy of ISBI 2012",
    "em_membrane",
    {
        "cells.yaml": """name: cells
paths: {root: em_membrane}
num_channels: 1
split: {by: folders, val: 0.2}
""",
        "cells_unet.yaml": """name: cells_unet
dataset: cells.yaml
data: {batch_size: 4, patch_size: [192, 192], patches_per_image: 4, augmentation: medium}
model: {type: unet, depths: [16, 32, 64]}
training:
  epochs: 60
  loss: {bce: 0.5, dice: 0.5}
  metrics: [dice, iou]
  early_stopping: {enabled: true, patience: 15}
""",
    },
    ("test/image/25.png",),
    ("--overlay",),
)
WAYS = (FUNDUS, FRAMES, VOLUMES, NUCLEI, GREY)


def main() -> None:
    """Walk the ways and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the five data sets")
    parser.add_argument("--only", choices=[way.name for way in WAYS], help="make one transcript and print it")
    chosen = parser.parse_args()
    data = chosen.data.resolve()
    parts = []
    for way in WAYS:
        if chosen.only in (None, way.name):
            with tempfile.TemporaryDirectory() as work:
                os.chdir(work)
                parts.append(transcript(way, data / way.data))
                os.chdir(ROOT)
    if chosen.only:
        print(parts[0])
    else:
        PAGE.write_text("\n".join([top(), *parts]))
        print(f"wrote {PAGE}")


def top() -> str:
    """Fill in when, and on which machine, the page was made."""
    return TOP.format(
        day=time.strftime("%d %B %Y").lstrip("0"),
        segcli=version("segcli"),
        torch=version("torch"),
        python=".".join(map(str, sys.version_info[:3])),
        cores=os.cpu_count(),
        processor=processor(),
    )


def processor() -> str:
    """Name the processor, as Linux knows it."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else "unknown"


def transcript(way: Way, data: Path) -> str:
    """Type the commands of a page in the working folder, which is empty."""
    shutil.copytree(data, way.data)
    lines = [f"$ ls {way.data}", "  ".join(some(sorted(path.name for path in data.iterdir())))]
    for name, text in way.files.items():
        Path(name).write_text(text)
        lines += [f"$ cat {name}", *text.splitlines()]
    experiment = list(way.files)[-1]
    run = experiment.removesuffix(".yaml")
    lines += typed("data", "check", experiment)
    if way.after_check is not None:
        lines += edited(*way.after_check)
        lines += typed("data", "check", experiment)
    lines += typed("data", "stats", experiment)
    lines += typed("profile-memory", experiment, "--vram", "8GiB")
    lines += typed("train", experiment, EPOCHS)
    lines += typed("eval", run)
    if way.new:
        Path("new").mkdir()
        for name in way.new:
            shutil.copy(Path(way.data, name), "new")
    lines += typed("predict", "new" if way.new else way.data, "--run", run, *way.options)
    lines += typed("export", run)
    return "\n".join(
        [f"## {way.title}", "", f"Page: [{way.name}](start/{way.name}.md)", "", "```console", *lines, "```", ""]
    )


def edited(name: str, before: str, after: str) -> list[str]:
    """Change a line of a file, as a user does who follows a hint."""
    file = Path(name)
    assert before in file.read_text(), f"`{name}` has no `{before}`"
    file.write_text(file.read_text().replace(before, after))
    key = re.escape(before.partition(":")[0])
    return [f"$ sed -i 's/^{key}:.*/{after}/' {name}"]


def typed(*words: str) -> list[str]:
    """Run a command in a terminal, and give what stands there at its end."""
    started = time.monotonic()
    *_, shown = watch(*words)
    printed = [CODES.sub("", line).rstrip() for line in shown]
    print(f"{time.monotonic() - started:5.0f} s  segcli {' '.join(words)}", file=sys.stderr)
    return [f"$ segcli {' '.join(words)}", *shortened(printed)]


def shortened(lines: list[str]) -> list[str]:
    """Leave out the middle of a long output.

    Example:
        >>> len(shortened(["line"] * 100)), shortened(["line"] * 100)[FIRST]
        (39, '[…]')
    """
    return lines if len(lines) <= FIRST + LAST + 2 else [*lines[:FIRST], "[…]", *lines[-LAST:]]


def some(names: list[str]) -> list[str]:
    """Leave out the middle of a long folder."""
    return names if len(names) <= 8 else [*names[:5], "[…]", *names[-2:]]


if __name__ == "__main__":
    main()
