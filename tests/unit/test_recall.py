"""Whole runs that learn, and later ones that go by it."""

import asyncio
from pathlib import Path
from typing import Any, TypeVar

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from crito.api import optimize
from crito.errors import BadInput
from crito.memory.lesson_store import LessonStore, opened
from crito.memory.lessons import Observation, lessons
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt
from crito.task import Budget
from tests.toy_run import DESCRIPTION, LABELS, RULE, finished, rows, toy_model

_Record = TypeVar("_Record", Observation, OperatorUse, ProvenPrompt)


def kept(folder: Path, kind: type[_Record]) -> list[_Record]:
    """The records of a kind in the project's memory."""

    async def read() -> list[_Record]:
        async with opened(folder / "lessons.db") as store:
            return await store.read(kind)

    return asyncio.run(read())


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with one run."""
    folder = tmp_path_factory.mktemp("project")
    finished(folder / "crito.db", memory="project")
    return folder


def test_a_run_leaves_what_it_measured_and_no_text_of_prompt_or_data(learned: Path) -> None:
    seen = kept(learned, Observation)
    assert {o.kind for o in seen} == {"recipe", "direction"}
    assert all(o.n >= 8 and -1 <= o.low <= o.gain <= o.high <= 1 for o in seen)
    assert len({o.run for o in seen}) == 1
    assert kept(learned, ProvenPrompt) == []
    told = " ".join(o.model_dump_json() for o in seen)
    assert RULE not in told
    assert not any(str(text) in told for text, _ in rows())


def test_the_best_candidate_is_remembered_by_its_held_out_effect(learned: Path) -> None:
    result = finished(learned / "other.db", memory="off")  # the same run, as nothing was recalled
    best = [o for o in kept(learned, Observation) if o.candidate == result.verdict.best]
    assert [(o.n, o.gain) for o in best] == [(result.verdict.n, result.verdict.difference)]


def test_operators_are_remembered_by_what_their_steps_earned(learned: Path) -> None:
    (use,) = kept(learned, OperatorUse)
    assert use.arms
    assert all(won >= 0 and lost >= 0 and won + lost > 0 for won, lost in use.arms.values())


def test_the_next_run_tries_what_helped_and_says_so(tmp_path: Path) -> None:
    first = finished(tmp_path / "crito.db", memory="project")
    assert first.lessons == ()
    second = finished(tmp_path / "crito.db", memory="project", seed=1)
    tried = [use for use in second.lessons if use.gain is not None]
    assert tried
    assert all(use.expected > 0 and use.n > 0 for use in tried)
    known = {lesson.id for lesson in lessons(kept(tmp_path, Observation))}
    assert {use.lesson for use in second.lessons} <= known
    assert second.as_json()["lessons"][0]["lesson"] == second.lessons[0].lesson


def test_without_memory_nothing_is_read_or_written(tmp_path: Path) -> None:
    finished(tmp_path / "crito.db", memory="off")
    assert not (tmp_path / "lessons.db").exists()
    finished(tmp_path / "crito.db", memory="project")
    assert finished(tmp_path / "crito.db", memory="off").lessons == ()
    assert len({o.run for o in kept(tmp_path, Observation)}) == 1


def test_a_proven_prompt_is_kept_on_request_and_tried_as_a_further_seed(tmp_path: Path) -> None:
    first = finished(tmp_path / "crito.db", memory="project", remember_prompts=True)
    assert first.verdict.decision == "improved"
    (proven,) = kept(tmp_path, ProvenPrompt)
    assert proven.prompt == first.prompt
    second = finished(tmp_path / "crito.db", memory="project", seed=1)
    assert second.chain[1].operator == "recall"
    assert second.chain[1].hypothesis == f"the best prompt of run {first.run}"


def test_a_hosts_store_takes_the_place_of_the_file(tmp_path: Path) -> None:
    host = InMemoryStore()
    finished_in(tmp_path, host)
    assert not (tmp_path / "lessons.db").exists()
    assert finished_in(tmp_path, host).lessons
    assert len({o.run for o in asyncio.run(LessonStore(host).read(Observation))}) == 2


def test_a_store_that_fails_costs_a_warning_and_not_the_result(tmp_path: Path) -> None:
    class Full(InMemoryStore):
        async def aput(self, *_: Any, **__: Any) -> None:
            raise OSError("disk full")

    heard: list[Any] = []
    result = finished_in(tmp_path, Full(), heard=heard)
    assert result.verdict.decision == "improved"
    assert [e["text"] for e in heard if e["event"] == "warning"] == ["nothing was remembered of this run: disk full"]


def test_a_damaged_memory_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "lessons.db").write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match="--no-memory"):
        finished(tmp_path / "crito.db", memory="project")
    assert not (tmp_path / "crito.db").exists()
    assert finished(tmp_path / "crito.db", memory="off").verdict.n > 0


def test_bad_advice_must_win_like_any_other_and_does_not(tmp_path: Path) -> None:
    finished(tmp_path / "crito.db", memory="project")
    poisoned = [
        o.model_copy(update={"gain": -o.gain, "low": -o.high, "high": -o.low, "run": f"bad{number}"})
        for o in kept(tmp_path, Observation)
        for number in range(9)
    ]

    async def poison() -> None:
        async with opened(tmp_path / "lessons.db") as store:
            await store.write(*poisoned)

    asyncio.run(poison())
    honest = finished(tmp_path / "a.db", memory="off", seed=1)
    misled = finished(tmp_path / "crito.db", memory="project", seed=1)
    assert misled.verdict.best_score >= honest.verdict.best_score - 0.1


def finished_in(folder: Path, store: BaseStore, heard: list[Any] | None = None) -> Any:
    """A run with a store of the host."""
    return optimize(
        DESCRIPTION,
        rows(),
        model=toy_model(),
        labels=LABELS,
        budget=Budget(calls=300),
        store=store,
        database=folder / "crito.db",
        listener=(heard if heard is not None else []).append,
    )
