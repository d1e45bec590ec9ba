"""Best prompts that were kept, in later runs."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore

from crito.api import resume
from crito.errors import Interrupted
from crito.graph.recall import recall
from crito.graph.run import Run
from crito.memory.lesson_store import LessonStore
from crito.memory.proven import ProvenPrompt, Trial
from crito.memory.recipe import Recipe
from crito.memory.signature import signature_of
from crito.prompt import Demo, Prompt
from tests.builders import SEED, make_deps
from tests.toy_run import LABELS, RULE, finished, toy_model
from tests.unit.test_lessons import observed
from tests.unit.test_recall import SIGNATURE, finished_in, kept


def test_a_proven_prompt_is_kept_on_request_and_tried_as_a_further_seed(tmp_path: Path) -> None:
    first = finished(tmp_path / "crito.db", memory="project", remember_prompts=True)
    assert first.verdict.decision == "improved"
    (proven,) = kept(tmp_path, ProvenPrompt)
    assert proven.prompt == first.prompt
    second = finished(tmp_path / "crito.db", memory="project", seed=1)
    assert second.chain[1].operator == "proven"
    assert second.chain[1].hypothesis == f"the best prompt of run {first.run}"
    use = second.lessons[0]
    assert (use.lesson, use.text, use.before) == (first.run, f"the best prompt of run {first.run}", proven.gain)
    (trial,) = kept(tmp_path, Trial)
    assert (trial.run, trial.origin, trial.gain, trial.n) == (second.run, first.run, use.gain, use.n)


def test_a_proven_prompt_that_wins_again_is_not_kept_twice(tmp_path: Path) -> None:
    first = finished(tmp_path / "crito.db", memory="project", remember_prompts=True)
    second = finished(tmp_path / "crito.db", memory="project", remember_prompts=True)
    assert second.verdict.best == first.verdict.best
    assert [p.run for p in kept(tmp_path, ProvenPrompt)] == [first.run]
    assert [t.origin for t in kept(tmp_path, Trial)] == [first.run]


async def test_demonstrations_that_a_task_holds_out_are_left_out_of_a_proven_prompt(tmp_path: Path) -> None:
    store = LessonStore(InMemoryStore())
    async with make_deps(tmp_path) as made:
        deps = replace(made, lessons=store)
        shown = [Demo(inputs=e.inputs, output="x") for e in (deps.task.splits.train[0], deps.val[0], deps.test[0])]
        prompt = SEED.model_copy(update={"demos": tuple(shown)})
        about = {"signature": await asyncio.to_thread(signature_of, deps.task), "model": "scripted", "labels": ()}
        await store.write(
            ProvenPrompt(run="r1", inputs=("input",), prompt=prompt, n=40, gain=0.5, seen=time.time(), **about)
        )
        update = await recall({}, Runtime(context=deps))
        (offer,) = update["recalled"]["prompts"]
        assert deps.archive.candidate(offer["candidate"]).main.demos == tuple(shown[:1])


def test_a_run_with_advice_that_is_stopped_in_either_round_of_its_opening_ends_like_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    def taught() -> InMemoryStore:
        recipe = Recipe(instructions="kept", demos=4)
        about = {"kind": "recipe", "label": "", "signature": SIGNATURE, "model": "scripted/toy", "seen": time.time()}
        proven = ProvenPrompt(
            run="r9",
            signature=SIGNATURE,
            model="scripted/toy",
            inputs=("input",),
            labels=LABELS,
            prompt=Prompt.from_text(f"Send it on. {RULE}"),
            n=40,
            gain=0.5,
            seen=time.time(),
        )
        seen = observed(**about, text=recipe.text, recipe=recipe)
        asyncio.run(LessonStore(host := InMemoryStore()).write(seen, proven))
        return host

    whole = finished_in(tmp_path / "whole", taught())
    assert "not tried" not in [use.outcome for use in whole.lessons]
    assert len(whole.lessons) == 2
    for number in (0, 1):
        begun, host, folder = list[Run](), taught(), tmp_path / str(number)

        def drain(event: Mapping[str, Any], number: int = number, begun: list[Run] = begun) -> None:
            if event["event"] == "round" and event["round"] == number:
                begun[0].drain("enough")

        with pytest.raises(Interrupted) as stopped:
            finished_in(folder, host, listener=drain, started=begun.append)
        (run,) = re.findall(r"resume (\w{8})", str(stopped.value))
        resumed = resume(run, model=(model := toy_model()), agent_model=model, store=host, database=folder / "crito.db")
        assert (resumed.chain, resumed.lessons, resumed.verdict) == (whole.chain, whole.lessons, whole.verdict)
        assert resumed.bill.calls == whole.bill.calls
