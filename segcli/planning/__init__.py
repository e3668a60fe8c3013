"""Look at a folder of images, recognise the data set in it, and plan its training."""
