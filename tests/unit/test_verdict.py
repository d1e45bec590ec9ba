from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.runtime import Runtime

from crito.graph.verdict import compare, verdict
from crito.protocols import ModelRequest
from crito.records import Verdict
from tests.builders import make_candidate, make_deps, make_examples, make_outcome

EXAMPLES = make_examples(12, "test")


async def verdict_on(
    path: Path, seed: Sequence[float | None], best: Sequence[float | None], *, same: bool = False
) -> Verdict:
    """The verdict on hand-made scores; None is a failed call."""
    async with make_deps(path) as deps:
        for name, scores, tokens in (("seed", seed, 10), ("best", best, 30)):
            pairs = zip(EXAMPLES, scores, strict=False)  # where the budget ends, the last ones are not asked
            await deps.archive.record(make_outcome(name, e, v, tokens=tokens) for e, v in pairs)
        return compare(deps, "seed", "seed" if same else "best", EXAMPLES)


async def test_a_clear_gain_is_an_improvement(tmp_path: Path) -> None:
    verdict = await verdict_on(tmp_path, [0.0] * 12, [1.0] * 12)
    assert (verdict.decision, verdict.difference, verdict.n, verdict.failed) == ("improved", 1.0, 12, 0)
    assert (verdict.seed_score, verdict.best_score) == (0.0, 1.0)
    assert verdict.p_value == pytest.approx(2 / 2**12)
    assert 0 < verdict.interval[0] < verdict.interval[1]


@pytest.mark.parametrize(("gains", "decision", "p_value"), [(6, "improved", 2 / 64), (5, "inconclusive", 2 / 32)])
async def test_a_gain_must_be_more_than_chance_can_do(
    tmp_path: Path, gains: int, decision: str, p_value: float
) -> None:
    verdict = await verdict_on(tmp_path, [0.0] * 12, [1.0] * gains + [0.0] * (12 - gains))
    assert verdict.decision == decision
    assert verdict.p_value == pytest.approx(p_value)


@pytest.mark.parametrize("best", [[0.5] * 12, [1.0, 0.0] * 6, [0.0] * 12])
async def test_no_gain_keeps_the_seed(tmp_path: Path, best: list[float]) -> None:
    verdict = await verdict_on(tmp_path, [0.5] * 12, best)
    assert verdict.decision == "kept"
    assert "not better than your prompt on the test examples" in verdict.reason


async def test_the_seed_against_itself_is_kept_without_statistics(tmp_path: Path) -> None:
    verdict = await verdict_on(tmp_path, [1.0, 0.0] * 6, [0.0] * 12, same=True)
    assert (verdict.decision, verdict.p_value, verdict.interval) == ("kept", 1.0, (0.0, 0.0))
    assert (verdict.seed_score, verdict.best_score) == (0.5, 0.5)


async def test_only_pairs_that_both_answered_count(tmp_path: Path) -> None:
    seed = [None, 1.0, 0.0, 0.0, *[0.0] * 8]
    best = [1.0, None, 1.0, 1.0, *[1.0] * 8]
    verdict = await verdict_on(tmp_path, seed, best)
    assert (verdict.n, verdict.failed, verdict.seed_score, verdict.best_score) == (10, 2, 0.0, 1.0)


async def test_what_the_budget_did_not_reach_for_has_not_failed(tmp_path: Path) -> None:
    verdict = await verdict_on(tmp_path, [None, *[0.0] * 8], [1.0] * 8)
    assert (verdict.n, verdict.failed, verdict.unasked) == (7, 1, 4)


async def test_without_any_pair_the_seed_is_kept_and_the_reason_said(tmp_path: Path) -> None:
    verdict = await verdict_on(tmp_path, [None] * 12, [1.0] * 12)
    assert (verdict.decision, verdict.n, verdict.failed) == ("kept", 0, 12)
    assert verdict.reason == "no test example was answered by both prompts"


async def test_the_cost_of_one_use_is_told_for_both(tmp_path: Path) -> None:
    verdict = await verdict_on(tmp_path, [0.0] * 12, [1.0] * 12)
    assert verdict.tokens_per_use == (10.0, 30.0)
    assert verdict.usd_per_use == (0.0, 0.0)


async def test_repeats_are_averaged_and_are_no_examples_of_their_own(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        for sample, right in ((0, 1.0), (1, 0.0)):
            for name, value in (("seed", 0.0), ("best", right)):
                made = (make_outcome(name, e, value).model_copy(update={"sample": sample}) for e in EXAMPLES)
                await deps.archive.record(made)
        found = compare(deps, "seed", "best", EXAMPLES)
    assert (found.n, found.difference, found.noise) == (12, 0.5, 0.5)
    assert found.p_value == pytest.approx(2 / 2**12)


async def test_without_repeats_no_noise_is_told(tmp_path: Path) -> None:
    assert (await verdict_on(tmp_path, [0.0] * 12, [1.0] * 12)).noise is None


async def test_each_test_example_is_answered_as_often_as_the_task_wants(tmp_path: Path) -> None:
    asked: list[float] = []

    def answer(request: ModelRequest) -> str:
        asked.append(request.temperature)
        return "billing" if len(asked) <= 24 else "shipping"  # the first sample of both prompts

    state: Any = {"incumbent": "best"}
    async with make_deps(tmp_path, answer=answer, repeats=3, temperature=0.7) as deps:
        better = make_candidate("Name the best team.", id="best")
        await deps.archive.add(better)
        update = await verdict(state, Runtime(context=deps))
        assert all(len(row) == 3 for row in deps.archive.repeats("best", deps.test))
    assert asked == [0.7] * (2 * 12 * 3)
    assert update["verdict"]["noise"] > 0
