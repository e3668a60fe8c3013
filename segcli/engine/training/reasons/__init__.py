"""Reasons against a training."""
