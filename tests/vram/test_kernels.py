"""Memory that kernels of a GPU take and no tensor shows, by hand."""

import pytest
import torch
from factories import SMALL, experiment
from torch import nn

from segcli.config.load import run_from_values
from segcli.vram.inputs import inputs_of
from segcli.vram.kernels import WORKSPACE
from segcli.vram.recorder import Recorder
from segcli.vram.scenario import play_training
from segcli.vram.stand_in import GPU, Stepping, stand_in

F = nn.functional


@pytest.fixture
def recorded():
    """Runs a function of no arguments on the GPU that is not there, and gives its new blocks: lasting, then passing."""

    def run(make, step):
        with stand_in():
            with torch.device(GPU):
                given = make()
            recorder = Recorder(nn.Identity())
            recorder.adopt([tensor for tensor in given if isinstance(tensor, torch.Tensor)], "batch")
            known = len(recorder.log.blocks)
            with recorder, Stepping(lambda loss: None):
                out = step(*given)
            ended = {~event for event in recorder.log.events if event < 0}
            sizes = {number: block.size for number, block in enumerate(recorder.log.blocks) if number >= known}
            lasting = [size for number, size in sizes.items() if number not in ended]
            return lasting, [size for number, size in sizes.items() if number in ended], out

    return run


IMAGE, WEIGHT = (2, 8, 16, 16), (4, 8, 3, 3)


def test_a_convolution_has_the_layout_of_its_weights(recorded):
    last = torch.channels_last

    def make():
        return torch.zeros(IMAGE), torch.zeros(WEIGHT).contiguous(memory_format=last)

    lasting, passing, out = recorded(make, lambda image, weight: F.conv2d(image, weight, padding=1))
    assert out.is_contiguous(memory_format=last)
    assert lasting == [2 * 4 * 16 * 16 * 4]
    assert passing == [2 * 8 * 16 * 16 * 4]  # the image, copied into that layout


def test_a_convolution_whose_arguments_have_one_layout_copies_nothing(recorded):
    for layout in (torch.contiguous_format, torch.channels_last):

        def make(layout=layout):
            return [torch.zeros(shape).contiguous(memory_format=layout) for shape in (IMAGE, WEIGHT)]

        _, passing, out = recorded(make, lambda image, weight: F.conv2d(image, weight, padding=1))
        assert passing == []
        assert out.is_contiguous(memory_format=layout)


def test_cross_entropy_on_logits_holds_a_second_map_for_a_moment(recorded):
    def make():
        return torch.zeros(IMAGE), torch.zeros(IMAGE)

    lasting, passing, _ = recorded(make, lambda a, b: F.binary_cross_entropy_with_logits(a, b, reduction="none"))
    assert lasting == passing == [2 * 8 * 16 * 16 * 4]


@pytest.mark.parametrize(("dtype", "width"), [(torch.bfloat16, 16), (torch.float16, 20), (torch.float32, 16)])
def test_attention_keeps_one_number_per_head_and_token_and_no_scores(recorded, dtype, width):
    batch, heads, tokens = 2, 4, 300

    def make():
        return [torch.zeros(batch, heads, tokens, width, dtype=dtype) for _ in range(3)]

    lasting, passing, out = recorded(make, F.scaled_dot_product_attention)
    assert out.shape == (batch, heads, tokens, width)
    assert out.dtype == dtype
    scores = batch * heads * tokens * tokens
    assert max(lasting + passing) < scores * out.element_size()
    padded = -(-width // 8) * 8 if dtype != torch.float32 else width
    assert batch * heads * tokens * padded * out.element_size() in lasting


def test_autocast_gives_attention_sixteen_bits(recorded):
    def make():
        return [torch.zeros(1, 2, 64, 16) for _ in range(3)]

    def step(*given):
        with torch.autocast("cuda", torch.bfloat16):
            return F.scaled_dot_product_attention(*given)

    assert recorded(make, step)[2].dtype == torch.bfloat16


def test_products_reserve_a_workspace_for_each_direction_and_convolutions_none():
    def workspaces(name):
        values = experiment(".", data__image_size=[32, 32], model={"type": name, **SMALL[name]})
        run = run_from_values(values, source="test")
        return [block.size for block in play_training(run, inputs_of(run)).log.blocks if block.kind == "workspace"]

    assert workspaces("utrans") == [WORKSPACE, WORKSPACE]
    assert workspaces("unet") == []


def test_flash_attention_holds_sums_in_float32_on_the_way_back():
    values = experiment(
        ".",
        data__image_size=[64, 64],
        data__batch_size=2,
        training__amp="bf16",
        model={"type": "utrans", **SMALL["utrans"]},
    )
    run = run_from_values(values, source="test")
    log = play_training(run, inputs_of(run)).log
    # 8 channels in 2 heads at half the resolution: 1024 tokens of 4, padded to 32 within the kernel
    sizes = [block.size for block in log.blocks]
    assert sizes.count(4 * 2 * 2 * 1024 * 32) == 2  # once in each of two steps
