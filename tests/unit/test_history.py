import json
from collections.abc import Sequence
from pathlib import Path

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.history import propose, trajectory
from crito.prompt import Demo
from crito.protocols import ModelRequest
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps, make_outcome


async def measured(deps: Deps, scores: dict[str, list[float | None]]) -> None:
    """Candidates with these scores, and the seed, which is never right."""
    await recorded(deps, deps.archive.candidate(deps.seed), [0] * len(deps.val))
    for body, values in scores.items():
        await recorded(deps, make_candidate(body), values)


async def recorded(deps: Deps, candidate: Candidate, values: Sequence[float | None]) -> None:
    await deps.archive.add(candidate)
    pairs = zip(deps.val, values, strict=False)
    await deps.archive.record(make_outcome(candidate.id, example, value) for example, value in pairs)


async def test_the_best_come_last_and_the_unanswered_are_left_out(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        await measured(deps, {"Good.": [1, 1, 0], "Bad.": [0, 0, 0], "Down.": [None], "New.": [], "": [1]})
        *worse, best = trajectory(deps)
    assert (sorted(worse), best) == ([("Bad.", 0), ("Name the team.", 0)], ("Good.", 67))


async def test_who_answered_easy_examples_alone_is_no_better_for_it(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        half = [float(at % 2 == 0) for at in range(len(deps.val))]
        await recorded(deps, deps.archive.candidate(deps.seed), half)
        await recorded(deps, make_candidate("Early."), [1])
        await recorded(deps, make_candidate("Better."), [1] * len(half))
        *worse, best = trajectory(deps)
    assert (sorted(worse), best) == ([("Early.", 50), ("Name the team.", 50)], ("Better.", 100))


async def test_one_instruction_is_listed_once_with_its_best_score(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        demo = SEED.model_copy(update={"demos": (Demo(inputs={"input": "a"}, output="b"),)})
        await recorded(deps, make_candidate(prompt=SEED), [0, 1])
        await recorded(deps, make_candidate(prompt=demo), [1, 1])
        assert trajectory(deps) == [("Name the team.", 100)]


async def test_no_more_than_the_twenty_best_are_shown(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        await measured(deps, {f"Idea {n}.": [0.04 * n] for n in range(25)})
        shown = trajectory(deps)
    assert [text for text, _ in shown] == [f"Idea {n}." for n in range(5, 25)]


async def test_a_new_instruction_is_written_in_view_of_scores_and_examples(tmp_path: Path) -> None:
    seen: list[str] = []

    def agents(request: ModelRequest) -> str:
        seen.append(request.messages[-1].content)
        return json.dumps({"instruction": "Say who answers.", "differs": "names a person"})

    async with make_deps(tmp_path, agents=agents) as deps:
        await measured(deps, {"Good.": [1], "Bad.": [0]})
        (found,) = await propose(deps, Assignment((make_candidate(),), 4, 3))
    assert found.main.instructions() == "Say who answers."
    assert (found.operator, found.author, found.hypothesis) == ("history", "rewriter", "names a person")
    assert seen[0].index("score: 0") < seen[0].index("score: 100")
    assert seen[0].count("answer: billing") == 3


async def test_one_measured_instruction_is_enough_to_begin(tmp_path: Path) -> None:
    async with make_deps(tmp_path, agents=lambda _: json.dumps({"instruction": "Say who answers."})) as deps:
        await measured(deps, {})
        (found,) = await propose(deps, Assignment((make_candidate(),), 4, 3))
    assert found.main.instructions() == "Say who answers."


async def test_nothing_is_asked_before_anything_was_measured_or_without_a_model(tmp_path: Path) -> None:
    seen: list[ModelRequest] = []

    def agents(request: ModelRequest) -> str:
        seen.append(request)
        return "no"

    async with make_deps(tmp_path, agents=agents) as deps:
        assert await propose(deps, Assignment((make_candidate(),), 4, 3)) == []
        await measured(deps, {"Bad.": [0]})
        assert await propose(deps, Assignment((make_candidate(),), 4, 3, ask=False)) == []
    assert seen == []
