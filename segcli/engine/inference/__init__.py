"""Inference: networks applied to whole images, in tiles where they are large, and the scores of what comes out."""
