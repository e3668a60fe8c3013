"""Memory of the processes that read volumes of TIFF slices."""

import json
import subprocess
import sys

import yaml
from factories import write_nuclei

MEASURED = """
import json
import sys
from pathlib import Path

import psutil

from segcli.config.load import load_dataset
from segcli.data.loader import TrainLoader
from segcli.data.pipeline import Pipeline
from segcli.data.settings import DataSettings

made = load_dataset(Path(sys.argv[1]), whole_run=False).build()
pipeline = Pipeline(DataSettings(batch_size=10, num_workers=2), made.spec, stride=1)
loader = TrainLoader(made, pipeline, made.all_cases("train"), seed=0, pin_memory=False)
taken = []
for number, _ in enumerate(loader.epoch(0)):
    if number in (9, 49):
        taken.append([psutil.Process(worker.pid).memory_full_info().uss for worker in loader.workers])
loader.close()
print(json.dumps(taken))
"""
"""Run in a process of its own: workers copy what other tests have left when they touch it."""


def test_memory_stays_flat_while_two_workers_read_many_volumes(tmp_path):
    size = (8, 64, 64)  # a crop takes 64 KiB, all volumes 31 MiB
    root = write_nuclei(tmp_path / "data", 500, size=size, stack=True)
    keys = {"crop_size": list(size), "cache_volumes": 10, "split": {"val": None}}
    config = tmp_path / "set.yaml"
    config.write_text(yaml.safe_dump({"format": "tiff_volumes", "paths": {"root": str(root)}, **keys}))
    command = [sys.executable, "-c", MEASURED, str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    taken = json.loads(ended.stdout)
    growth = max(after - before for before, after in zip(*taken, strict=True))
    assert growth < 8 * 2**20, taken  # 200 volumes more in each worker would be 12 MiB
