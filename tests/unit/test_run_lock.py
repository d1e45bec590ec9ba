import subprocess
import sys
from pathlib import Path

import pytest

from crito.errors import BadInput
from crito.tools.run_lock import is_alive, run_lock

HOLD = (
    "import sys; from pathlib import Path; from crito.tools.run_lock import run_lock\n"
    "with run_lock(Path(sys.argv[1]), 'r'): print('held', flush=True); sys.stdin.read()"
)


def test_a_run_is_alive_while_its_lock_is_held(tmp_path: Path) -> None:
    database = tmp_path / "crito.db"
    assert not is_alive(database, "r")
    with run_lock(database, "r"):
        assert is_alive(database, "r")
        assert not is_alive(database, "other")
    assert not is_alive(database, "r")
    assert not [*tmp_path.iterdir()]


def test_a_lock_that_is_held_is_not_given_again(tmp_path: Path) -> None:
    with run_lock(tmp_path / "crito.db", "r"):
        with pytest.raises(BadInput, match="run r is running in another process"), run_lock(tmp_path / "crito.db", "r"):
            pass
        with run_lock(tmp_path / "crito.db", "other"):
            pass
        assert is_alive(tmp_path / "crito.db", "r")


def test_a_killed_process_leaves_a_run_that_can_be_taken(tmp_path: Path) -> None:
    database = tmp_path / "crito.db"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert is_alive(database, "r")
    process.kill()
    process.communicate()
    assert (tmp_path / "crito.db.r.lock").exists()
    assert not is_alive(database, "r")
    with run_lock(database, "r"):
        assert is_alive(database, "r")
