"""Faults that show only when the images of a data set are compared with each other, or with their masks."""
