"""What a run that has ended writes down."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from langgraph.store.memory import InMemoryStore

from crito.graph.learn import learn
from crito.memory.lesson_store import LessonStore
from crito.memory.lessons import Observation
from crito.memory.proven import ProvenPrompt
from crito.records import Candidate, Verdict, child
from crito.task import Example
from tests.builders import SEED, make_deps, make_examples, make_outcome


async def learned(
    path: Path,
    scores: tuple[float, ...],
    *,
    test: tuple[float, ...] = (0.0,) * 12,
    decision: Literal["improved", "kept", "inconclusive"] = "inconclusive",
    block: int = 8,
    **fields: Any,
) -> tuple[LessonStore, Candidate]:
    """The memory after a run whose seed scored nothing and whose best, in another layout, had these scores."""
    store = LessonStore(InMemoryStore())
    async with make_deps(path, **fields) as deps:
        seed = deps.archive.candidate(deps.seed)
        marked = SEED.model_copy(update={"layout": SEED.layout.model_copy(update={"style": "xml"})})
        best = child(seed, SEED.diff(marked), operator="format", round_number=1)
        await deps.archive.add(best)
        scored: list[tuple[Example, float]] = [*zip(deps.val, scores, strict=False), *zip(deps.test, test, strict=True)]
        for example, score in scored:
            await deps.archive.record([make_outcome(seed.id, example, 0.0), make_outcome(best.id, example, score)])
        verdict = Verdict(
            decision=decision,
            seed=seed.id,
            best=best.id,
            seed_score=0.0,
            best_score=sum(test) / 12,
            difference=sum(test) / 12,
            interval=(0.0, 1.0),
            p_value=0.5,
            n=12,
        )
        state = {"verdict": verdict.model_dump(), "recalled": {}, "operators": {}}
        preset = deps.preset.model_copy(update={"block": block})
        await learn(replace(deps, lessons=store, preset=preset), state)
    return store, best


async def test_a_prompt_is_proven_by_its_validation_effect_whatever_the_test_says(tmp_path: Path) -> None:
    store, best = await learned(tmp_path, (1.0,) * 9 + (0.0,) * 3, decision="kept", remember_prompts=True)
    (proven,) = await store.read(ProvenPrompt)
    assert proven.prompt == best.main
    assert (proven.n, proven.gain) == (12, 0.75)


@pytest.mark.parametrize("val", [(1.0, *(0.0,) * 11), (0.0,) * 12])
async def test_a_prompt_that_won_on_the_test_examples_alone_is_not_proven(
    tmp_path: Path, val: tuple[float, ...]
) -> None:
    store, _ = await learned(tmp_path, val, test=(1.0,) * 12, decision="improved", remember_prompts=True)
    assert await store.read(ProvenPrompt) == []


@pytest.mark.parametrize(
    ("answered", "block", "examples", "remembered"),
    [(4, 4, 12, [4]), (3, 4, 12, []), (8, 8, 12, [8]), (5, 8, 5, [5]), (12, 20, 12, [12]), (11, 20, 12, [])],
)
async def test_whoever_got_through_a_block_of_its_race_is_remembered(
    tmp_path: Path, answered: int, block: int, examples: int, remembered: list[int]
) -> None:
    store, _ = await learned(tmp_path, (1.0,) * answered, block=block, val=make_examples(examples, "val"))
    assert [o.n for o in await store.read(Observation)] == remembered
