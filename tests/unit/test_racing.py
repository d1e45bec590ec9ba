from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crito.agents.evaluator import Evaluator
from crito.graph.racing import Standing, contenders_for, race
from crito.graph.schedules import Schedule
from crito.memory.archive import Archive
from crito.prompt import Prompt
from crito.protocols import Output
from crito.records import Candidate
from crito.task import Example, Score
from crito.tools.database import Database
from tests.builders import make_candidate, make_examples, make_outcome

RIVAL = make_candidate("rival")
EXAMPLES = make_examples(24)
CLOSE = {name: [share, *[0.5] * 23] for name, share in zip("abcde", (0.1, 0.9, 0.3, 0.7, 0.5), strict=True)}
"""One example in eight tells them apart: no test can, so ranks decide."""


class TableTarget:
    """Looks the score up: ``scores[prompt][example number]``; counts how often it was asked."""

    def __init__(self, scores: Mapping[str, Sequence[float]]) -> None:
        self.scores = scores
        self.calls = 0

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        self.calls += 1
        number = int(inputs["input"].split()[-1])
        return Output(text=str(self.scores[prompts["main"].instructions()][number]))


def read_off(output: Output, example: Example) -> Score:
    return Score(value=float(output.text))


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    database = Database(tmp_path / "crito.db")
    yield Archive(database, "r")
    await database.close()


async def run_race(
    archive: Archive,
    scores: Mapping[str, Sequence[float]],
    *,
    rival: float = 0.0,
    schedule: Schedule = "halving",
    calls: int | None = None,
) -> tuple[Standing, int, dict[str, str]]:
    """The race's standing by name, its calls, and the names by id."""
    target = TableTarget(scores)
    contenders: list[Candidate] = [make_candidate(name) for name in scores]
    await archive.record(make_outcome(RIVAL.id, e, rival) for e in EXAMPLES)
    evaluator = Evaluator(target, read_off, archive)
    standing = await race(
        evaluator, archive, contenders, RIVAL.id, EXAMPLES, block=8, alpha=0.2, schedule=schedule, calls=calls
    )
    return standing, target.calls, {c.id: c.main.instructions() for c in contenders}


async def test_the_best_contender_finishes(archive: Archive) -> None:
    scores = {"bad": [0.0] * 24, "good": [1.0] * 24, "fair": [0.5] * 24}
    standing, _, names = await run_race(archive, scores)
    assert [names[c] for c in standing.finished] == ["good"]


async def test_who_is_dominated_drops_out_after_the_first_block(archive: Archive) -> None:
    standing, calls, names = await run_race(archive, {"good": [1.0] * 24, "bad": [0.0] * 24}, rival=0.5)
    assert {names[c]: reason for c, reason in standing.dropped.items()} == {"bad": "beaten after 8 examples"}
    assert calls == 24 + 8


async def test_everybody_beaten_by_the_rival_ends_the_race(archive: Archive) -> None:
    standing, calls, _ = await run_race(archive, {"a": [0.0] * 24, "b": [0.1] * 24}, rival=1.0)
    assert (standing.finished, calls) == ((), 16)
    assert set(standing.dropped.values()) == {"beaten after 8 examples"}


async def test_the_upper_half_goes_on(archive: Archive) -> None:
    standing, calls, names = await run_race(archive, CLOSE, rival=0.5)
    dropped = {names[c]: reason for c, reason in standing.dropped.items()}
    assert dropped == {
        "a": "in the lower half after 8 examples",
        "c": "in the lower half after 8 examples",
        "e": "in the lower half after 16 examples",
    }
    assert [names[c] for c in standing.finished] == ["b", "d"]
    assert calls == 5 * 8 + 3 * 8 + 2 * 8


async def test_equal_contenders_stay_up_to_half_as_many_again(archive: Archive) -> None:
    standing, calls, names = await run_race(archive, {name: [0.5] * 24 for name in "abcdefgh"}, rival=0.5)
    assert [names[c] for c in standing.finished] == ["a", "b", "c", "d"]  # 8, then 4 places and 2 ties, then 3 and 1
    assert calls == 8 * 8 + 6 * 8 + 4 * 8


async def test_equal_contenders_stay_only_while_the_calls_reach(archive: Archive) -> None:
    reckoned = 8 * 8 + 4 * 8 + 2 * 8
    standing, calls, names = await run_race(archive, {n: [0.5] * 24 for n in "abcdefgh"}, rival=0.5, calls=reckoned + 8)
    assert [names[c] for c in standing.finished] == ["a", "b", "c"]
    assert calls == reckoned + 8


@pytest.mark.parametrize(
    ("calls", "finished", "spent"),
    [
        (None, "abcde", 5 * 8 + 5 * 8 + 5 * 8),
        (200, "abcde", 5 * 8 + 5 * 8 + 5 * 8),
        (5 * 8 + 4 * 8 + 3 * 8, "bde", 5 * 8 + 4 * 8 + 3 * 8),
        (5 * 8 + 3 * 8 + 2 * 8, "bd", 5 * 8 + 3 * 8 + 2 * 8),
    ],
    ids=["no limit", "enough for all", "a few more than half", "half"],
)
async def test_in_an_affordable_race_as_many_stay_as_the_calls_reach_for(
    archive: Archive, calls: int | None, finished: str, spent: int
) -> None:
    standing, used, names = await run_race(archive, CLOSE, rival=0.5, schedule="affordable", calls=calls)
    assert "".join(names[c] for c in standing.finished) == finished
    assert used == spent


