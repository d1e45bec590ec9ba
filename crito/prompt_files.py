"""Prompts that the command line reads from a file or stdin, and writes to a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crito.errors import BadInput

if TYPE_CHECKING:
    from crito.prompt import Prompt

_TEXTS, _YAMLS = (".txt", ".md"), (".yaml", ".yml")


def written(prompt: str | None) -> str | None:
    """What the key ``prompt`` of a task file holds for this argument: a text or the path of a file.

    Raises:
        BadInput: It names neither a prompt file nor ``-``, or what was piped is no text.
    """
    if prompt is None:
        return None
    if prompt == "-":
        return _piped()
    if Path(prompt).suffix not in (*_TEXTS, *_YAMLS):
        raise BadInput(f"{prompt}: PROMPT must be a .txt, .md or .yaml file, or '-' for stdin")
    return os.fspath(Path(prompt).resolve())


def _piped() -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise BadInput("stdin: is not UTF-8; convert the prompt first") from None
    if not text.strip():
        raise BadInput("stdin: is empty; pipe the prompt's text into it")
    return text


def check_output(path: Path | None) -> None:
    """Refuse an --output that cannot be written, before anything is paid for.

    Raises:
        BadInput: It has an unknown ending or no folder.
    """
    if path is None:
        return
    if path.suffix not in (*_TEXTS, *_YAMLS, ".json"):
        raise BadInput(f"--output {path}: must end in .yaml (every part), .txt (text) or .json (messages)")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Refuse a path that no file can be written to.

    Raises:
        BadInput: There is no such folder, or it is one itself.
    """
    if not path.resolve().parent.is_dir():
        raise BadInput(f"--output {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise BadInput(f"--output {path}: is a folder; name a file")


def export(prompt: Prompt, path: Path | None) -> None:
    """Write a prompt in the form that the ending of ``path`` asks for; None writes nothing."""
    if path is None:
        return
    if path.suffix in _YAMLS:
        text = prompt.to_yaml()
    else:
        text = json.dumps(prompt.to_messages(), indent=2) if path.suffix == ".json" else prompt.to_text()
        note_calibration(prompt, str(path))
    save(path, text)


def note_calibration(prompt: Prompt, form: str) -> None:
    """Say on stderr that a form of the prompt has no room for its divisors, where it has any."""
    if prompt.calibration:
        cure = "they are in a .yaml of the prompt and in crito show RUN --json"
        print(f"crito: {form} has no room for the divisors of the label probabilities; {cure}", file=sys.stderr)


def save(path: Path, text: str) -> None:
    """Write a text byte by byte as it is.

    Raises:
        BadInput: The file cannot be written.
    """
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise BadInput(f"--output {path}: cannot be written ({error.strerror}); name another file") from error
