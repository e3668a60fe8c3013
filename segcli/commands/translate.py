"""Translate a config of an earlier pipeline: read it, check the result, write it down with what was remarked."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segcli.config.earlier.pipelines import PIPELINES
from segcli.config.earlier.reading import SCRIPTS, read_old
from segcli.config.earlier.translate import Translation, takes_mapping, translate
from segcli.config.earlier.work import Remark
from segcli.config.load import run_from_values
from segcli.core.errors import ConfigError, SegcliError
from segcli.core.files import plain, shown, typed, write_text, yaml_text
from segcli.core.names import printable
from segcli.core.paths import exists, expanded

__all__ = ["Translated", "translate_config"]

LONGEST = 160


@dataclass
class Translated:
    """Holds a translated config: its text, and what became of each old key."""

    source: Path
    translation: Translation
    experiment: str
    """Text of the experiment file; without files, with the data set in place."""
    dataset: str | None = None
    """Text of the data-set file, if there is one."""
    files: list[Path] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return everything for `--json`."""
        found = self.translation
        return {
            "source": str(self.source),
            "pipeline": found.pipeline,
            "translated": [
                {"old": change.old, "value": plain(change.value), "new": change.new, "note": change.note}
                for change in found.changes
                if change.new
            ],
            "left_out": _listed(found.left_out, "reason"),
            "to_decide": _listed(found.undecided, "question"),
            "config": found.values,
            "files": [shown(path) for path in self.files],
        }


def _listed(remarks: Sequence[Remark], word: str) -> list[dict[str, Any]]:
    return [{"key": remark.key, "value": plain(remark.value), word: remark.text} for remark in remarks]


def translate_config(
    source: Path, words: Sequence[str], *, pipeline: str | None, out: Path | None, overwrite: bool
) -> Translated:
    """Translate an old config, and the words of an old command.

    Args:
        source: Old config, or a script with the command.
        words: Words of the old command, which replace values of the config.
        pipeline: Name of the earlier pipeline; None recognises it.
        out: Experiment file to write, with a data-set file beside it; None writes nothing.
        overwrite: Replace these files.

    Raises:
        ConfigError: The old config cannot be read or is not recognised, or a file exists.
    """
    targets = [] if out is None else [out, out.with_name(f"{out.stem}_dataset.yaml")]
    if out is not None and out.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"`{out}` does not end in `.yaml`", hint="name the experiment file to write, such as `new.yaml`"
        )
    taken = [target for target in targets if exists(target) and not overwrite]
    if taken:
        raise ConfigError(f"`{shown(taken[0])}` exists", hint="replace it with `--overwrite`, or give another `--out`")
    old = read_old(source, words, takes_mapping)
    try:
        configs = [file for file in old.files if file.suffix.lower() not in SCRIPTS]
        found = translate(old, pipeline, (configs or old.files)[0].stem)
    except ConfigError as error:
        raise ConfigError(f"`{source}`: {error.message}", hint=error.hint) from None
    _check_folders(found)
    _check(found)
    result = Translated(source, found, "")
    if out is None:
        result.experiment = _text(source, found, found.values, "NEW.yaml")
        return result
    above = {key: value for key, value in found.values.items() if key != "dataset"}
    values = {"name": above.pop("name"), "dataset": targets[1].name, **above}
    result.experiment = _text(source, found, values, typed(out))
    result.dataset = f"# segcli data check {typed(targets[1])}\n{yaml_text(found.values['dataset'])}"
    for target, text in zip(targets, (result.experiment, result.dataset), strict=True):
        write_text(target, text)
        result.files.append(target)
    return result


def _check_folders(found: Translation) -> None:
    """Remark folders of the data that are not on this machine."""
    for key, folder in found.values["dataset"].get("paths", {}).items():
        try:
            there = exists(Path(expanded(str(folder))))
        except ValueError as error:
            found.undecided.append(Remark(f"dataset.paths.{key}", folder, str(error)))
            continue
        if not there:
            text = f"`{folder}` is not there, seen from the working folder: set it, or add `dataset.paths.{key}=FOLDER`"
            found.undecided.append(Remark(f"dataset.paths.{key}", folder, text))


def _check(found: Translation) -> None:
    """Remark what `train` would say of the result."""
    values = deepcopy(found.values)
    try:
        run_from_values(values, source="the translation")
    except SegcliError as error:
        first, *lines = [line.removeprefix("  - ").strip() for line in error.message.splitlines()]
        hints = [] if error.hint is None else [f"hint: {error.hint}"]
        said = [line.removeprefix("the translation").strip() for line in (lines or [first, *hints])]
        text = " ".join(f"({line.removeprefix('hint: ')})" if line.startswith("hint: ") else line for line in said)
        found.undecided.append(Remark("", None, text))


def _text(source: Path, found: Translation, values: dict[str, Any], name: str) -> str:
    """Write the experiment as YAML below what was remarked, all in comments."""
    pipeline = PIPELINES[found.pipeline].title.lower()
    lines = [
        f"# segcli train {name}",
        f"# Translated by `segcli config translate` from `{printable(str(source), LONGEST)}` ({pipeline}).",
    ]
    if found.undecided:
        lines += ["#", "# To decide or fill in:", *(_comment(_remark(remark)) for remark in found.undecided)]
    if found.left_out:
        lines += ["#", "# Without a counterpart:", *(_comment(_remark(remark)) for remark in found.left_out)]
    changed = [change for change in found.changes if change.new and change.new != change.old]
    if changed:
        lines += ["#", "# Translated:"]
        lines += [
            _comment(f"{change.old} -> {change.new}{f' ({change.note})' if change.note else ''}") for change in changed
        ]
    return "\n".join(lines) + f"\n\n{yaml_text(values)}"


def _remark(remark: Remark) -> str:
    value = "" if remark.value is None else f" = {printable(str(plain(remark.value)), 60)}"
    return f"{remark.key}{value}: {remark.text}" if remark.key else remark.text


def _comment(text: str) -> str:
    return f"# - {printable(text, 400)}"
