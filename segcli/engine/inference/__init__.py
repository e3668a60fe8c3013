"""Inference: predict whole images, large ones in tiles, and score the predictions."""
