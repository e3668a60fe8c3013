"""Random numbers seeded by their purpose, so that the number of workers and a resume do not change them."""

import hashlib

import numpy as np

__all__ = ["generator", "seed_of"]


def seed_of(*parts: int | str) -> int:
    """Compute a 63-bit seed from its parts, such as `seed_of(42, "augment", epoch, sample)`."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """Make a random number generator that is seeded by `seed_of(*parts)`."""
    return np.random.default_rng(seed_of(*parts))
