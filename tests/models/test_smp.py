"""The networks of segmentation-models-pytorch, against that package and timm themselves."""

import json
import sys

import pytest
import torch
from factories import experiment
from safetensors.torch import save_file

from segcli.config.load import run_from_values
from segcli.config.sections import ModelSection
from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.types import IOSpec
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.weights import load_pretrained
from segcli.models.smp import ARCHITECTURES, SMP
from segcli.nn.zoo import library

PAIRS = [
    {"architecture": "unet", "encoder": "resnet18", "encoder_depth": 2, "decoder_channels": [16, 8]},
    {"architecture": "fpn", "encoder": "tu-test_efficientnet", "encoder_depth": 4, "decoder_channels": 64},
    {"architecture": "segformer", "encoder": "mit_b0", "encoder_depth": 3, "decoder_channels": 16},
]
ENCODERS = ("resnet18", "tu-mobilenetv3_small_050", "mit_b0")
OTHERS = {
    "unet_plus_plus": ("resnet18", "tu-mobilenetv3_small_050", "efficientnet-b0"),
    "linknet": ("resnet18", "tu-mobilenetv3_small_050", "efficientnet-b0"),
    "dpt": ("tu-test_vit", "tu-vit_tiny_patch16_224", "tu-test_vit2"),
}
"""Architectures that do not take `mit_b0`."""
EVERY = [
    {
        "architecture": name,
        "encoder": encoder,
        **({"decoder_channels": 64} if name in ("dpt", "fpn", "upernet") else {}),
    }
    for name in ARCHITECTURES
    for encoder in OTHERS.get(name, ENCODERS)
]


def build(channels=3, classes=1, **config):
    torch.manual_seed(0)
    return SMP(SMP.Config(**config), io=IOSpec(2, channels, {"mask": classes}))


def named(pair):
    return f"{pair['architecture']}-{pair['encoder']}"


def check_run(pair, run_cli, tiny, workplace, *, exported=True):
    """Train and resume, export to ONNX, which compares, and forecast the memory."""
    size = [128, 128] if pair["architecture"] == "pan" else [64, 64]
    config = tiny(
        model={"type": "smp", **pair},
        data__image_size=size,
        data__batch_size=3,
        training__epochs=2,
        training__optimizer={"type": "adam", "learning_rate": 1e-4},  # with more, large logits differ by more
        checkpoint__save_every=1,
    )
    result = run_cli("train", config)
    assert result.code == 0, result.err
    folder = workplace / "outputs/experiments/tiny/checkpoints"
    whole = read_checkpoint(folder / "last.safetensors").tensors
    assert run_cli("resume", folder / "epoch_0001.safetensors").code == 0
    again = read_checkpoint(folder / "last.safetensors").tensors
    assert whole.keys() == again.keys()
    assert [name for name, value in whole.items() if not torch.equal(value, again[name])] == []
    if exported:
        result = run_cli("export", "tiny", "--json")
        assert result.code == 0, result.err
        compared = json.loads(result.out)["differences"]
        assert len({tuple(row["shape"]) for row in compared}) > 2
        assert max(row["probabilities"] for row in compared) < 1e-4
    result = run_cli("profile-memory", config, "--json", *(["--vram", "8GiB"] if pair not in PAIRS else []))
    assert result.code == 0, result.err
    assert json.loads(result.out)["parameters"]["total"] == sum(
        value.numel() for name, value in build(**pair).named_parameters()
    )


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_a_pair_resumes_exactly_exports_and_is_forecast(pair, run_cli, tiny, workplace):
    # an export takes five seconds and more: the other two are exported in the slow test
    check_run(pair, run_cli, tiny, workplace, exported=pair is PAIRS[0])


@pytest.mark.slow
@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_every_architecture_with_three_encoders_resumes_exactly_exports_and_is_forecast(pair, run_cli, tiny, workplace):
    check_run(pair, run_cli, tiny, workplace)


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_a_network_computes_what_that_of_the_package_computes(pair):
    ours = build(4, 2, **pair).eval()
    arguments = {"unet": "decoder_channels", "fpn": "decoder_segmentation_channels"}
    width = pair["decoder_channels"]
    theirs = getattr(library().smp, ARCHITECTURES[pair["architecture"]].name)(
        pair["encoder"],
        encoder_depth=pair.get("encoder_depth", 5),
        encoder_weights=None,
        in_channels=4,
        classes=2,
        **{arguments.get(pair["architecture"], "decoder_segmentation_channels"): width},
        **({"decoder_pyramid_channels": 128, "upsampling": 2} if pair["architecture"] == "fpn" else {}),
    ).eval()
    fit = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert fit.unexpected_keys == []  # the names are the package's own
    image = torch.randn(2, 4, 64, 96)
    with torch.no_grad():
        assert torch.equal(ours(image)["mask"], theirs(image))


