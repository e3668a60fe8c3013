"""Figures that an evaluation keeps of each image, in few arrays, and sketches of histograms."""
