"""Every network for masks at its own size in every format: largest difference to the original on inputs of three sizes.

Each file is run in a process of its own, as `segcli export` does.

python benchmarks/export_parity.py [MODEL ...]
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from segcli import __version__
from segcli.core.registry import MODELS, TASKS
from segcli.core.types import IOSpec
from segcli.data.settings import DatasetSpec
from segcli.engine.export.description import Description
from segcli.engine.export.exporter import Exportable, write_file
from segcli.engine.export.formats import FORMATS
from segcli.engine.export.parity import Tried, compared, run_in_fresh_process

TOLERANCE = 1e-4
SIDE = {2: 128, 3: 32}
"""Pixels along the axes of the smallest input, in 2D and in 3D."""


def described(name: str, ndim: int, stride: int) -> Description:
    """What the file says of itself, as far as it matters here."""
    return Description(
        run=name,
        model=name,
        task="binary",
        epoch=0,
        ndim=ndim,
        in_channels=3,
        classes=[{"name": "foreground"}],
        input_name="image",
        input_dtype="float32",
        input_axes="BC" + "DHW"[-ndim:],
        outputs=["mask"],
        precision="float32",
        baked=False,
        stride=stride,
        multiple=stride,
        normalize=False,
        mean=None,
        std=None,
        threshold=0.5,
        tile=None,
        overlap=0.25,
        tta=False,
        scales=[1.0],
        postprocess={},
        dataset={"format": "image_folders", "num_channels": 3},
        preprocessing={},
        segcli=__version__,
    )


def main(names: list[str]) -> int:
    """Print a row for each file; the exit code tells whether all are within the tolerance."""
    task, worst = TASKS.load("binary")(DatasetSpec()), 0.0
    print("| network | axes | format | raw outputs differ by | of up to | probabilities differ by | s |")
    print("|---|---|---|---|---|---|---|")
    for name in names or MODELS.names():
        kind = MODELS.load(name)
        if "mask" not in kind.can_output:  # made for one size: `tests/engine/export/test_exporter.py`
            continue
        for ndim in kind.can_ndim:
            torch.manual_seed(0)
            network = kind(kind.Config(), io=IOSpec(ndim, 3, {"mask": 1})).eval()
            stride = network.stride
            unit = max(2 * stride, SIDE[ndim])
            sizes = [[unit + step * stride * axis for axis in range(ndim)] for step in (0, 1, 2)]
            rng = np.random.default_rng(0)
            tried = [
                Tried("random", rng.standard_normal((count, 3, *size), dtype=np.float32))
                for count, size in zip((1, 2, 1), sizes, strict=True)
            ]
            exportable = Exportable(network, task)
            with torch.inference_mode():
                expected = [{"mask": network(torch.from_numpy(entry.image))["mask"].numpy()} for entry in tried]
            for form in FORMATS.values():
                with tempfile.TemporaryDirectory() as folder:
                    start, path = time.perf_counter(), Path(folder) / f"{name}.{form}"
                    write_file(path, form, exportable, described(name, ndim, stride), tried[1].image)
                    elapsed_s = time.perf_counter() - start
                    found = run_in_fresh_process(path, form, tried)
                rows = compared(
                    tried,
                    expected,
                    found,
                    lambda logits: task.probabilities(torch.from_numpy(logits)).numpy(),
                    task.output,
                )
                logits, largest, probs = (
                    max(getattr(row, key) for row in rows) for key in ("logits", "largest_logit", "probabilities")
                )
                worst = max(worst, logits, probs)
                print(f"| {name} | {ndim} | {form} | {logits:.1e} | {largest:.1e} | {probs:.1e} | {elapsed_s:.0f} |")
                sys.stdout.flush()
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
