"""One component of each kind, of the user's own, in one file each; and an experiment that chooses all of them."""

from pathlib import Path

from factories import experiment, write_experiment, write_folders

CODE = {
    "net": """
from torch import nn

class Thin(nn.Module):
    def __init__(self, in_channels, num_classes, width=3):
        super().__init__()
        self.body = nn.Conv2d(in_channels, width, 3, padding=1)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, image):
        return {"out": self.head(self.body(image).relu())}
""",
    "loss": """
import torch
from torch import nn

class Sharp(nn.Module):
    def __init__(self, alpha=0.5):
        super().__init__()
        self.alpha = alpha

    def forward(self, logits, target, valid):
        wrong = ((logits.sigmoid() - target).abs() ** (1 + self.alpha)) * valid
        return wrong.sum() / valid.expand_as(wrong).sum().clamp(min=1)
""",
    "metric": """
def overlap(prediction, truth, power=1):
    union = (prediction | truth).sum()
    return float("nan") if union == 0 else float(((prediction & truth).sum() / union) ** power)
""",
    "optimizer": """
import torch

class Walk(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.5):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["count"] = state.get("count", 0) + 1
                state["mean"] = state.get("mean", torch.zeros_like(p)) * group["momentum"] + p.grad
                p.sub_(state["mean"], alpha=group["lr"] / state["count"] ** 0.5)
""",
    "scheduler": """
def ramp(progress, low=0.1):
    return 1 - (1 - low) * progress
""",
    "augmentation": """
class Dim:
    def __init__(self, least):
        self.least = least

    def __call__(self, image, maps, rng):
        return (image * rng.uniform(self.least, 1.0)).astype(image.dtype), maps
""",
    "layout": """
from segcli.datasets.image_folders import ImageFolders

class Renamed(ImageFolders):
    class Config(ImageFolders.Config):
        note: str = ""
""",
    "tracker": """
class Lines:
    def __init__(self, folder, file="lines.txt"):
        self.path = folder / file

    def scalars(self, values, step):
        with self.path.open("a") as file:
            file.write(f"{step} {sorted(values)}\\n")
""",
}
NAMES = {
    "net": "Thin",
    "loss": "Sharp",
    "metric": "overlap",
    "optimizer": "Walk",
    "scheduler": "ramp",
    "augmentation": "Dim",
    "layout": "Renamed",
    "tracker": "Lines",
}
"""File -> class or function in it."""


EVIL = f"import pathlib\npathlib.Path('ran').touch()\n{''.join(CODE.values())}"
"""Every component, in a file that leaves a trace when it runs."""


def named(kind: str) -> str:
    """Name of a component as the user types it."""
    return f"{kind}.py:{NAMES[kind]}"


def write_own(folder: Path) -> Path:
    """Write the data, `mine/*.py` and the experiment `mine/all.yaml`, which chooses every kind; returns its path."""
    mine = folder / "mine"
    mine.mkdir()
    for kind, code in CODE.items():
        (mine / f"{kind}.py").write_text(code)
    values = experiment(
        write_folders(folder / "data", {"train": 2, "val": 1, "test": 1}),
        name="all",
        model={"type": named("net"), "width": 2},
        dataset__format=named("layout"),
        dataset__note="mine",
        data__augmentation={"transforms": [{"type": named("augmentation"), "least": 0.5}]},
        training__epochs=2,
        training__loss={"type": named("loss"), "alpha": 0.3},
        training__metrics=["dice", {"type": named("metric"), "power": 2}],
        training__optimizer={"type": named("optimizer"), "learning_rate": 0.05},
        training__scheduler={"type": named("scheduler"), "low": 0.5},
        logging__trackers=[{"type": named("tracker"), "file": "told.txt"}],
        checkpoint__save_every=1,
    )
    return write_experiment(mine / "all.yaml", values)
