"""The examples of the page on Python run as they stand."""

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/python.md"


@pytest.fixture
def files(tiny):
    """The experiment file of the page."""
    return tiny()


@pytest.mark.usefixtures("files")
def test_the_examples_of_the_page_give_what_it_says():
    # The fence that closes a block would count as output.
    text = PAGE.read_text(encoding="utf-8").replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(examples.examples) > 15
    said = []
    doctest.DocTestRunner().run(examples, out=said.append)
    assert said == []
