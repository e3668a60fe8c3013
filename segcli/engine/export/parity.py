"""Whether an exported network gives what the original gives, tried in a process of its own.

The process knows the file and nothing else: `python -m segcli.engine.export.parity FILE KIND INPUTS.npz OUTPUTS.npz`
loads no network of segcli, and no PyTorch for ONNX.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import CheckpointError
from segcli.core.types import Array
from segcli.engine.export.description import Difference
from segcli.engine.export.formats import Format
from segcli.engine.export.portable import open_portable

__all__ = ["Tried", "compared", "run_in_fresh_process"]


@dataclass(frozen=True)
class Tried:
    """An input that both networks are given."""

    name: str
    """`random`, or the file that it is cut from."""
    image: Array
    """As the exported network takes it."""


def compared(
    tried: Sequence[Tried],
    expected: Sequence[dict[str, Array]],
    found: Sequence[dict[str, Array]],
    probabilities: Callable[[Array], Array],
    output: str = "mask",
) -> list[Difference]:
    """Differences of each input.

    Args:
        tried: The inputs.
        expected: Outputs of the original by name, for each input.
        found: Outputs of the exported network.
        probabilities: From raw outputs of the mask, or of the class.
        output: Name of those.
    """
    rows = []
    for entry, before, after in zip(tried, expected, found, strict=True):
        original, exported = before[output], after[output]
        likely = [float(np.abs(probabilities(original) - probabilities(exported)).max())]
        if "probabilities" in before:
            likely.append(float(np.abs(before["probabilities"] - after["probabilities"]).max()))
        raw = [name for name in before if name != "probabilities"]
        rows.append(
            Difference(
                input=entry.name,
                shape=list(entry.image.shape),
                logits=float(max(np.abs(before[name] - after[name]).max() for name in raw)),
                largest_logit=float(max(np.abs(before[name]).max() for name in raw)),
                probabilities=float(np.max(likely)),
            )
        )
    return rows


def run_in_fresh_process(path: Path, kind: Format, tried: Sequence[Tried]) -> list[dict[str, Array]]:
    """Outputs of the file for each input, by name.

    Raises:
        CheckpointError: The file does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        images: dict[str, Any] = {str(index): entry.image for index, entry in enumerate(tried)}
        np.savez(inputs, **images)
        # -P: nothing is imported from the working folder, which may be a stranger's
        module = "segcli.engine.export.parity"
        command = [sys.executable, "-P", "-W", "ignore", "-m", module, path, kind, inputs, outputs]
        paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}  # a checkout need not be installed
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise CheckpointError(
                f"the exported network does not run ({reason[:200]})", hint="try another `--format`; nothing was kept"
            )
        found: list[dict[str, Any]] = [{} for _ in tried]
        with np.load(outputs) as arrays:
            for key in arrays.files:
                index, _, name = key.partition("/")
                found[int(index)][name] = arrays[key]
    return found


def _main(path: str, kind: Any, inputs: str, outputs: str) -> None:
    network = open_portable(Path(path), kind)
    with np.load(inputs) as images:
        found: dict[str, Any] = {
            f"{key}/{name}": values for key in images.files for name, values in network(images[key]).items()
        }
    if kind == "onnx" and "torch" in sys.modules:
        raise RuntimeError("PyTorch was loaded to run an ONNX file")
    np.savez(outputs, **found)


if __name__ == "__main__":
    _main(*sys.argv[1:])
