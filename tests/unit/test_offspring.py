from crito.graph.operators.offspring import offspring
from crito.patch import Edit, Patch
from crito.records import Candidate
from tests.builders import SEED, make_candidate


def patch(value: str) -> Patch:
    return Patch(edits=(Edit(op="replace", path="task", value=value),), rationale="why")


def born(parents: list[Candidate], *patches: Patch) -> list[Candidate]:
    return offspring(parents, patches, operator="op", round_number=2, author="rewriter")


def test_a_child_names_all_its_parents() -> None:
    one, other = make_candidate(), make_candidate("Who?")
    (made,) = born([one, other], patch("Say who."))
    assert made.parents == (one.id, other.id)
    assert (made.operator, made.author, made.round, made.hypothesis) == ("op", "rewriter", 2, "why")


def test_a_patch_that_leads_back_to_a_parent_is_left_out() -> None:
    assert born([make_candidate(), make_candidate("Who?")], patch("Name the team."), patch("Who?")) == []


def test_the_same_child_is_made_once() -> None:
    assert len(born([make_candidate()], patch("Who?"), patch("Who?"))) == 1


def test_a_refused_patch_costs_no_other() -> None:
    frozen = make_candidate(prompt=SEED.model_copy(update={"frozen": ("team",)}))
    assert [c.main.instructions() for c in born([frozen], patch("Who?"), patch("Which team?"))] == ["Which team?"]