async def test_an_affordable_race_spends_nothing_on_who_is_beaten(archive: Archive) -> None:
    scores = {"good": [1.0] * 24, "bad": [0.0] * 24}
    standing, used, names = await run_race(archive, scores, rival=0.5, schedule="affordable")
    assert {names[c]: reason for c, reason in standing.dropped.items()} == {"bad": "beaten after 8 examples"}
    assert used == 24 + 8


async def test_one_contender_answers_everything_unless_it_is_beaten(archive: Archive) -> None:
    standing, calls, _ = await run_race(archive, {"a": [0.5] * 24}, rival=0.5)
    assert (len(standing.finished), calls) == (1, 24)


async def test_a_race_without_contenders_costs_nothing(archive: Archive) -> None:
    assert await run_race(archive, {}) == (Standing((), {}), 0, {})


async def test_what_failed_in_the_rival_beats_nobody(archive: Archive) -> None:
    target = TableTarget({"a": [0.0] * 24})
    await archive.record(make_outcome(RIVAL.id, e, None) for e in EXAMPLES)
    evaluator = Evaluator(target, read_off, archive)
    standing = await race(evaluator, archive, [make_candidate("a")], RIVAL.id, EXAMPLES, block=8, alpha=0.2)
    assert len(standing.finished) == 1


async def test_in_full_everybody_answers_everything(archive: Archive) -> None:
    standing, calls, _ = await run_race(archive, {"good": [1.0] * 24, "bad": [0.0] * 24}, rival=0.5, schedule="full")
    assert (len(standing.finished), standing.dropped, calls) == (2, {}, 48)


async def test_the_best_of_a_minibatch_answers_the_rest(archive: Archive) -> None:
    scores = {"late": [0.0] * 8 + [1.0] * 16, "good": [1.0] * 24, "fair": [0.5] * 24}
    standing, calls, names = await run_race(archive, scores, schedule="minibatch")
    assert [names[c] for c in standing.finished] == ["good"]
    assert set(standing.dropped.values()) == {"not the best of the minibatch of 8 examples"}
    assert calls == 3 * 8 + 16


async def test_blocks_drop_who_is_beaten_and_nobody_else(archive: Archive) -> None:
    scores = {"good": [1.0] * 24, "like it": [1.0] * 23 + [0.5], "bad": [0.0] * 24}
    standing, calls, names = await run_race(archive, scores, rival=0.5, schedule="blocks")
    assert [names[c] for c in standing.finished] == ["good", "like it"]
    assert {names[c]: why for c, why in standing.dropped.items()} == {"bad": "beaten after 8 examples"}
    assert calls == 24 + 24 + 8


async def test_who_is_hardly_the_best_drops_out(archive: Archive) -> None:
    scores = {"good": [1.0] * 24, "bad": [0.0, 1.0, 0.0] * 8}
    standing, calls, names = await run_race(archive, scores, rival=0.5, schedule="best_probability")
    assert [names[c] for c in standing.finished] == ["good"]
    assert set(standing.dropped.values()) == {"the best with less than 5% probability after 8 examples"}
    assert calls == 24 + 8


async def test_thompson_spends_its_calls_on_the_promising(archive: Archive) -> None:
    scores = {"bad": [0.0] * 24, "good": [1.0] * 24, "poor": [0.1] * 24}
    standing, calls, names = await run_race(archive, scores, schedule="thompson", calls=40)
    assert [names[c] for c in standing.finished] == ["good"]
    assert set(standing.dropped) == {c for c in names if names[c] != "good"}
    assert calls == 40


@pytest.mark.parametrize("calls", [24, 31, 60])
async def test_thompson_always_lets_one_contender_finish(archive: Archive, calls: int) -> None:
    rng = np.random.default_rng(calls)
    scores = {f"c{n}": rng.integers(0, 2, 24).astype(float).tolist() for n in range(6)}
    standing, spent, _ = await run_race(archive, scores, schedule="thompson", calls=calls)
    assert standing.finished
    assert spent <= calls


async def test_thompson_without_a_limit_is_a_full_race(archive: Archive) -> None:
    standing, calls, _ = await run_race(archive, {"a": [1.0] * 24, "b": [0.0] * 24}, schedule="thompson")
    assert (len(standing.finished), calls) == (2, 48)


@given(calls=st.integers(1, 2000), examples=st.integers(1, 120), block=st.integers(1, 30))
def test_as_many_contenders_as_the_calls_pay_for(calls: int, examples: int, block: int) -> None:
    count = contenders_for(calls, examples, block)
    assert count >= 1
    assert count == 1 or worst_cost(count, examples, block) <= calls
    assert worst_cost(count + 1, examples, block) > calls


def worst_cost(contenders: int, examples: int, block: int) -> int:
    """Calls of a race in which nobody is beaten by a test: only the halving thins it out."""
    spent, done = 0, 0
    while done < examples:
        step = min(block, examples - done)
        spent, done = spent + contenders * step, done + step
        contenders = max(1, (contenders + 1) // 2)
    return spent


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("schedule", ["halving", "affordable"])
async def test_a_race_keeps_to_its_calls_and_ends_the_same_way_twice(
    tmp_path: Path, seed: int, schedule: Schedule
) -> None:
    rng = np.random.default_rng(seed)
    count = contenders_for(100, 24, 8)
    scores = {f"c{n}": rng.integers(0, 2, len(EXAMPLES)).astype(float).tolist() for n in range(count)}
    found = []
    for run in ("one", "two"):
        database = Database(tmp_path / f"{run}.db")
        standing, calls, _ = await run_race(Archive(database, run), scores, rival=0.5, schedule=schedule, calls=100)
        await database.close()
        assert calls <= 100
        found.append(standing)
    assert found[0] == found[1]
