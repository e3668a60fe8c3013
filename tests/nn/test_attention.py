import torch
from torch import nn

from segcli.nn.attention import SpatialAttention, TransformerBlock, TransformerEncoder


def test_a_transformer_block_equals_the_one_of_pytorch():
    torch.manual_seed(0)
    ours = TransformerBlock(16, heads=4, dropout=0.0).double().eval()
    theirs = nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True).double().eval()
    theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.self_attn.out_proj.load_state_dict(ours.projection.state_dict())
    theirs.linear1.load_state_dict(ours.mlp[0].state_dict())
    theirs.linear2.load_state_dict(ours.mlp[3].state_dict())
    for norm in (*ours.modules(), *theirs.modules()):
        if isinstance(norm, nn.LayerNorm):
            nn.init.normal_(norm.weight)
    theirs.norm1.load_state_dict(ours.norm_attention.state_dict())
    theirs.norm2.load_state_dict(ours.norm_mlp.state_dict())
    tokens = torch.randn(2, 10, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_every_pixel_sees_every_other_one():
    torch.manual_seed(0)
    encoder, image = TransformerEncoder(8, depth=1, heads=2).eval(), torch.randn(1, 8, 5, 6)
    other = image.clone()
    other[0, 0, 0, 0] += 1.0  # in one channel: layer norm does not see a shift of all of them
    changed = (encoder(image) - encoder(other)).abs().sum(1)
    assert changed.shape == (1, 5, 6)
    assert changed.min() > 0


def test_pixels_keep_their_places_whatever_the_memory_layout():
    torch.manual_seed(0)
    encoder, image = TransformerEncoder(8, depth=1, heads=2).eval(), torch.randn(2, 8, 4, 6)
    turned = encoder(image.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(encoder(image), turned)
    torch.testing.assert_close(encoder(image.to(memory_format=torch.channels_last)), turned)


def test_spatial_attention_weighs_by_mean_and_maximum_of_the_channels():
    torch.manual_seed(0)
    block, image = SpatialAttention(2).double(), torch.randn(1, 3, 9, 9, dtype=torch.float64)
    padded = nn.functional.pad(torch.stack([image.mean(1), image.max(1).values], dim=1), (3, 3, 3, 3))
    score = (padded[0, :, 2:9, 4:11] * block.conv.weight[0]).sum()  # the window around pixel (2, 4)
    torch.testing.assert_close(block(image)[0, :, 2, 4], image[0, :, 2, 4] * score.sigmoid())
