"""The gate before a race."""

from pathlib import Path

import pytest
from langgraph.runtime import Runtime

from crito.graph.rounds import _unrepaired, repair
from crito.graph.state import RunState
from crito.prompt import Demo, Prompt
from crito.tools.meter import Spend
from tests.builders import make_candidate, make_deps, make_outcome
from tests.unit.test_rounds import TRAIN, TRIED, deps_with, preset_of


@pytest.mark.parametrize(
    ("mended", "kept", "reason"),
    [
        ((1.0, 0.0), (1.0,), None),
        ((0.0, 0.0), (1.0,), "mends none of the 2 cited failures"),
        ((1.0, 1.0), (0.0,), None),
        ((1.0, 0.0), (0.0,), "mends 1 of the 2 cited failures, breaks 1 right cases"),
        ((1.0, 1.0), (0.0, 0.0, 0.0), "mends 2 of the 2 cited failures, breaks 3 right cases"),
        ((0.0, 0.0), (0.0,), "mends none of the 2 cited failures"),
        ((1.0, None), (None,), None),  # a failed call breaks nothing
    ],
)
async def test_a_patch_must_mend_more_than_it_breaks(
    tmp_path: Path, mended: tuple[float | None, ...], kept: tuple[float | None, ...], reason: str | None
) -> None:
    async with make_deps(tmp_path, answer=lambda _: RuntimeError("nothing is left to ask")) as deps:
        cited, before = TRAIN[: 2 + len(kept)], (0.0, 0.0, *[1.0] * len(kept))
        mends, keeps = (tuple(e.id for e in part) for part in (cited[:2], cited[2:]))
        candidate = make_candidate("New.", parents=(deps.seed,), mends=mends, keeps=keeps)
        await deps.archive.record(make_outcome(deps.seed, e, v) for e, v in zip(cited, before, strict=True))
        # A refused request is not asked again, so that the failed ones stay as they are.
        found = [make_outcome(candidate.id, e, v) for e, v in zip(cited, (*mended, *kept), strict=True)]
        failed = {"error": "bad_request: no"}
        await deps.archive.record(o if o.score else o.model_copy(update=failed) for o in found)
        assert await _unrepaired(deps, candidate) == (reason and ("no_repair", reason))


@pytest.mark.parametrize("gate", [True, False])
async def test_the_gate_can_be_left_open(tmp_path: Path, gate: bool) -> None:
    async with deps_with(tmp_path, preset_of("babble", gate=gate)) as deps:
        useless = make_candidate("New.", parents=(deps.seed,), mends=(TRAIN[0].id,))
        await deps.archive.add(useless)
        state: RunState = {"alive": [useless.id], "rejected": {}, **TRIED}  # type: ignore[typeddict-item]
        update = await repair({**state, "calls": 24}, Runtime(context=deps))
    closed = {"alive": [], "rejected": {useless.id: ("no_repair", "mends none of the 1 cited failures")}}
    assert update == {**(closed if gate else {}), "calls": 24}


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize(("spent", "calls"), [(0, 24), (176, 24), (177, 23), (200, 0)])
async def test_the_race_gets_what_agents_and_gate_have_left(tmp_path: Path, gate: bool, spent: int, calls: int) -> None:
    async with deps_with(tmp_path, preset_of("babble", gate=gate)) as deps:
        deps.ledger.meter.settle(Spend(), Spend(calls=spent))  # of the 200 that the task has
        update = await repair({"alive": [], "rejected": {}, "calls": 24, "round": 1}, Runtime(context=deps))
    assert update["calls"] == calls


async def test_a_case_that_is_shown_is_no_proof(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        shown = Demo(inputs=TRAIN[0].inputs, output="billing", example_id=TRAIN[0].id)
        candidate = make_candidate(prompt=Prompt(demos=(shown,)), parents=(deps.seed,), mends=(TRAIN[0].id,))
        assert await _unrepaired(deps, candidate) is None
        assert deps.ledger.meter.spent.calls == 0
