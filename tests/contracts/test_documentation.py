"""README and pages: what can be copied works, the generated pages are fresh."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from factories import blobs, bodies, street, write_folders, write_hdf5, write_nuclei

from segcli.cli.app import app
from segcli.cli.messages_page import KINDS, messages
from segcli.cli.reference import main, rendered
from segcli.core.strict_yaml import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUICK = ["data.num_workers=0", "training.epochs=1", "data.limit_batches=1", "device=cpu"]


def blocks(page: Path, language: str) -> list[str]:
    """Find the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """Find the commands of segcli, each as its words."""
    lines = [line for block in blocks(page, "sh") for line in re.sub(r"\\\n", "", block).splitlines()]
    parts = [part for line in lines for part in re.split(r"&&|[|>]", line.partition(" #")[0])]
    return [words[1:] for words in map(shlex.split, parts) if words[:1] == ["segcli"]]


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


# ---- every page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_can_be_typed(page):
    root = typer.main.get_command(app)
    for words in commands(page):
        command, context = root, typer.Context(root)
        rest = [word for word in words if word != "--completion"]
        while hasattr(command, "commands") and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        if rest != words and not hasattr(command, "commands"):
            command.make_context(" ".join(words), list(rest), parent=context)
        else:
            assert words[0] == "--completion", words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_yaml_of_a_page_can_be_read(page, workplace):
    from segcli.config.load import load_dataset, load_run

    named = [re.match(r"# (\S+\.yaml)", text) for text in blocks(page, "yaml")]
    for name, text in zip(named, blocks(page, "yaml"), strict=True):
        assert parse(text)
        if name:
            Path(name[1]).write_text(text)
    if not any(named):
        return
    write_hdf5(workplace / "data/organs")
    Path("configs").symlink_to(ROOT / "configs")
    nuclei()
    for name in ("train.txt", "val.txt"):
        Path("data/cells", name).parent.mkdir(exist_ok=True)
        Path("data/cells", name).write_text("001\n")
    for name, text in zip(named, blocks(page, "yaml"), strict=True):
        if name and re.search(r"^dataset:", text, re.MULTILINE):
            load_run(workplace / name[1])
        elif name:
            load_dataset(workplace / name[1], whole_run=False)


def test_the_generated_pages_are_fresh():
    assert main(["--check"]) == 0


def test_a_stale_page_is_noticed():
    page = (ROOT / "docs/reference/commands.md").read_text()
    assert rendered(page.replace("| `--overwrite` | Replace existing files. |", "")) == page


def test_the_page_of_messages_has_what_a_command_says(run_cli):
    said = run_cli("data", "check", "missing.yaml").err
    assert any(re.search(re.escape(message.text).replace("…", ".+"), said.replace("\n", " ")) for message in messages())


def test_the_page_of_messages_knows_every_kind_of_error():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "segcli").rglob("*.py"))
    kinds = re.findall(r"^class (\w+)\((\w+)\):", source, re.MULTILINE)
    assert [name for name, above in kinds if above in KINDS and name not in KINDS] == []


# ---- the pages of the first hour, walked
def fundus() -> None:
    for number in range(8):
        for side in ("left", "right"):
            image, mask = blobs(2 * number + (side == "right"))
            name = f"{number:02d}_{side}"
            write(Path(f"data/fundus/images/{name}.png"), image)
            write(Path(f"data/fundus/masks/{name}_vessels.png"), mask)
            write(Path(f"data/fundus/fov/{name}_fov.png"), np.full_like(mask, 255))
    write(Path("data/new/87_left.png"), image)


def frames() -> None:
    colours = np.array([(128, 64, 128), (128, 64, 128), (64, 0, 128), (0, 0, 0)], np.uint8)
    for clip in range(10):
        for number in range(2):
            image, truth = street(10 * clip + number)
            write(Path(f"data/roads/Images/Video_{clip:03d}/{number:04d}.png"), image)
            write(Path(f"data/roads/Labels/Video_{clip:03d}/{number:04d}.png"), colours[truth][:, :, ::-1])
    write(Path("data/new/0001.png"), image)


def volumes() -> None:
    import nibabel

    for folder in ("data/abdomen/images", "data/abdomen/labels", "data/new"):
        Path(folder).mkdir(parents=True)
    for index in range(8):
        image, masks, _ = bodies(index)
        kinds = {"images": image, "labels": (masks[0] + 2 * masks[1]).astype(np.uint8)}
        for folder, voxels in kinds.items():
            made = nibabel.Nifti1Image(voxels, np.diag([2.0, 1.0, 3.0, 1.0]))
            nibabel.save(made, f"data/abdomen/{folder}/case_{index:02d}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(image, np.diag([2.0, 1.0, 3.0, 1.0])), "data/new/case_90.nii.gz")


def nuclei() -> None:
    root = write_nuclei(Path("data/my_nuclei"), 16, size=(8, 24, 24))
    table = root / "classes.csv"
    table.write_text(table.read_text().replace("large", "healthy").replace("small", "senescent"))


def grey() -> None:
    write_folders(Path("data/cells"), {"train": 10, "test": 2}, channels=1)
    write(Path("data/new/901.png"), blobs(7, channels=1)[0])


SMALL = ["model.depths=[4,8]"]
WALKS: dict[str, tuple[Callable[[], None], list[str]]] = {
    "fundus": (fundus, [*SMALL, "data.patch_size=[32,32]"]),
    "frames": (frames, [*SMALL, "data.image_size=[24,32]"]),
    "volumes": (volumes, [*SMALL, "data.patch_size=[8,8,8]"]),
    "nuclei": (nuclei, SMALL),
    "grey": (grey, [*SMALL, "data.patch_size=[32,32]"]),
}


@pytest.mark.parametrize("name", WALKS)
def test_the_commands_of_a_start_page_work_as_they_stand(name, run_cli):
    page = ROOT / f"docs/start/{name}.md"
    make, small = WALKS[name]
    make()
    for text in blocks(page, "yaml"):
        Path(re.match(r"# (\S+)", text)[1]).write_text(text)
    block = next(block for block in blocks(page, "sh") if "data stats" in block)
    lines = [shlex.split(line.partition(" #")[0])[1:] for line in block.splitlines()]
    assert [words[0] for words in lines] == ["data", "data", "profile-memory", "train", "eval", "predict", "export"]
    for words in lines:
        if words[0] not in {"profile-memory", "export"}:  # these two have tests of their own, and take seconds
            result = run_cli(*words, *(small + QUICK if words[0] == "train" else []))
            assert result.code == 0, (words, result.out, result.err)
    experiment = lines[3][1].removesuffix(".yaml")
    assert Path(f"outputs/experiments/{experiment}/report.html").exists()
    assert Path(f"outputs/tests/{experiment}/report.html").exists()
    assert any(Path(f"outputs/predictions/{experiment}").iterdir())
