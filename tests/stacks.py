"""A data set of nuclei in slices of TIFF, and what its checks find."""

import yaml

from segcli.config.load import load_dataset

SIZE = (8, 16, 16)


def layout(root, **keys):
    file = root.parent / "set.yaml"
    values = {"format": "tiff_volumes", "paths": {"root": str(root)}, "crop_size": list(SIZE), **keys}
    file.write_text(yaml.safe_dump(values))
    return load_dataset(file, whole_run=False).build()


def faults(root, split="train", **keys):
    return {finding.code: finding.message for finding in layout(root, **keys).inspect(split)}


def everywhere(root, **keys):
    return {**faults(root, "train", **keys), **faults(root, "val", **keys)}
