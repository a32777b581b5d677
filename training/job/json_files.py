"""JSON files for people: one entry of the outermost object or list per line.

Runs in training jobs.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_json(file: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a file completely or not at all; names that are not valid Unicode are escaped, so that they are read back unchanged."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(to_text(content), encoding="utf-8", errors="backslashreplace")
    unfinished.replace(file)


def to_text(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return the text: a matrix of 300 classes is one line, not 90,000."""
    if isinstance(content, Mapping):
        lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in content) + "\n]\n"
