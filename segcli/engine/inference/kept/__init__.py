"""What an evaluation keeps of each image: figures in few arrays, and sketches of histograms."""
