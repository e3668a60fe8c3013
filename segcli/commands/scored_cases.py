"""Predictions and scores of the cases of a split, by one process or by several that share them out."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType

import numpy as np
from torch import Tensor

from segcli.core.behind import WritesBehind
from segcli.core.files import names_flushed_once, told_when_full, unfinished
from segcli.core.types import Array
from segcli.data.samples import Case
from segcli.datasets import Layout
from segcli.engine.assembly import Assembly
from segcli.engine.events import Listener, Relay
from segcli.engine.inference.evaluator import Evaluation, evaluate
from segcli.engine.runtime import out_of_memory
from segcli.engine.stopping import StopSignal
from segcli.engine.world import World
from segcli.metrics import Scored, ScoredClasses
from segcli.report.presence import Judgement
from segcli.report.showcase import Showcase

__all__ = ["score_cases"]


def score_cases(
    parts: Assembly,
    cases: Sequence[Case],
    predictions: Path | None,
    showcase: Showcase,
    listener: Listener,
    world: World,
) -> tuple[Evaluation, list[Judgement]]:
    """Predict and score the cases, and write the predictions.

    Of several processes, each predicts and writes its own cases; the first one then has the results of all, in the
    order of the cases.

    Args:
        parts: Parts of the run.
        cases: Cases of the split.
        predictions: Folder of the predicted masks; None to write none.
        showcase: Receives every case.
        listener: Receives progress.
        world: Processes that share out the cases.

    Raises:
        SegcliError: A file cannot be read or written, or the device fails.
    """
    judged: dict[Case, list[Judgement]] = {}
    behind = WritesBehind()
    writer = None if predictions is None else _Writer(parts.layout, predictions, world, behind)
    relay = Relay(world, listener)

    def save(case: Case, probs: Tensor, scored: Scored) -> None:
        showcase.hear(case, probs, scored)
        if parts.layout.overlaps:
            judged[case] = list(_judged(parts, case, scored))
        if writer is not None:
            writer.save(case, _answer(parts, case, probs, scored))

    listener.stage("evaluation", len(cases))
    loader = parts.evaluation_loader(cases, parts.source(cases, listener))
    with StopSignal(), names_flushed_once(), behind, writer or nullcontext():
        try:
            result = evaluate(
                parts,
                parts.network,
                loader,
                on_image=save,
                after_batch=relay.advance,
                when_done=relay.wait,
                world=world,
            )
        except (RuntimeError, MemoryError) as error:
            raise out_of_memory(error) or loader.explained(error) or error from error
        finally:
            loader.close()
        if not world.is_alone:
            judged = _joined(judged, showcase, parts, cases, world)
        listener.stage("writing scores and report")
        if writer is not None:
            writer.finish(_positions(cases))
    return result, [entry for case in cases for entry in judged.get(case, [])]


def _answer(parts: Assembly, case: Case, probs: Tensor, scored: Scored) -> Array:
    """Decide for each pixel of a case, with nothing outside its field of view."""
    field = parts.field_of(case)
    if field is None and isinstance(scored, ScoredClasses):  # the metrics have found the most probable class
        return scored.found_class[0].cpu().numpy().astype(np.uint8)
    threshold, inside = parts.run.inference.threshold, None if field is None else field.inside
    return parts.task.decided(probs.cpu().numpy(), threshold, inside)


def _positions(cases: Sequence[Case]) -> dict[Case, int]:
    return {case: index for index, case in enumerate(cases)}


def _joined(
    judged: dict[Case, list[Judgement]], showcase: Showcase, parts: Assembly, cases: Sequence[Case], world: World
) -> dict[Case, list[Judgement]]:
    """Take over what the processes have found besides scores; returns the judgements of all."""
    found = world.gathered((judged, showcase.kept, parts.fields.sources))
    showcase.join((kept for _, each, _ in found for kept in each), _positions(cases))
    parts.fields.join((sources for _, _, sources in found), (case.image for case in cases))
    return {case: entries for each, _, _ in found for case, entries in each.items()}


def _judged(parts: Assembly, case: Case, scored: Scored) -> Iterator[Judgement]:
    """Tell the presence of each structure of a case, true and predicted."""
    found, truth = scored.found_presence[0].tolist(), scored.true_presence[0].tolist()
    certainty = {name: values[0].tolist() for name, values in scored.certainty.items()}
    for index, structure in enumerate(parts.task.classes):
        numbers = {name: values[index] for name, values in certainty.items()}
        yield Judgement(parts.layout.shown(case), structure, found[index], truth[index], numbers)


class _Writer:
    """Writes the predictions of this process; files of many cases are written by the first process, case by case.

    Use it as a context: at its end, no file is there that lacks cases.

    Args:
        layout: Layout of the data.
        folder: Folder of the predictions.
        world: The processes.
        behind: Writes files of single cases.
    """

    def __init__(self, layout: Layout, folder: Path, world: World, behind: WritesBehind) -> None:
        self.layout, self.folder, self.world, self.behind = layout, folder, world, behind
        self.aside = unfinished(folder / "masks")
        """Folder for masks that wait for the first process; `remove_leftovers` knows its name."""
        self.waiting: dict[Case, Path] = {}

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.layout.drop_answers()
        if kind is not None:  # else the first process may still read them
            shutil.rmtree(self.aside, ignore_errors=True)

    def save(self, case: Case, answer: Array) -> None:
        """Write the prediction of a case, or keep it on the disk for the first process."""
        if not self.layout.shares_file(case):
            self.behind.write(answer.nbytes, self.layout.save_answer, self.folder, case, answer)
            return
        if self.world.is_alone:
            self.layout.save_answer(self.folder, case, answer)
            return
        path = self.aside / f"{len(self.waiting)}.npy"
        with told_when_full(path):
            self.aside.mkdir(parents=True, exist_ok=True)
            np.save(path, answer)
        self.waiting[case] = path

    def finish(self, position: Mapping[Case, int]) -> None:
        """Write what was kept, in the order of the cases, and complete files of many cases; in the first process."""
        self.behind.settle()
        every = self.world.gathered((self.aside, self.waiting))
        if not self.world.is_first:
            return
        waiting = {case: path for _, each in every for case, path in each.items()}
        for case in sorted(waiting, key=position.__getitem__):
            self.layout.save_answer(self.folder, case, np.load(waiting[case]))
            waiting[case].unlink()
        self.layout.close_answers(self.folder)
        for aside, _ in every:
            shutil.rmtree(aside, ignore_errors=True)
