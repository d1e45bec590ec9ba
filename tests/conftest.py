"""Sockets are for the loopback only; whatever a test wants from elsewhere, it gets an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

from crito.result import Result
from tests.toy_run import finished


@pytest.fixture(autouse=True)
def loopback_only() -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The database of a toy run that has ended, and its result."""
    database = tmp_path_factory.mktemp("done") / "crito.db"
    return database, finished(database)