@pytest.mark.parametrize(
    ("pair", "stride"),
    [
        ({"architecture": "pspnet", "encoder": "tu-test_resnet"}, 8),
        ({"architecture": "pspnet", "encoder": "mit_b0"}, 32),  # attention over 8 x 8 pixels at a quarter of the size
        ({"architecture": "pan", "encoder": "tu-test_resnet"}, 128),  # its decoder halves three times more
        ({"architecture": "dpt", "encoder": "tu-test_vit", "decoder_channels": 16}, 32),
    ],
    ids=lambda value: named(value) if isinstance(value, dict) else str(value),
)
def test_sizes_are_padded_to_what_the_network_takes_which_the_smallest_image_shows(pair, stride):
    network = build(**pair).eval()
    assert network.stride == stride
    with torch.no_grad():
        for height, width in ((stride, stride), (3 * stride, stride)):
            assert network(torch.zeros(1, 3, height, width))["mask"].shape == (1, 1, height, width)


def test_no_weights_are_kept_that_no_output_depends_on():
    network = build(architecture="dpt", encoder="tu-test_vit", decoder_channels=16)
    network(torch.randn(2, 3, 32, 32))["mask"].square().mean().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_a_network_without_memory_has_the_layers_of_the_network():
    with torch.device("meta"):
        shadow = build(architecture="segformer", encoder="mit_b0")
    network = build(architecture="segformer", encoder="mit_b0")
    assert all(value.is_meta for value in shadow.state_dict().values())
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (network, shadow)]
    assert shapes[0] == shapes[1]
    rates = [[each.drop_prob for each in net.modules() if hasattr(each, "drop_prob")] for net in (network, shadow)]
    assert rates[0] == rates[1] != []


# ---- keys


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"encoder": "resnet3"}, "no encoder `resnet3` in SMP or timm: did you mean `resnet3"),
        ({"encoder": "convnext_tiny"}, "did you mean `tu-convnext_tiny`?"),
        ({"encoder": "tu-resnet18.a9"}, "`resnet18` has the tags a1_in1k"),
        ({"encoder": "tu-hf-hub:timm/resnet18.a1_in1k"}, "no encoder `tu-hf-hub:timm/resnet18.a1_in1k`"),
        ({"decoder_attention_type": "scse", "architecture": "fpn"}, "`architecture: fpn` has no attention"),
        ({"encoder_output_stride": 16}, "`architecture: unet` has a fixed one, not `encoder_output_stride: 16`"),
        ({"encoder_output_stride": 32, "architecture": "DeepLabV3"}, "`architecture: deeplabv3` has 8 or 16, not"),
        ({"decoder_channels": 8}, "takes a list with a number for each stage as `decoder_channels`, got 8"),
        ({"decoder_channels": [8, 4]}, "`decoder_channels` has 2 numbers for 5 stages of the encoder"),
        ({"decoder_channels": 8, "architecture": "linknet"}, "`architecture: linknet` has fixed channels"),
        ({"decoder_channels": 32, "architecture": "fpn"}, "takes 64 or a larger multiple of 32 as `decoder_channels`"),
        ({"architecture": "DPT"}, "`architecture: dpt` needs a vision transformer of timm"),
        ({"architecture": "unett"}, "hint: did you mean `unet`?"),
        ({"decoder_chanels": 8}, "hint: did you mean `decoder_channels`?"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_key_that_does_not_fit_is_told_with_the_nearest_that_does(keys, told):
    with pytest.raises(ConfigError) as caught:
        run_from_values(experiment("nowhere", model={"type": "SMP", **keys}), source="test")
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["UnetPlusPlus", "unet++", "UNET_plus_plus"])
def test_an_architecture_has_the_name_of_the_package_too(name):
    assert SMP.Config(architecture=name).architecture == "unet_plus_plus"


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ({"architecture": "linknet", "encoder": "mit_b0"}, "Encoder `mit_b0` is not supported for Linknet"),
        ({"architecture": "unet", "encoder": "tu-test_vit"}, "Unsupported model downsampling pattern"),
        ({"architecture": "fpn", "encoder": "resnet18", "encoder_depth": 2}, "cannot be less than 3, got 2"),
    ],
    ids=["linknet", "vit", "depth"],
)
def test_a_pair_that_cannot_work_is_refused_in_one_sentence(pair, told):
    with pytest.raises(ConfigError) as caught:
        build(**pair)
    assert f"model `smp` cannot join `architecture: {pair['architecture']}` and `encoder: {pair['encoder']}`" in str(
        caught.value
    )
    assert told in str(caught.value)


