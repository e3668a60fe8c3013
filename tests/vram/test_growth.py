"""What a single simulation shows of the growth of its blocks."""

import pytest

from segcli.config.load import load_run
from segcli.vram.forecast import Forecaster
from segcli.vram.growth import FIXED, OPTIMIZER, growing
from segcli.vram.inputs import with_batch_size


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_nearly_all_bytes_that_grow_with_the_batch_are_told_from_one_simulation(tiny, amp):
    run = load_run(tiny(training__amp=amp, data__val_batch_size=1))
    one, two = (Forecaster(with_batch_size(run, count)).training.log for count in (2, 6))
    assert one.events == two.events
    found = growing(one, (OPTIMIZER, "validation"))
    grown = [first.size != second.size for first, second in zip(one.blocks, two.blocks, strict=True)]
    wrong = sum(
        block.size for block, is_found, is_so in zip(one.blocks, found, grown, strict=True) if is_found != is_so
    )
    assert wrong < 0.01 * sum(block.size for block in one.blocks)
    assert found.any()
    assert not found.all()
    like_weights = [number for number, block in enumerate(one.blocks) if block.like_weight]
    assert not found[like_weights].any()
    # in bf16 autocast copies weights
    assert any(one.blocks[number].kind not in FIXED for number in like_weights) or amp == "off"
