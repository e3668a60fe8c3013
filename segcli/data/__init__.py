"""Machinery that all layouts share: reading, geometry, augmentation, cache, loader, splits and checks."""
