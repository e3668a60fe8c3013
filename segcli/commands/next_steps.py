"""The command that comes next, filled in: every one of them runs as it is printed."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path

from segcli.commands.answers import PREDICTIONS
from segcli.commands.locate import EXPORTS, FIRST, Located, locate_run
from segcli.config.document import read_document
from segcli.config.load import load_dataset, load_for_check, load_run
from segcli.config.overrides import parse_overrides
from segcli.config.schema import Run
from segcli.core.errors import ConfigError, SegcliError
from segcli.core.files import shown
from segcli.core.names import safe_name
from segcli.core.paths import OVERRIDE, escaped, is_file
from segcli.data.samples import example_of
from segcli.engine.export.formats import FORMATS
from segcli.report.results import Checked, CrossValidated, Evaluated, Exported, Predicted, Trained

__all__ = [
    "after_check",
    "after_eval",
    "after_export",
    "after_folds",
    "after_predict",
    "after_stats",
    "after_train",
    "train_again",
]

MOST_FILES = 200
"""YAML files that are searched for an experiment on a data set."""


def after_check(checked: Checked, config: Path, overrides: Sequence[str], run: Run | None) -> str | None:
    """Give the statistics of a data-set file, or the training of an experiment; nothing while there are errors."""
    if checked.has_errors:
        return None
    if run is None:
        return _command("data", "stats", _word(config), *overrides)
    return train_again(config, overrides, run)


def after_stats(config: Path, overrides: Sequence[str]) -> str | None:
    """Give the training of an experiment, or of the first one found that reads this data-set file."""
    of_data = [_of_experiment(text) for text in overrides]
    try:
        run = load_for_check(config, of_data)[1]
    except ConfigError:
        run = None
    if run is not None:
        return train_again(config, of_data, run)
    for experiment, more in _experiments_on(config):
        with suppress(SegcliError):
            return train_again(experiment, [*more, *of_data], load_run(experiment, [*more, *of_data]))
    return None


def train_again(config: Path, overrides: Sequence[str], run: Run) -> str:
    """Give the command that trains a run; it gets a free name where its folder holds a run already."""
    return _command("train", _word(config), *overrides, *_free_name(run))


def after_train(trained: Trained) -> str | None:
    """Give the scores of the run, or predictions where no split is left to score."""
    try:
        layout = load_dataset(trained.folder / "config.yaml", whole_run=False).build()
        scored = layout.has("test") or layout.has("val")
        example = None if scored else example_of(layout.cases("train"))
    except SegcliError:
        return None
    run = _run_word(trained.folder)
    if scored:
        return _command("eval", run)
    return None if example is None else _predict([shown(example)], trained.run, ["--run", run])


def after_folds(validated: CrossValidated) -> str:
    """Give the scores of the first fold."""
    return _command("eval", _run_word(validated.folds[0]))


def after_eval(done: Evaluated, located: Located, model_files: Sequence[Path]) -> str | None:
    """Give predictions of the images that were scored."""
    if done.example is None:
        return None
    network = ["--run", _located_word(located), *_model_files(model_files)]
    return _predict([shown(done.example)], f"{done.run}{located.mark}", network)


def after_predict(
    done: Predicted, inputs: Sequence[str], located: Sequence[Located], model_files: Sequence[Path]
) -> str | None:
    """Give the export of the network; nothing after failures, and for networks that are exported or averaged."""
    if done.failed or len(located) != 1:
        return None
    (run,) = located
    folder = EXPORTS / f"{done.run}{run.mark}"
    exported = folder / safe_name(f"{done.run}.onnx")
    if exported.exists():
        return _predict(inputs, done.run, ["--model", shown(exported)])
    portable = all(find_spec(package) for package in ("onnx", "onnxscript", "onnxruntime"))
    kind = [] if portable else ["--format", FORMATS[".torchscript"]]
    return _command("export", _located_word(run), *kind, *_model_files(model_files))


def after_export(done: Exported) -> str | None:
    """Give predictions with the exported file; nothing for formats that segcli does not read."""
    if done.format != "onnx" or done.example is None:
        return None
    return _predict([shown(done.example)], done.run, ["--model", shown(done.file)])


# ---- words of a command


def _command(*words: str) -> str:
    return shlex.join(["segcli", *words])


def _word(path: Path) -> str:
    """Write a path so that no command takes it for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _predict(inputs: Sequence[str], name: str, network: Sequence[str]) -> str:
    """Give a prediction; where the folder `name` holds results already, it gets a free one."""
    folder = PREDICTIONS / safe_name(name)
    out = ["--out", str(_free(folder))] if folder.exists() else []
    return _command("predict", *(_word(Path(text)) for text in inputs), *network, *out)


def _free(folder: Path) -> Path:
    """Number a folder so that it does not exist yet."""
    numbered = (folder.with_name(f"{folder.name}_{number}") for number in count(2))
    return next(each for each in numbered if not each.exists())


def _free_name(run: Run) -> list[str]:
    """Choose another name for a run if its folder holds a run."""
    from segcli.engine.runfolder import RunFolder  # noqa: PLC0415 - the step after a check is told without PyTorch

    if not RunFolder(run.folder).has_run():
        return []
    folder = _free(run.folder)
    name = f"{run.name}_{folder.name.rpartition('_')[2]}"
    return [f"name={name}", *([] if run.output.dir is None else [f"output.dir={escaped(Path(shown(folder)))}"])]


def _run_word(folder: Path) -> str:
    """Name a run by its name where that finds its folder, else by the folder."""
    with suppress(SegcliError):
        if OVERRIDE.match(folder.name) is None and locate_run(folder.name).folder.resolve() == folder.resolve():
            return _word(Path(folder.name))
    return _word(Path(shown(folder)))


def _located_word(located: Located) -> str:
    return _run_word(located.folder) if located.checkpoint is None else _word(Path(shown(located.checkpoint)))


def _model_files(paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in ("--model-file", shown(path))]


# ---- experiments on a data set


def _of_experiment(override: str) -> str:
    """Write an override of a data set as one of an experiment."""
    (parsed,) = parse_overrides([override], below="dataset")
    typed = override.partition("=")[0].partition(".")[0]
    return override if typed in ("dataset", "data") else f"{parsed.keys[0]}.{override}"


def _experiments_on(dataset: Path) -> Iterator[tuple[Path, list[str]]]:
    """Find experiment files that name a data-set file; at last comes the first experiment, with another data set."""
    folders = {Path("configs"): "**/*.yaml", Path(): "*.yaml", dataset.parent: "*.yaml"}
    found = (path for folder, pattern in folders.items() for path in sorted(folder.glob(pattern)))
    for path in dict.fromkeys(islice(found, MOST_FILES)):
        try:
            given = read_document(path).values.get("dataset")
        except ConfigError:
            continue
        if isinstance(given, str):
            named = next((each for each in (path.parent / given, Path(given)) if is_file(each)), None)
            if named is not None and named.samefile(dataset):
                yield path, []
    if is_file(FIRST):
        beside = is_file(FIRST.parent / dataset) and not (FIRST.parent / dataset).samefile(dataset)
        name = safe_name(dataset.stem)
        yield FIRST, [f"dataset={escaped(dataset.absolute() if beside else dataset)}", f"name={name}"]
