from pathlib import Path

from crito.graph.baselines import baselines
from crito.graph.deps import Deps
from crito.graph.operators.opening import null
from crito.graph.operators.strategy import chain_of_thought
from crito.prompt import Demo
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps, make_outcome
from tests.toy_run import finished


async def _scored(deps: Deps, candidate: Candidate, *values: float) -> None:
    await deps.archive.add(candidate)
    await deps.archive.record(make_outcome(candidate.id, e, v) for e, v in zip(deps.val, values, strict=False))


def _showing(seed: str, *outputs: str) -> Candidate:
    demos = tuple(Demo(inputs={"input": output}, output=output) for output in outputs)
    return make_candidate(prompt=SEED.model_copy(update={"demos": demos}), parents=(seed,))


async def test_baselines_are_named_and_say_on_how_many_examples(tmp_path: Path) -> None:
    async with make_deps(tmp_path, reasoning=True) as deps:
        seed = deps.archive.candidate(deps.seed)
        await _scored(deps, seed, 1.0, 0.0)
        await _scored(deps, null(seed)[0], 0.0)
        await _scored(deps, chain_of_thought(seed, deps.task)[0], 1.0, 1.0, 0.0, 0.0)
        await _scored(deps, _showing(seed.id, "a", "b"), 1.0, 0.0)
        found = {b.name: (b.val_score, b.n) for b in baselines(deps)}
    assert found == {
        "your prompt": (0.5, 2),
        "no instructions": (0.0, 1),
        "your prompt, step by step": (0.5, 4),
        "your prompt, 2 examples": (0.5, 2),
    }


async def test_of_several_sets_of_examples_the_best_of_those_that_answered_most_counts(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        await _scored(deps, _showing(deps.seed, "a"), 1.0)
        await _scored(deps, _showing(deps.seed, "b", "c"), 1.0, 0.0)
        await _scored(deps, _showing(deps.seed, "d", "e", "f"), 1.0, 1.0)
        await _scored(deps, _showing("another", "g"), 1.0, 1.0, 1.0)
        found = [b.name for b in baselines(deps)]
    assert found == ["your prompt, 3 examples"]


async def test_what_was_never_asked_or_says_something_of_its_own_is_no_baseline(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        await _scored(deps, deps.archive.candidate(deps.seed), 1.0)
        await _scored(deps, null(deps.archive.candidate(deps.seed))[0])
        await _scored(deps, make_candidate("Look at the subject first."), 1.0)
        assert [b.name for b in baselines(deps)] == ["your prompt"]


def test_a_result_names_what_its_search_had_to_beat(tmp_path: Path) -> None:
    result = finished(tmp_path / "crito.db")
    assert [b.name for b in result.baselines][:2] == ["your prompt", "no instructions"]
    assert result.baselines[0].val_score == result.chain[0].val_score
    assert result.as_json()["baselines"][0]["name"] == "your prompt"
