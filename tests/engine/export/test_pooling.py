import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segcli.core.onnx_runtime import load_onnxruntime
from segcli.engine.export.pooling import of_any_size, window_means


@pytest.mark.parametrize("bins", [1, 2, 3, 6, (6, 1), (None, 3)])
@pytest.mark.parametrize("size", [(1, 2), (2, 3), (6, 6), (13, 40)])
def test_means_of_windows_are_those_of_adaptive_pooling(bins, size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(window_means(x, bins), F.adaptive_avg_pool2d(x, bins))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_exported_pyramid_pools_images_of_sizes_that_the_exporter_never_saw(tmp_path):
    onnxruntime = load_onnxruntime(purpose="this test")
    network = nn.AdaptiveAvgPool2d(3).eval()
    height, width = torch.export.Dim("height"), torch.export.Dim("width")
    with of_any_size():
        program = torch.onnx.export(
            network, (torch.zeros(1, 1, 5, 8),), dynamo=True, dynamic_shapes=({2: height, 3: width},), verbose=False
        )
    assert F.adaptive_avg_pool2d is not window_means
    program.save(str(tmp_path / "pool.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "pool.onnx"))
    for size in ((2, 2), (7, 11)):
        x = torch.randn(1, 1, *size)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(x))
