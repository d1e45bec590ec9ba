from pathlib import Path

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.sweep import propose
from crito.patch import Edit, Patch
from crito.prompt import Demo
from crito.records import Candidate, child
from tests.builders import make_deps, make_outcome


async def fill(deps: Deps) -> Candidate:
    """Three measured candidates, each with one part of its own; the last is the incumbent."""
    seed = deps.archive.candidate(deps.seed)
    edits = (
        Edit(op="replace", path="task", value="Name the team in one word."),
        Edit(op="replace", path="demos", value=(Demo(inputs={"input": "a"}, output="b"),)),
        Edit(op="replace", path="template", value="Mail: {input}"),
    )
    made = [child(seed, Patch(edits=(edit,)), operator="demonstrations", round_number=1) for edit in edits]
    await deps.archive.add(*made)
    for candidate, right in zip([seed, *made], (2, 6, 8, 9), strict=True):
        scores = [1.0] * right + [0.0] * (12 - right)
        pairs = zip(deps.val, scores, strict=True)
        await deps.archive.record([make_outcome(candidate.id, e, v) for e, v in pairs])
    return made[-1]


async def test_parts_that_did_well_are_combined_anew(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        incumbent = await fill(deps)
        found = await propose(deps, Assignment((incumbent,), 6, 4))
        measured = {c.id for c in deps.archive.candidates()}
    assert len(found) == 6
    assert not {c.id for c in found} & measured
    assert {c.operator for c in found} == {"sweep"}
    assert {c.parents for c in found} == {(incumbent.id,)}
    assert {c.main.template for c in found} <= {"{input}", "Mail: {input}"}


async def test_the_same_archive_gives_the_same_combinations(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        incumbent = await fill(deps)
        first, second = [[c.id for c in await propose(deps, Assignment((incumbent,), 4, 4))] for _ in range(2)]
    async with make_deps(tmp_path) as deps:  # read back from the database
        assert [c.id for c in await propose(deps, Assignment((incumbent,), 4, 4))] == first == second


async def test_two_workers_of_a_round_do_not_combine_the_same(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        incumbent = await fill(deps)
        one, other = [{c.id for c in await propose(deps, Assignment((incumbent,), 4, 4, worker))} for worker in (0, 1)]
    assert one != other


async def test_what_is_frozen_stays(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        incumbent = await fill(deps)
        main = incumbent.main.model_copy(update={"frozen": ("task", "template")})
        frozen = incumbent.model_copy(update={"prompts": {"main": main}})
        for candidate in await propose(deps, Assignment((frozen,), 8, 4)):
            assert (candidate.main.section("task"), candidate.main.template) == (main.section("task"), main.template)
