import warnings

import pytest
import torch

from segcli.engine.training.stepping.compiled import TellingForward


@pytest.fixture
def told():
    """Compiles a function without code of a machine, calls it three times, and gives what is told."""

    def run(function):
        heard = []
        torch._dynamo.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own
            forward = TellingForward(torch.compile(function, backend="eager"), heard.append)
            for _ in range(3):
                forward(torch.ones(2))
        return heard

    yield run
    torch._dynamo.reset()


def test_a_network_of_one_graph_is_told_once(told):
    assert told(lambda x: x.sin() + 1) == ["`training.compile`: 1 graph, no graph breaks"]


def test_graph_breaks_are_counted_and_their_reasons_named(told):
    def broken(x):
        y = x.sin()
        torch._dynamo.graph_break()
        return y.cos()

    (message,) = told(broken)
    assert message.startswith("`training.compile`: 2 graphs, 1 graph break (")
    assert "graph_break" in message
