"""Where runs are kept, and the words that go on with one; cheap to import."""

from __future__ import annotations

import shlex
from pathlib import Path

DATABASE = Path(".crito/crito.db")
"""Where runs are kept unless the caller says otherwise."""


def db_option(database: Path) -> str:
    """What a command needs so that it finds this database: nothing for the default one."""
    return "" if database == DATABASE else f" --db {shlex.quote(str(database))}"


def resume_command(run: str, database: Path) -> str:
    """The command that goes on with a run."""
    return f"crito resume {run}{db_option(database)}"
