"""Layouts of data sets in the folder `data` of a test's working folder, and what their checks find."""

import yaml

from segcli.config.load import load_dataset


def built(workplace, /, **keys):
    """Write a data-set file with these keys, and make the layout that it describes."""
    file = workplace / "set.yaml"
    file.write_text(yaml.safe_dump({"paths": {"root": "data"}, **keys}))
    return load_dataset(file, whole_run=False).build()


def findings_of(layout):
    """Return the findings of both splits in headers, each once."""
    return list(dict.fromkeys(finding for split in ("train", "val") for finding in layout.inspect(split)))
