"""Forecast of GPU memory on any machine: the real training step on fake tensors, and a model of CUDA's allocator.

`stand_in.py` simulates a GPU, `scenario.py` runs training, validation and prediction on it, `recorder.py` records every
allocation and release, `allocator.py` places the blocks as PyTorch's allocator would, and `forecast.py` makes tables of
the result (`results.py`) and searches for the largest batch that fits. `choice.py` applies the forecast to a training.
`gpu_processes.py` asks the drivers for the GPU memory of each process (`gpus.py`).
"""
