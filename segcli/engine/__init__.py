"""What runs a network: training, evaluation, prediction, checkpoints."""
