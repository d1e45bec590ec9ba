"""Where runs are kept, and the words that go on with one; cheap to import."""

from __future__ import annotations

import shlex
from pathlib import Path

DATABASE = Path(".crito/crito.db")
"""Where runs are kept unless the caller says otherwise."""
_LESSONS = "lessons.db"


def db_option(database: Path) -> str:
    """What a command needs so that it finds this database: nothing for the default one."""
    return "" if database == DATABASE else f" --db {shlex.quote(str(database))}"


def resume_command(run: str, database: Path) -> str:
    """The command that goes on with a run."""
    return f"crito resume {run}{db_option(database)}"


def lessons_of(memory: str, database: Path) -> Path:
    """The file with the lessons of earlier runs: the user's own, or the one beside a run database."""
    return Path.home() / ".crito" / _LESSONS if memory == "user" else database.parent / _LESSONS
