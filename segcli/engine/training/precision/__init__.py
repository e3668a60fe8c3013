"""Precision of a training: bf16 or float32 on this processor, and the switches of a GPU."""
