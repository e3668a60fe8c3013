"""Collect the messages of segcli and their hints from its source code, for the page of messages."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Message", "messages"]

PACKAGE = Path(__file__).parents[1]
KINDS = {
    "ConfigError": "Configuration and usage (exit code 2)",
    "ValueError": "Values of keys (exit code 2)",
    "DataError": "Data (exit code 3)",
    "NoMasksError": "Data (exit code 3)",
    "UnmatchedGroupError": "Data (exit code 3)",
    "OverlapError": "Data (exit code 3)",
    "CheckpointError": "Checkpoints and exported files (exit code 4)",
    "DeviceError": "Devices and memory (exit code 5)",
    "DeviceMemoryError": "Devices and memory (exit code 5)",
    "Finding": "Findings of `segcli data check`",
}
HOLE = "…"
Texts = dict[str, str]


@dataclass(frozen=True, order=True)
class Message:
    """A message and its hint, with holes for names and numbers."""

    chapter: str
    text: str
    hint: str


def messages() -> list[Message]:
    """Find all messages, sorted by chapter and text."""
    found = {message for path in sorted(PACKAGE.rglob("*.py")) for message in _of_file(path)}
    chapters = list(dict.fromkeys(KINDS.values()))
    return sorted(found, key=lambda message: (chapters.index(message.chapter), message.text.lower(), message.hint))


def _of_file(path: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = _texts(tree.body)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            texts = constants | _texts(ast.walk(function))
            checks_keys = any("validator" in ast.unparse(decorator) for decorator in function.decorator_list)
            for call in ast.walk(function):
                message = _message(call, texts) if isinstance(call, ast.Call) else None
                if message is not None and (checks_keys or message.chapter != KINDS["ValueError"]):
                    yield message


def _texts(statements: Iterator[ast.AST] | list[ast.stmt]) -> Texts:
    """Find the variables that are given a text."""
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = _text(statement.value, {})
    return {name: text for name, text in found.items() if text}


def _message(call: ast.Call, texts: Texts) -> Message | None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in KINDS:
        return None
    given = {word.arg: word.value for word in call.keywords}
    places = (3, 4) if name == "Finding" else (0, 1)
    text, hint = (
        _text(call.args[place], texts) if place < len(call.args) else _text(given.get(word), texts)
        for place, word in zip(places, ("message", "hint"), strict=True)
    )
    return Message(KINDS[name], text, hint) if len(re.findall(r"\w{3,}", text)) > 1 else None


def _text(node: ast.expr | None, texts: Texts) -> str:
    """Read a text from an expression; what only a run knows is a hole."""
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = (_text(part, texts) if isinstance(part, ast.Constant) else HOLE for part in node.values)
        return re.sub(f"{HOLE}({HOLE})+", HOLE, "".join(parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_text(node.left, texts) or HOLE}{_text(node.right, texts) or HOLE}"
    if isinstance(node, ast.Name):
        return texts.get(node.id, "")
    either = [node.body, node.orelse] if isinstance(node, ast.IfExp) else []
    either += node.values if isinstance(node, ast.BoolOp) else []
    return next(filter(None, (_text(each, texts) for each in either)), "")
