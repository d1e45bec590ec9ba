"""Whole runs that learn, and later ones that go by it."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from langgraph.store.base import BaseStore, Op, PutOp, SearchItem
from langgraph.store.memory import InMemoryStore

from crito.api import aoptimize, optimize, resume
from crito.errors import BadInput, Interrupted
from crito.graph.operators import opening
from crito.graph.operators.assignment import Assignment
from crito.graph.preset import Preset
from crito.graph.recall import uses
from crito.graph.run import Run
from crito.graph.wiring import silent
from crito.memory.attempts import Attempt
from crito.memory.lesson_store import LessonStore, opened
from crito.memory.lessons import Observation, lessons
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt, Trial
from crito.memory.recalled import Advice, Recalled
from crito.memory.recipe import LayoutChange, Recipe
from crito.memory.signature import Signature
from crito.prompt import Style
from crito.protocols import ModelReply, ModelRequest
from crito.result import Result
from crito.task import Budget
from crito.tools.database import Database
from crito.tools.scripted_model import ScriptedModel
from tests.builders import make_deps, make_outcome, rows_of
from tests.stub_provider import Fault, StubProvider
from tests.toy_run import DESCRIPTION, LABELS, RULE, agents, finished, rows, target, toy_model
from tests.unit.test_lessons import observed

SIGNATURE = Signature(kind="classification", metric="label", labels=2, input_words=5.0, language="en")
STYLES: tuple[Style, ...] = ("json", "xml", "markdown")
_Record = TypeVar("_Record", Observation, OperatorUse, ProvenPrompt, Trial)


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


def test_the_best_recipe_is_remembered_by_its_validation_effect(tmp_path: Path) -> None:
    def answer(request: ModelRequest) -> str | ModelReply | Exception:
        said = target(request)
        return "billing" if said == "shipping" and "refund" in request.messages[-1].content else said

    result = finished_in(tmp_path, host := InMemoryStore(), model=toy_model(answer))
    seen = asyncio.run(LessonStore(host).read(Observation))
    best = [o for o in seen if o.candidate == result.verdict.best]
    gain = result.chain[-1].val_score - result.chain[0].val_score
    assert [o.kind for o in best] == ["recipe"]
    assert best[0].gain == pytest.approx(gain)
    assert best[0].n != result.verdict.n  # nothing of the test examples is remembered


def test_a_direction_is_remembered_by_what_it_added_to_the_prompt_that_it_changed(learned: Path) -> None:
    result = finished(learned / "other.db", memory="off")  # the same run, as nothing was recalled
    before, best = result.chain[-2:]
    assert before.operator != "seed"
    (seen,) = [o for o in kept(learned, Observation) if o.candidate == best.candidate]
    assert seen.kind == "direction"
    assert seen.gain == pytest.approx(best.val_score - before.val_score)
    assert seen.section == "instructions"


@pytest.mark.parametrize("said", ["say: My refund 2 is wrong", RULE, "name shipping first"])
def test_a_direction_that_tells_what_the_users_texts_say_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def indiscreet(request: ModelRequest) -> str | ModelReply | Exception:
        given = agents(request)
        return given.replace("say where refunds go", said) if isinstance(given, str) else given

    monkeypatch.setattr("tests.toy_run.agents", indiscreet)
    result = finished_in(tmp_path, host := InMemoryStore())
    assert said in result.chain[-1].hypothesis
    seen = asyncio.run(LessonStore(host).read(Observation))
    assert {o.kind for o in seen} == {"recipe"}


def test_a_recipe_that_a_seed_follows_in_part_is_measured_all_the_same(tmp_path: Path) -> None:
    recipe = Recipe(instructions="kept", demos=99)
    claim = observed(kind="recipe", recipe=recipe, label="", text=recipe.text, signature=SIGNATURE, seen=time.time())
    asyncio.run(LessonStore(host := InMemoryStore()).write(claim))
    result = finished_in(tmp_path, host)
    assert [use.lesson for use in result.lessons] == [claim.lesson]
    (lesson,) = [x for x in lessons(asyncio.run(LessonStore(host).read(Observation))) if x.id == claim.lesson]
    assert lesson.runs == (claim.run, result.run)


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
    assert all(use.before > 0 and use.n > 0 for use in tried)
    known = {lesson.id for lesson in lessons(kept(tmp_path, Observation))}
    assert {use.lesson for use in second.lessons} <= known
    assert second.as_json()["lessons"][0]["lesson"] == second.lessons[0].lesson


@pytest.mark.parametrize(
    ("said", "author", "outcome"),
    [
        ("wrong_content: Say where refunds go!", "rewriter", "not better: it lost"),
        ("wrong_content: say where the refunds go", "rewriter", "not better: it lost"),
        ("wrong_content: say where parcels went", "rewriter", "not taken up"),
        ("wrong_content: say where refunds go", "code", "not taken up"),
        ("", "rewriter", "not taken up"),
    ],
)
async def test_what_came_of_a_direction_is_what_came_of_an_agents_hypothesis_that_says_it(
    tmp_path: Path, said: str, author: str, outcome: str
) -> None:
    (lesson,) = lessons([observed(text="say where refunds go")])
    tried: dict[str, Any] = {"parent": "s", "round": 1, "operator": "o", "author": author, "hypothesis": said}
    measured = {"fate": "not_better", "reason": "it lost", "gain": -0.1, "n": 12}
    async with make_deps(tmp_path) as deps:
        await deps.attempts.record(
            Attempt(candidate="a", **tried, fate="screened"),
            Attempt(candidate="b", **tried, **measured),
            Attempt(candidate="c", **{**tried, "hypothesis": "off_label: name the labels"}, fate="accepted"),
        )
        await deps.archive.record(make_outcome(name, e, v) for name, v in (("s", 0.75), ("b", 0.5)) for e in deps.val)
        (use,) = uses(deps, Recalled(directions=(Advice.of(lesson),)))
    assert (use.outcome, use.gain) == (outcome, None if outcome == "not taken up" else -0.25)  # beside its parent


async def test_a_recipe_that_is_the_null_prompt_is_measured_as_that(tmp_path: Path) -> None:
    bare = Recipe(instructions="none")
    (lesson,) = lessons([observed(kind="recipe", label="", text=bare.text, recipe=bare)])
    recalled = Recalled(recipes=(Advice.of(lesson),))
    async with make_deps(tmp_path) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await opening.propose(deps, Assignment(parents=(seed,), count=6, round=0, recalled=recalled))
        assert [c.operator for c in found] == ["null", *["spread"] * 5]
        await deps.archive.add(*found)
        tried: dict[str, Any] = {"parent": seed.id, "round": 0, "operator": "null", "author": "code", "hypothesis": "h"}
        await deps.attempts.record(Attempt(candidate=found[0].id, **tried, fate="eliminated", n=2))
        for name, value in ((seed.id, 0.5), (found[0].id, 0.0)):
            await deps.archive.record(make_outcome(name, e, value) for e in deps.val[:2])
        (use,) = uses(deps, recalled)
    assert (use.outcome, use.gain, use.n) == ("eliminated", -0.5, 2)


def test_without_memory_nothing_is_read_or_written(tmp_path: Path) -> None:
    finished(tmp_path / "crito.db", memory="off")
    assert not (tmp_path / "lessons.db").exists()
    finished(tmp_path / "crito.db", memory="project")
    assert finished(tmp_path / "crito.db", memory="off").lessons == ()
    assert len({o.run for o in kept(tmp_path, Observation)}) == 1


def test_a_hosts_store_takes_the_place_of_the_file(tmp_path: Path) -> None:
    host = InMemoryStore()
    finished_in(tmp_path, host)
    assert not (tmp_path / "lessons.db").exists()
    assert finished_in(tmp_path, host).lessons
    assert len({o.run for o in asyncio.run(LessonStore(host).read(Observation))}) == 2


def test_a_run_that_is_resumed_needs_the_place_in_the_store_that_it_began_with(tmp_path: Path) -> None:
    begun = list[Run]()

    def drain(event: Mapping[str, Any]) -> None:
        if event["event"] == "round":
            begun[0].drain("enough")

    given: dict[str, Any] = {"store": InMemoryStore(), "database": tmp_path / "crito.db"}
    with pytest.raises(Interrupted) as stopped:
        optimize(
            DESCRIPTION,
            rows(),
            model=toy_model(),
            labels=LABELS,
            namespace=("team",),
            listener=drain,
            started=begun.append,
            **given,
        )
    (run,) = re.findall(r"resume (\w{8})", str(stopped.value))
    with pytest.raises(BadInput, match=r"store: the run was begun with InMemoryStore/team, this is InMemoryStore;"):
        resume(run, model=toy_model(), agent_model=toy_model(), **given)


def test_memory_is_read_once_and_not_again_when_a_run_is_resumed(tmp_path: Path) -> None:
    class Counting(InMemoryStore):
        read: ClassVar[list[tuple[str, ...]]] = []

        async def asearch(self, namespace_prefix: tuple[str, ...], /, **options: Any) -> list[SearchItem]:
            found = await super().asearch(namespace_prefix, **options)
            self.read.extend([namespace_prefix] * bool(found))
            return found

    host, begun = Counting(), list[Run]()
    finished_in(tmp_path, host)
    assert Counting.read == []

    def drain(event: Mapping[str, Any]) -> None:
        if event["event"] == "round":
            begun[0].drain("enough")

    with pytest.raises(Interrupted, match="resume") as stopped:
        finished_in(tmp_path, host, listener=drain, started=begun.append)
    assert sorted(Counting.read) == [("crito", "observations"), ("crito", "operators")]
    (run,) = re.findall(r"resume (\w{8})", str(stopped.value))
    model = toy_model()
    assert resume(run, model=model, agent_model=model, store=host, database=tmp_path / "crito.db").lessons
    assert len(Counting.read) == 2


def test_where_advice_lost_the_rest_of_the_opening_follows(tmp_path: Path) -> None:
    styled = Recipe(instructions="kept", layout_change=LayoutChange(style="xml"))
    about = {"kind": "recipe", "label": "", "signature": SIGNATURE, "model": "scripted/toy", "seen": time.time()}
    asyncio.run(LessonStore(host := InMemoryStore()).write(observed(**about, text=styled.text, recipe=styled)))
    result = finished_in(tmp_path, host)
    assert [use.gain for use in result.lessons] == [0.0]
    assert [baseline.name for baseline in result.baselines][:2] == ["your prompt", "no instructions"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store": InMemoryStore(), "memory": "off"}, "store: memory is off, .*; leave out one of the two"),
        ({"namespace": ("team",)}, "namespace: is a place in a store; give the store too"),
        (
            {"store": InMemoryStore(), "namespace": ("a.b",)},
            r"InMemoryStore/a\.b: cannot be used as a memory",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        optimize(DESCRIPTION, rows(), model=toy_model(), labels=LABELS, database=tmp_path / "crito.db", **given)
    assert not (tmp_path / "crito.db").exists()


def test_a_store_that_fails_costs_a_warning_and_not_the_result(tmp_path: Path) -> None:
    class Full(InMemoryStore):
        async def abatch(self, ops: Iterable[Op]) -> list[Any]:
            asked = list(ops)
            if any(isinstance(op, PutOp) for op in asked):
                raise OSError("disk full")
            return await super().abatch(asked)

    heard: list[Any] = []
    result = finished_in(tmp_path, Full(), listener=heard.append)
    assert result.verdict.decision == "improved"
    (said,) = [e["text"] for e in heard if e["event"] == "warning"]
    assert said.startswith("nothing was remembered of this run: Full: cannot be used as a memory (disk full)")


def test_a_damaged_memory_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "lessons.db").write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match="--no-memory"):
        finished(tmp_path / "crito.db", memory="project")
    assert not (tmp_path / "crito.db").exists()
    assert finished(tmp_path / "crito.db", memory="off").verdict.n > 0


def test_bad_advice_must_win_like_any_other_and_does_not(tmp_path: Path) -> None:
    host = InMemoryStore()
    bad = [Recipe(instructions="kept", layout_change=LayoutChange(style=s)) for s in STYLES]
    fields: dict[str, Any] = {"kind": "recipe", "label": "", "signature": SIGNATURE, "model": "scripted/toy"}
    sure = {"gain": 0.9, "low": 0.8, "high": 1.0, "n": 1_000_000, "seen": time.time()}
    claims = [observed(**fields, **sure, text=r.text, recipe=r, run=f"r{n}") for n, r in enumerate(bad)]
    asyncio.run(LessonStore(host).write(*claims))
    honest = finished_in(tmp_path, InMemoryStore())
    misled = finished_in(tmp_path, host)
    assert {use.lesson for use in misled.lessons} == {claim.lesson for claim in claims}
    assert all(use.before > 0.7 and use.gain == 0.0 and use.outcome != "accepted" for use in misled.lessons)
    assert misled.verdict.best_score >= honest.verdict.best_score - 0.1
    known = lessons(asyncio.run(LessonStore(host).read(Observation)))
    assert all(lesson.refuted == 1 for lesson in known if lesson.id in {claim.lesson for claim in claims})


def finished_in(
    folder: Path,
    store: BaseStore,
    *,
    model: ScriptedModel | None = None,
    preset: Preset | None = None,
    listener: Callable[[Mapping[str, Any]], None] = silent,
    started: Callable[[Run], None] = lambda _: None,
) -> Result:
    """A run with a store of the host."""
    return optimize(
        DESCRIPTION,
        rows(),
        model=model or toy_model(),
        preset=preset,
        labels=LABELS,
        budget=Budget(calls=300),
        store=store,
        database=folder / "crito.db",
        listener=listener,
        started=started,
    )


async def advised(folder: Path, fault: Fault | None = None, **options: Any) -> tuple[Result, StubProvider, list[Any]]:
    """A run that knows four directions of equal worth, the last of which means what its task is about."""
    texts = ("Answer briefly.", "Begin with names.", "Check spelling.", "Money goes back.")
    known = {"signature": SIGNATURE, "model": "scripted/toy", "seen": time.time()}
    await LessonStore(host := InMemoryStore()).write(*(observed(text=text, **known) for text in texts))
    heard: list[Any] = []

    def vector(text: str) -> list[float]:
        return [1.0, float(text in texts[:3])]

    async with StubProvider(fault=lambda n, body: fault, vector=vector) as stub:
        result = await aoptimize(
            DESCRIPTION,
            rows(),
            model=toy_model(),
            labels=LABELS,
            embed=f"endpoint/{stub.url}#vectors",
            database=folder / "crito.db",
            listener=heard.append,
            **{"budget": Budget(calls=300), "store": host, **options},
        )
    return result, stub, [e["text"] for e in heard if e["event"] == "warning"]


async def test_with_an_embedding_model_the_lesson_that_means_the_task_comes_first(tmp_path: Path) -> None:
    result, stub, warnings = await advised(tmp_path)
    assert result.lessons[0].text == "Money goes back."
    assert (stub.requests, warnings) == (2, [])
    database = Database(tmp_path / "crito.db")
    assert [row[0] for row in rows_of(database, "role")].count("memory") == 2
    await database.close()


async def test_an_embedding_model_that_fails_costs_a_warning_and_nothing_else(tmp_path: Path) -> None:
    result, stub, (warning,) = await advised(tmp_path, Fault(401))
    assert len(result.lessons) == 4
    assert result.verdict.decision == "improved"
    assert stub.requests == 1
    assert warning.startswith("embed: lessons are found by their words alone: endpoint/")


async def test_nobody_is_asked_for_vectors_where_memory_is_off(tmp_path: Path) -> None:
    _, stub, warnings = await advised(tmp_path, store=None, memory="off")
    assert (stub.requests, warnings) == (0, [])
