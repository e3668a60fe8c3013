"""Run with `pytest`: the promises that segcli checks for its own components, too."""

from my_segcli.loss import SharpDice
from my_segcli.metric import area_error
from my_segcli.network import TwoLayers

from segcli.testing import check_loss, check_metric, check_network


def test_the_components_keep_the_promises_of_segcli() -> None:
    """Check each component; a promise that is not kept raises `AssertionError`."""
    check_loss(SharpDice, power=1.5)
    check_metric(area_error, targets=["masks"])
    check_network(TwoLayers)
