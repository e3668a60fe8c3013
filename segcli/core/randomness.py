"""Random numbers as a function of what they are for, so that no worker count or resume changes them."""

import hashlib

import numpy as np

__all__ = ["generator", "seed_of"]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed for these parts, such as `seed_of(42, "augment", epoch, sample)`."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """Random number generator for these parts."""
    return np.random.default_rng(seed_of(*parts))
