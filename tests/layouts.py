"""Layouts of data sets that tests write or plan, and what they hold."""

import yaml

from segcli.config.load import dataset_from_values, load_dataset


def built(workplace, /, **keys):
    """Write a data-set file of the folder `data` with these keys, and make the layout that it describes."""
    file = workplace / "set.yaml"
    file.write_text(yaml.safe_dump({"paths": {"root": "data"}, **keys}))
    return load_dataset(file, whole_run=False).build()


def read(found):
    """Return the layout of the keys that were recognised, and the cases of both splits."""
    layout = dataset_from_values({"name": "x", **found.keys}, source="a test").build()
    return layout, [case for split in ("train", "val") for case in layout.cases(split)]


def findings_of(layout):
    """Return the findings of both splits in headers, each once."""
    return list(dict.fromkeys(finding for split in ("train", "val") for finding in layout.inspect(split)))
