"""Rounds in which answers waver: who is ahead answers once more."""

from pathlib import Path

import pytest
from langgraph.runtime import Runtime

from crito.graph.decisions import remember
from tests.builders import make_deps, make_outcome
from tests.unit.test_decisions import STEPS, raced, state_of


@pytest.mark.parametrize(
    ("first", "second", "accepted"),
    [
        (0.75, 0.75, True),
        (0.75, 0.65, True),
        (0.75, 0.25, False),  # no better on both answers together
        (1.0, 0.1, False),  # better, by less than answers that waver so much
    ],
)
async def test_where_answers_waver_who_is_ahead_must_stay_so(
    tmp_path: Path, first: float, second: float, accepted: bool
) -> None:
    async with make_deps(tmp_path, repeats=2) as deps:
        ahead = await raced(deps, "Ahead.", first)
        state = await state_of(deps, STEPS[0], proposals={ahead.id: 0}, alive=[ahead.id])
        first_answers = [deps.archive.outcome(deps.seed, e.id) for e in deps.val]
        again = [*first_answers, *(make_outcome(ahead.id, e, second) for e in deps.val)]
        await deps.archive.record(o.model_copy(update={"sample": 1}) for o in again if o is not None)
        update = await remember(state, Runtime(context=deps))
    assert update["incumbent"] == (ahead.id if accepted else deps.seed)


@pytest.mark.parametrize(("repeats", "score", "again"), [(1, 1.0, False), (2, 1.0, True), (2, 0.25, False)])
async def test_only_who_is_ahead_and_may_waver_answers_again(
    tmp_path: Path, repeats: int, score: float, again: bool
) -> None:
    async with make_deps(tmp_path, repeats=repeats) as deps:
        raced_one = await raced(deps, "Raced.", score)
        state = await state_of(deps, STEPS[0], proposals={raced_one.id: 0}, alive=[raced_one.id])
        await remember(state, Runtime(context=deps))
        asked = [deps.archive.outcome(c, deps.val[0].id, 1) is not None for c in (deps.seed, raced_one.id)]
    assert asked == [again, again]


async def test_who_is_asked_again_does_not_depend_on_second_answers_that_are_there_already(tmp_path: Path) -> None:
    async with make_deps(tmp_path, repeats=2) as deps:
        ahead = await raced(deps, "Ahead.", 0.75)
        state = await state_of(deps, STEPS[0], proposals={ahead.id: 0}, alive=[ahead.id])
        half = (make_outcome(ahead.id, e, 0.0) for e in deps.val[:-1])  # a process was killed before the last one
        await deps.archive.record(outcome.model_copy(update={"sample": 1}) for outcome in half)
        await remember(state, Runtime(context=deps))
        asked = [deps.archive.outcome(c, deps.val[-1].id, 1) is not None for c in (deps.seed, ahead.id)]
    assert asked == [True, True]
