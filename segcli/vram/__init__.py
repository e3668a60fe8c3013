"""Forecast of GPU memory on any machine: the real step on tensors without data, and a model of CUDA's allocator.

`stand_in.py` gives a GPU that is not there, `scenario.py` runs training, validation and prediction on it, `recorder.py`
notes every block of memory that lives and dies, `allocator.py` places the blocks as PyTorch's allocator would, and
`forecast.py` makes tables of it (`results.py`) and searches for the largest batch that fits. `choice.py` is what a
training does with them. `gpu_processes.py` asks the drivers who holds the memory of the GPUs (`gpus.py`).
"""
