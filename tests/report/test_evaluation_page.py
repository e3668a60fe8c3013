"""The page of an evaluation from results made by hand: what no run of this data has."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from sklearn.metrics import confusion_matrix

from segcli.metrics import ClassScore, Score
from segcli.report.evaluation_page import MOST_MISTAKES, MOST_ROWS, Answers, evaluation_page
from segcli.report.results import Evaluated
from segcli.report.run_sections import RunFacts

CLASSES = ("healthy", "<b>sick</b>", "dead")
RUN = RunFacts("nuclei", "vgg3d", 1234567, "the CPU", config="seed: 42\n")


@dataclass(frozen=True)
class Row:
    """An answer as the commands of classification have it."""

    name: str
    probs: np.ndarray
    parts: int
    truth: int | None = None

    @property
    def found(self) -> int:
        return int(self.probs.argmax())


def scored(name, value, per_image, classes=3):
    each = [ClassScore(value / (index + 1), (value / 4, value), 5 - index) for index in range(classes)]
    return Score(name, value, "all cases", (value / 2, value), value, value, len(per_image), per_image, True, each)


def evaluated(count, confusion, **changes):
    rng = np.random.default_rng(count)
    values = rng.random(count).tolist()
    made = Evaluated(
        run="run",
        split="test",
        checkpoint=Path("best.safetensors"),
        epoch=3,
        folder=Path("out"),
        threshold=None,
        num_images=count,
        losses={"loss": 0.25},
        scores=[scored("accuracy", 0.8125, values), scored("f1", 0.7, values[::-1])],
        images=[f"{index:04d}" for index in range(count)],
        ranked_by="accuracy",
        predictions=None,
        level=0.95,
        resamples=1000,
        classes=CLASSES,
        confusion=confusion,
    )
    return replace(made, **changes)


def answers(count=20, parts=4):
    rng = np.random.default_rng(1)
    probs = rng.dirichlet([1, 1, 1], count)
    return [Row(f"s{index:02d}", row, parts, int(rng.integers(3))) for index, row in enumerate(probs)]


def read(tmp_path, result, **options):
    path = tmp_path / "report.html"
    path.write_text(evaluation_page(result, options.pop("run", RUN), command="segcli eval", **options))
    return Page(path)


def classified(tmp_path, rows, **options):
    """A page on crops and the samples that they are parts of."""
    matrix = confusion_matrix([row.truth for row in rows], [row.found for row in rows], labels=[0, 1, 2])
    crops = evaluated(4 * len(rows), matrix * 4)
    wrong = sorted((row for row in rows if row.found != row.truth), key=lambda row: -row.probs.max())
    rng = np.random.default_rng(2)
    mistakes = [(row, rng.integers(0, 4000, (20, 30)).astype(np.uint16)) for row in wrong]
    told = Answers(rows, "sample", mistakes)
    return read(tmp_path, crops, whole=evaluated(len(rows), matrix), answers=told, **options), wrong, matrix


def test_every_answer_has_its_probabilities_and_the_confident_mistakes_come_first(tmp_path):
    rows = answers()
    page, wrong, _ = classified(tmp_path, rows)
    table = page.table("Probability of each class")
    assert table.headings == ["sample", "true", "predicted", *(f"p({name})" for name in CLASSES), "crops"]
    for row in rows:
        assert [table.value(row.name, f"p({name})") for name in CLASSES] == row.probs.tolist()
        assert table.text(row.name, "true") == CLASSES[row.truth]
        assert table.text(row.name, "predicted") == CLASSES[row.found]
        assert table.value(row.name, "crops") == 4
    assert [cells[0] for cells in table.rows[1 : len(wrong) + 1]] == [row.name for row in wrong]


def test_the_most_confident_mistakes_are_pictures_with_what_was_found(tmp_path):
    rows = answers(60)
    page, wrong, _ = classified(tmp_path, rows)
    assert len(wrong) > MOST_MISTAKES
    pictures = page.pictures()
    assert list(pictures) == [f"a slice of {row.name}" for row in wrong[:MOST_MISTAKES]]
    assert {picture.shape for picture in pictures.values()} == {(20, 30, 3)}
    assert all(picture.min() == 0 and picture.max() == 255 for picture in pictures.values())  # stretched
    first = wrong[0]
    verdict = f"true {CLASSES[first.truth]}, predicted {CLASSES[first.found]} ({first.probs.max():.1%})"
    assert f"{first.name} {verdict}" in page.text
    assert f"{len(wrong)} of 60 predictions are wrong; the {MOST_MISTAKES} most confident are shown" in page.text


def test_samples_and_their_crops_have_scores_and_confusions_of_their_own(tmp_path):
    page, _, matrix = classified(tmp_path, answers())
    assert page.links()[:3] == ["Metrics by sample", "Classes (samples)", "Confusion matrix (samples)"]
    assert "Confusion matrix (crops)" in page.links()
    for unit, factor in (("samples", 1), ("crops", 4)):
        counts = page.table(f"Number of {unit}")
        shares = page.table(f"Share of the {unit}")
        for row, name in enumerate(CLASSES):
            assert [counts.value(name, other) for other in CLASSES] == (factor * matrix[row]).tolist()
            expected = matrix[row] / matrix[row].sum()
            assert [shares.value(name, other) for other in CLASSES] == pytest.approx(expected.tolist())
            assert shares.text(name, CLASSES[0]) == f"{100 * expected[0]:.1f}"


def test_without_a_mistake_the_page_says_so(tmp_path):
    rows = [Row("a", np.array([0.9, 0.1, 0.0]), 1, 0), Row("b", np.array([0.2, 0.2, 0.6]), 1, 2)]
    page = read(tmp_path, evaluated(2, np.eye(3, dtype=int)), answers=Answers(rows))
    assert "None: all 2 predictions are right." in page.text
    assert page.table("Probability of each class").headings[-1] == "p(dead)"
    assert not page.pictures()


def test_an_unknown_truth_is_told_as_such_and_is_no_mistake(tmp_path):
    page = read(tmp_path, evaluated(2, None), answers=Answers([Row("a", np.array([0.9, 0.1, 0.0]), 1)]))
    assert page.table("Probability of each class").text("a", "true") == "-"
    assert "None: all 1 predictions are right." in page.text


def test_a_class_has_its_interval_and_the_number_of_images_where_it_is_not_all(tmp_path):
    confusion = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
    page = read(tmp_path, evaluated(5, confusion))
    table = page.table("Value, 95 % interval")
    assert table.headings[:2] == ["class", "share"]
    assert [table.text(name, "share") for name in CLASSES] == ["80.00%", "20.00%", "absent"]
    assert table.value(CLASSES[1], "f1") == 0.35
    assert table.text(CLASSES[0], "f1") == "0.70000.1750 to 0.7000"
    assert table.text(CLASSES[1], "f1").endswith("4 of 5")
    shares = page.table("Share of the pixels")
    assert shares.text("dead", "dead") == "\N{EN DASH}"  # no pixel of the truth: no share


def test_of_very_many_classes_the_most_frequent_confusions_are_told(tmp_path):
    classes = tuple(f"c{index}" for index in range(60))
    confusion = np.eye(60, dtype=int) * 100
    confusion[3, 50], confusion[7, 2] = 25, 40
    scores = [scored("accuracy", 0.9, [0.9, 0.8], classes=60)]
    page = read(tmp_path, evaluated(2, confusion, classes=classes, scores=scores))
    table = page.table("Most frequent confusions of 60 classes")
    assert [cells[:3] for cells in table.rows[1:]] == [["c7", "c2", "40"], ["c3", "c50", "25"]]
    assert table.values[1][3] == 40 / 140


def test_of_very_many_images_the_worst_are_listed(tmp_path):
    result = evaluated(MOST_ROWS + 100, None)
    table = read(tmp_path, result).table("By accuracy, the worst first; the worst")
    values = sorted(result.scores[0].per_image)[:MOST_ROWS]
    assert [row[1] for row in table.values[1:]] == values


def test_an_image_without_a_score_stands_last(tmp_path):
    result = evaluated(3, None)
    result = replace(result, scores=[scored("accuracy", 0.5, [0.5, math.nan, 0.4])])
    assert [row[0] for row in read(tmp_path, result).table("By accuracy").rows[1:]] == ["0002", "0000", "0001"]


def test_passwords_do_not_leave_the_machine_with_the_report(tmp_path):
    run = replace(RUN, config="uri: mongodb://ann:s3cret@host/db", environment="command_line: [u=http://b:s3cret@x]")
    page = read(tmp_path, evaluated(2, None), run=run)
    assert "s3cret" not in page.source
    assert "mongodb://***@host/db" in page.text


def test_a_page_full_of_noise_stays_small(tmp_path):
    from segcli.report.pictures import CasePicture
    from segcli.report.showcase import DRAWN, PANELS

    rng = np.random.default_rng(0)
    panels = {name: rng.integers(0, 256, (DRAWN, DRAWN, 3), np.uint8) for name in (PANELS[0], "mistakes")}
    cases = [CasePicture(f"{index}", 0.5, panels) for index in range(8)]
    page = read(tmp_path, evaluated(200, None), worst=cases[:4], best=cases[4:])
    assert len(page.source) < 6 * 2**20


def test_one_image_is_counted_as_one(tmp_path):
    page = read(tmp_path, evaluated(1, None))
    assert "1 image of split test" in page.text
    assert "1 images" not in page.text