def test_a_missing_package_is_told_with_the_extra(monkeypatch):
    library.cache_clear()
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(
        ConfigError, match=r"model `smp` needs the package `segmentation_models_pytorch`\n.*segcli\[zoo\]"
    ):
        build()
    monkeypatch.undo()
    library.cache_clear()


# ---- pretrained weights


def whole(name, **arguments):
    """Timm's network for classification, with random weights."""
    torch.manual_seed(7)
    return library().timm.create_model(name, pretrained=False, **arguments).eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_a_file_of_timm_is_loaded_into_the_encoder_whatever_its_parts_are_called(name, tmp_path):
    source = whole(name)
    save_file(source.state_dict(), tmp_path / "timm.safetensors")
    network = build(encoder=f"tu-{name}", weights=str(tmp_path / "timm.safetensors")).eval()
    lines = network.load_pretrained()
    assert "missing, new from the seed" in lines[2]
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.encoder(image)[-1], source.forward_intermediates(image)[1][-1])


def test_a_file_of_the_package_is_loaded_whether_it_has_the_encoder_or_the_whole_network(tmp_path):
    torch.manual_seed(7)
    theirs = library().smp.Unet("resnet18", encoder_weights=None, classes=5)
    torch.save(theirs.encoder.state_dict(), tmp_path / "encoder.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "whole.pth")
    for file, decoded in (("encoder.pth", False), ("whole.pth", True)):
        section = ModelSection.model_validate({"type": "smp", "encoder": "resnet18", "weights": tmp_path / file})
        network = section.build(io=IOSpec(2, 3, {"mask": 1}))
        lines, _ = load_pretrained(section, network)
        ours = network.state_dict()
        assert all(torch.equal(value, ours[f"encoder.{name}"]) for name, value in theirs.encoder.state_dict().items())
        same = [torch.equal(value, ours[f"decoder.{name}"]) for name, value in theirs.decoder.state_dict().items()]
        assert all(same) if decoded else not all(same)
        assert ("segmentation_head.0.weight 5x16x3x3 instead of 1x16x3x3" in " ".join(lines)) == decoded


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("name", ["resnet18", "mit_b0", "tu-test_resnet"])
def test_the_first_convolution_is_adapted_as_both_packages_do(name, channels, tmp_path):
    found = library()
    theirs = found.smp.encoders.get_encoder(name, weights=None)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    network = build(channels, encoder=name, weights=str(tmp_path / "weights.pth"))
    network.load_pretrained()
    first = next(key for key, value in theirs.state_dict().items() if value.ndim == 4)
    colour = theirs.state_dict()[first]
    found.smp.encoders._utils.patch_first_conv(theirs, channels)
    adapted = network.encoder.state_dict()[first]
    torch.testing.assert_close(adapted, theirs.state_dict()[first])
    torch.testing.assert_close(adapted, found.timm.models.adapt_input_conv(channels, colour))


def test_weights_of_another_encoder_are_refused(tmp_path):
    save_file(whole("test_resnet").state_dict(), tmp_path / "other.safetensors")
    network = build(encoder="resnet18", weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=r"does not fit the encoder `resnet18`: \d+ of its tensors are missing"):
        network.load_pretrained()


def test_named_weights_are_taken_from_the_cache_and_never_fetched(tmp_path, monkeypatch):
    hub = library().hub
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    for encoder, told in (
        ("resnet18", r"`smp-hub/resnet18.imagenet`, of at least 45 MB, licence on https://huggingface.co/smp-hub"),
        ("tu-test_resnet", r"`timm/test_resnet.r160_in1k`, of at least \d MB, licence apache-2.0"),
    ):
        network = build(encoder=encoder, weights="imagenet")
        with pytest.raises(
            ConfigError, match=f"segcli downloads nothing: they are the file `model.safetensors` of {told}"
        ) as caught:
            network.load_pretrained()
        place = tmp_path / caught.value.hint.split("put it at `")[1].split("`")[0]
        place.parent.mkdir(parents=True)
        torch.manual_seed(3)
        source = library().smp.encoders.get_encoder(encoder, weights=None).state_dict()
        save_file(source, place)
        network.load_pretrained()
        assert all(torch.equal(value, source[name]) for name, value in network.encoder.state_dict().items())
    with pytest.raises(ConfigError, match=r"`mit_b0` has no weights `ssl`\n  hint: it has imagenet"):
        build(encoder="mit_b0", weights="ssl").load_pretrained()
