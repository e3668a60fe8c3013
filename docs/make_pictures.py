"""Make the pictures of README and documentation: terminals, reports and overlays, from generated data.

Run `python docs/make_pictures.py` (about five minutes on two cores). With `--work FOLDER` the trainings are kept and
used again. Reports need Chromium or Chrome; without one, their pictures stay as they are.
"""

import argparse
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS, ROWS = 80, 50
LARGEST_KB = 150
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SEGCLI = [sys.executable, "-m", "segcli"]
EXP = "configs/exp.yaml"
SCENES = """\
name: scenes
dataset: configs/datasets/scenes_sample.yaml
data: {batch_size: 4, image_size: [192, 256], augmentation: street}
model: {type: unet, depths: [12, 24, 48, 96]}
training:
  epochs: 20
  optimizer: {type: adamw, learning_rate: 0.004}
  scheduler: {type: one_cycle}
  loss: {cross_entropy: 1.0, dice: 0.5}
  metrics: [mean_iou]
"""
ORGANS = "configs/experiments/organs_sadaan.yaml"
NUCLEI = "configs/experiments/nuclei_vgg3d.yaml"
PALETTES = (Image.Quantize.MEDIANCUT, Image.Quantize.FASTOCTREE)
"""Ways to choose 256 colours: the second one makes smaller files of pictures with noise."""
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for data and trainings, which are used again")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (chosen.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        os.chdir(work)
        if not Path("configs").exists():
            shutil.copytree(ROOT / "configs", "configs")
        os.environ["PYTHONPATH"] = str(ROOT)
        vessels()
        scenes()
        organs()
        nuclei()


# ---- what is shown


def vessels() -> None:
    """Show training and evaluation of vessels: two terminals, and a report on two screens."""
    sample("vessels")
    screens = list(watch("train", EXP, "--overwrite"))
    terminal("terminal_train.svg", f"segcli train {EXP}", screens[len(screens) * 4 // 5])
    *_, scores = watch("eval", "exp")
    terminal("terminal_eval.svg", "segcli eval exp", scores)
    report = Path("outputs/tests/exp/report.html")
    photograph("report.png", report, 1200, 1500)
    photograph("report_phone.png", report, 390, 1150)


def scenes() -> None:
    """Show a predicted scene."""
    Path("scenes.yaml").write_text(SCENES)
    if not Path("outputs/experiments/scenes/report.html").exists():
        sample("scenes")
        run("train", "scenes.yaml", "--overwrite")
    run("predict", "data/scenes_sample/Images/Video_004", "--run", "scenes", "--overlay", "--overwrite")
    save("overlay_scene.png", Image.open("outputs/predictions/scenes/0003_overlay.png"))


def organs() -> None:
    """Show the planes of a predicted volume."""
    if not Path("outputs/experiments/organs_sadaan/report.html").exists():
        sample("organs")
        run("train", ORGANS, "--overwrite")
    run("predict", "data/organs_sample/test.h5", "--run", "organs_sadaan", "--overlay", "--overwrite")
    save("overlay_volume.png", Image.open("outputs/predictions/organs_sadaan/test_0000_overlay.png"))


def nuclei() -> None:
    """Show the confusion matrix of classified nuclei."""
    sample("nuclei")
    run("train", NUCLEI, "name=nuclei", "dataset=data/nuclei_sample/dataset.yaml", "--overwrite")
    run("eval", "nuclei")
    save("confusion_matrix.png", Image.open("outputs/tests/nuclei/confusion_matrix.png"))


def sample(kind: str) -> None:
    """Generate a sample data set, unless it is there."""
    if not Path("data", f"{kind}_sample").exists():
        run("data", "sample", kind)


def run(*words: str) -> None:
    """Run a command of segcli."""
    subprocess.run([*SEGCLI, *words], check=True)


# ---- terminals


def watch(*words: str) -> Iterator[list[str]]:
    """Run a command of segcli in a terminal of 80 columns, and give its screen after each output."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "CI")}
    environment = {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen([*SEGCLI, *words], stdin=inner, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    written = b""
    while True:
        try:
            more = os.read(outer, 1 << 16)
        except OSError:  # the terminal is closed
            break
        if not more:
            break
        written += more
        yield screen(written.decode(errors="ignore"))
    os.close(outer)
    if process.wait():
        raise SystemExit(f"failed: segcli {' '.join(words)}\n{written.decode(errors='ignore')}")


def screen(written: str) -> list[str]:
    r"""Return the lines that a terminal shows, with their colours.

    Example:
        >>> screen("one\n50 %\r100 %\ntwo\n\x1b[1A\x1b[2Kthree")
        ['one', '100 %', 'three']
    """
    lines, row, is_new = [""], 0, False
    for found in CONTROL.finditer(written):
        text, (count, order) = found[0], (found[1], found[2])
        if text == "\r":
            is_new = True
        elif text == "\n":
            row, is_new = row + 1, True
            lines += [""] * (row + 1 - len(lines))
        elif order == "A":
            row = max(row - int(count or 1), 0)
        elif order == "K":
            lines[row], is_new = "", False
        elif order in (None, "m"):
            lines[row], is_new = ("" if is_new else lines[row]) + text, False
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def terminal(name: str, command: str, lines: list[str]) -> None:
    """Write the picture of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(f"[bold green]$[/] [bold]{command}[/]")
    for line in lines:
        console.print(Text.from_ansi(line), overflow="fold")
    picture = console.export_svg(title="segcli", unique_id=Path(name).stem.replace("_", "-"))
    own_font = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # nothing is loaded from elsewhere
    (IMAGES / name).write_text(re.sub(r"[ \t]+$", "", own_font, flags=re.MULTILINE))
    print(f"wrote {IMAGES / name}")


# ---- pictures


def photograph(name: str, page: Path, width: int, height: int) -> None:
    """Take a picture of a page in a browser, if there is one."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no Chromium or Chrome: {name} stays as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
        ]
        size = [f"--window-size={width},{height}", "--blink-settings=preferredColorScheme=1"]
        place = [f"--user-data-dir={folder}/profile", f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run([browser, *options, *size, *place], check=True, capture_output=True, timeout=120)
        save(name, Image.open(shot))


def save(name: str, picture: Image.Image) -> None:
    """Save a picture with a palette, reduced until it is small enough."""
    full, scale = picture.convert("RGB"), 1.0
    while True:
        size = (round(full.width * scale), round(full.height * scale))
        tries = [_with_palette(full.resize(size, Image.Resampling.LANCZOS), method) for method in PALETTES]
        fitting = [(small, buffer) for small, buffer in tries if buffer.tell() < LARGEST_KB * 1000]
        if fitting:
            small, buffer = fitting[0]
            break
        scale *= 0.93
    assert np.asarray(small.convert("L")).std() > 5, f"{name} is empty"
    (IMAGES / name).write_bytes(buffer.getvalue())
    print(f"wrote {IMAGES / name}, {size[0]}x{size[1]}, {buffer.tell() // 1000} kB")


def _with_palette(picture: Image.Image, method: Image.Quantize) -> tuple[Image.Image, io.BytesIO]:
    small, buffer = picture.quantize(256, method=method, dither=Image.Dither.NONE), io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return small, buffer


if __name__ == "__main__":
    main()
