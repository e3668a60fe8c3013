"""Ways to damage files, configs and overrides, for `trust_files.py`."""

import json
import random
import struct

import yaml

NASTY = [
    "",
    "null",
    "[]",
    "{}",
    "-1",
    "1e400",
    ".nan",
    "1" * 5000,
    "!!int x",
    "&a [*a]",
    "[" * 2000,
    "a" * 100_000,
    "../../x",
    "\x1b[31m",
    "{1: 2}",
    "{null: 2}",
    "[1, 2, 3]",
    "[0, 0]",
    "cuda:9",
    "(a+)+$",
    "2001-01-01",
    "{type: [a]}",
]
NUMBERS = [b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", struct.pack("<I", 10**5), struct.pack(">I", 10**5), b"\xff" * 8]


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Change, cut, insert or remove bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(6)
        if kind <= 1 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at : at + 4] = rng.choice(NUMBERS)
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + rng.randrange(1, 20)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
    return bytes(data)


def nasty(rng: random.Random, content: bytes) -> bytes:
    """Put what cannot be into a text file."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(7)] = rng.choice([*NASTY, ",", '"', "\n", "\0", "=1+1", "\ufeff", "NaN"]).encode()
    return bytes(data)


def damaged_words(rng: random.Random, text: str) -> list[str]:
    """Make overrides of the command line, some of which cannot be."""
    values: list[str] = []

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, f"{key}.{name}" if key else name)
        values.append(f"{key}={json.dumps(value)}")

    walk(yaml.safe_load(text), "")
    words = []
    for word in rng.sample(values, rng.choice([1, 1, 2, 3])):
        key, _, value = word.partition("=")
        words.append(
            rng.choice(
                [
                    f"{key}={rng.choice(NASTY)}",
                    f"{key}={value[: rng.randrange(len(value) + 1)]}",
                    f"{key[: rng.randrange(len(key) + 1)]}={value}",
                    f"{key}.{rng.choice(['a', '0', '', '..', '*', 'type'])}={rng.choice(NASTY)}",
                    f"{rng.choice(['+', '~', '-', ' ', chr(27)])}{key}={value}",
                    key,
                ]
            )
        )
    return [word.replace(chr(0), "") for word in words]


def damaged_text(rng: random.Random, text: str) -> bytes:
    """Replace values of a config by values that cannot be."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        key, colon, value = lines[at].partition(":")
        lines[at] = rng.choice(
            [
                f"{key}: {rng.choice(NASTY)}",
                lines[at][: rng.randrange(len(lines[at]) + 1)],
                f"{key}{colon}{value}{rng.choice(NASTY)}",
                f" {lines[at]}",
            ]
        )
        text = "\n".join(lines)
    return text.encode("utf-8", "replace")
