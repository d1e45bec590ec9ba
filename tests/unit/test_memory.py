from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from crito.memory.archive import Archive
from crito.memory.attempts import Attempt, Attempts
from crito.memory.lineage import chain, common_ancestor, graphml, lineage, mermaid
from crito.records import Candidate
from crito.tools.database import Database
from tests.builders import make_candidate, make_examples, make_outcome

EXAMPLES = make_examples(4)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


async def filled(database: Database, **rows: Sequence[float | None]) -> Archive:
    """An archive with one row of scores per candidate; None is a failed call."""
    archive = Archive(database, "r")
    for name, scores in rows.items():
        found = [make_outcome(name, e, v) for e, v in zip(EXAMPLES[: len(scores)], scores, strict=True)]
        await archive.record(found)
    return archive


async def test_scores_keep_the_order_of_the_examples(database: Database) -> None:
    archive = await filled(database, a=[1.0, 0.0, 0.5])
    assert archive.scores("a", EXAMPLES[::-1]) == [None, 0.5, 0.0, 1.0]


async def test_a_mean_is_over_what_was_answered(database: Database) -> None:
    archive = await filled(database, a=[1.0, None, 0.5])
    assert archive.mean("a", EXAMPLES) == pytest.approx(0.75)
    assert archive.mean("nobody", EXAMPLES) == 0.0


async def test_differences_are_paired_and_skip_failed_calls(database: Database) -> None:
    archive = await filled(database, a=[1.0, None, 0.0, 1.0], b=[0.0, 1.0, 1.0, None])
    assert archive.differences("a", "b", EXAMPLES) == [1.0, -1.0]


async def test_a_failed_call_is_replaced_by_a_later_answer(database: Database) -> None:
    archive = await filled(database, a=[None])
    await archive.record([make_outcome("a", EXAMPLES[0], 1.0)])
    assert archive.scores("a", EXAMPLES[:1]) == [1.0]
    assert Archive(database, "r").scores("a", EXAMPLES[:1]) == [1.0]


@pytest.mark.parametrize(
    ("rows", "front"),
    [
        ({"a": [1, 0, 0, 0], "b": [0, 1, 1, 0]}, {"b": 2, "a": 1}),  # each leads somewhere
        ({"a": [1, 0, 0, 0], "b": [1, 1, 1, 0]}, {"b": 3}),  # a's only lead is shared with b
        ({"a": [1, 1, 0, 0], "b": [1, 1, 0, 0]}, {"a": 2}),  # equal: the first stays
        ({"a": [0, 0, 0, 0], "b": [0, 0, 0, 0]}, {}),  # nobody leads with nothing
        ({"a": [0.5, 0.4, 0, 0], "b": [0.2, 0.6, 0, 0]}, {"a": 1, "b": 1}),  # graded scores
        ({"a": [None, 1, 0, 0], "b": [0, 1, 1, 0]}, {"b": 2}),  # a failed call leads nowhere
        ({"a": [1, 1, 0, 0], "b": [1, 0, 1, 0], "c": [0, 1, 1, 0]}, {"a": 2, "b": 2, "c": 2}),
    ],
)
async def test_the_front_counts_leads(
    database: Database, rows: dict[str, list[float | None]], front: dict[str, int]
) -> None:
    archive = await filled(database, **rows)
    assert archive.front(list(rows), EXAMPLES) == front


async def test_parents_are_drawn_by_their_leads(database: Database) -> None:
    archive = await filled(database, a=[1, 0, 0, 0], b=[0, 1, 1, 1], c=[0, 0, 0, 0])
    rng = np.random.default_rng(0)
    drawn = [archive.parent(["a", "b", "c"], EXAMPLES, rng) for _ in range(400)]
    assert set(drawn) == {"a", "b"}
    assert 0.68 < drawn.count("b") / 400 < 0.82


async def test_the_last_of_the_pool_is_the_parent_when_nobody_leads(database: Database) -> None:
    archive = await filled(database, a=[0, 0], b=[0, 0])
    assert archive.parent(["a", "b"], EXAMPLES, np.random.default_rng(0)) == "b"


async def test_an_archive_read_from_the_database_is_the_same(database: Database) -> None:
    archive = await filled(database, a=[1.0, None], b=[0.0, 0.5])
    seed = make_candidate("seed", operator="seed")
    children = [make_candidate(f"child {n}", round=n % 2, parents=(seed.id,)) for n in range(6)]
    await archive.add(seed, *children)
    again = Archive(database, "r")
    assert again.candidates() == archive.candidates()
    assert [again.outcome(c, e.id) for c in "ab" for e in EXAMPLES] == [
        archive.outcome(c, e.id) for c in "ab" for e in EXAMPLES
    ]


async def test_the_order_of_candidates_is_not_that_of_the_workers(database: Database, tmp_path: Path) -> None:
    one, two = make_candidate("one", parents=("s",)), make_candidate("two", parents=("s",))
    first, second = Archive(database, "r"), Archive(database, "other")
    await first.add(one, two)
    await second.add(two, one)
    assert first.candidates() == second.candidates()


async def test_a_candidate_keeps_the_history_of_its_earliest_round(database: Database) -> None:
    archive = Archive(database, "r")
    first = make_candidate("one", hypothesis="b", parents=("s",), round=1)
    await archive.add(first)
    await archive.add(first.model_copy(update={"hypothesis": "a", "round": 2}))
    assert archive.candidate(first.id) == first
    assert Archive(database, "r").candidate(first.id) == first


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("together", [True, False])
async def test_of_two_histories_from_one_round_the_first_in_the_alphabet_stays(
    database: Database, order: tuple[str, str], together: bool
) -> None:
    archive = Archive(database, "r")
    made = [make_candidate("one", hypothesis=hypothesis, parents=("s",), round=1) for hypothesis in order]
    for batch in [made] if together else [[candidate] for candidate in made]:
        await archive.add(*batch)
    assert archive.candidate(made[0].id).hypothesis == "a"
    assert Archive(database, "r").candidate(made[0].id).hypothesis == "a"


async def test_the_seed_keeps_its_history_whatever_is_proposed(database: Database) -> None:
    archive = Archive(database, "r")
    seed = make_candidate("one", operator="seed")
    await archive.add(seed)
    await archive.add(seed.model_copy(update={"operator": "ablate", "parents": ("x",)}))
    assert archive.candidate(seed.id) == seed


async def test_runs_do_not_see_each_other(database: Database) -> None:
    archive = await filled(database, a=[1.0])
    await archive.add(make_candidate("one"))
    other = Archive(database, "other")
    assert other.candidates() == ()
    assert other.scores("a", EXAMPLES[:1]) == [None]


def attempt(candidate: str, round_number: int, **fields: object) -> Attempt:
    given = {"operator": "demonstrations", "author": "code", "hypothesis": "h", "fate": "accepted", "parent": "s"}
    return Attempt.model_validate({"candidate": candidate, "round": round_number, **given, **fields})


async def test_the_last_word_on_a_candidate_counts(database: Database) -> None:
    attempts = Attempts(database, "r")
    await attempts.record(attempt("a", 1, fate="eliminated"))
    await attempts.record(attempt("a", 1, fate="accepted"))
    assert [a.fate for a in attempts.all()] == ["accepted"]
    assert [a.fate for a in Attempts(database, "r").all()] == ["accepted"]


async def test_a_candidate_that_is_made_anew_has_the_newer_history(database: Database) -> None:
    archive = Archive(database, "r")
    old, new = (make_candidate("One.", parents=("s",), round=number) for number in (2, 5))
    await archive.add(old)
    await archive.add(new)
    assert archive.candidate(old.id).round == 2
    await archive.add(new, anew=[new.id])
    assert archive.candidate(old.id).round == 5
    await archive.add(old, anew=[old.id])
    assert Archive(database, "r").candidate(old.id).round == 5


async def test_what_was_never_raced_is_not_told_as_tried(database: Database) -> None:
    attempts = Attempts(database, "r")
    await attempts.record(attempt("a", 1, fate="untried"), attempt("b", 1, fate="eliminated"))
    assert [a.candidate for a in attempts.relevant(2, line=["s"], labels=())] == ["b"]


async def test_attempts_read_from_the_database_are_the_same(database: Database) -> None:
    attempts = Attempts(database, "r")
    await attempts.record(*(attempt(name, number) for name, number in [("z", 1), ("b", 2), ("a", 1), ("c", 0)]))
    assert Attempts(database, "r").all() == attempts.all()
    assert [a.round for a in attempts.all()] == [0, 1, 1, 2]


async def relevant(database: Database, *known: Attempt) -> list[str]:
    """What comes back in round 2 of attempts on c, whose parent is s, against answers off the labels."""
    attempts = Attempts(database, "r")
    await attempts.record(*known)
    return [a.candidate for a in attempts.relevant(2, line=("s", "c"), labels={"off_label"})]


async def test_attempts_on_the_line_and_against_the_same_failures_are_relevant(database: Database) -> None:
    known = [
        attempt("on the parent", 1, parent="c"),
        attempt("on its parent", 0, parent="s"),
        attempt("same failures", 1, parent="x", hypothesis="off_label: name the teams"),
        attempt("others", 1, parent="x", hypothesis="verbose: be brief"),
        attempt("strangers", 1, parent="x"),
        attempt("now", 2),
        attempt("mute", 1, hypothesis=""),
    ]
    assert await relevant(database, *known) == ["on the parent", "same failures", "on its parent"]


async def test_the_largest_measured_effects_come_first(database: Database) -> None:
    known = [
        attempt("unmeasured", 1, fate="screened"),
        attempt("small", 1, gain=0.05, n=8),
        attempt("worse", 1, gain=-0.3, n=8),
        attempt("better", 0, gain=0.2, n=8),
        attempt("newer", 1, gain=-0.2, n=8),
    ]
    assert await relevant(database, *known) == ["worse", "newer", "better", "small", "unmeasured"]


@pytest.mark.parametrize(
    ("hypothesis", "label"),
    [("off_label: name them", "off_label"), ("lesson x: try it", ""), ("off_label", ""), ("Off_label: x", "")],
)
def test_an_attempt_knows_the_failures_that_it_is_about(hypothesis: str, label: str) -> None:
    assert attempt("a", 1, hypothesis=hypothesis).label == label


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"fate": "not_better", "gain": -0.12, "n": 16}, "h: not better, -0.12 on 16"),
        ({"fate": "screened", "reason": "it is the same as x"}, "h: screened, it is the same as x"),
        ({"gain": 0.5, "n": 8, "hypothesis": "x" * 300}, f"{'x' * 200}: accepted, +0.50 on 8"),
    ],
)
def test_an_attempt_is_told_with_its_measured_effect(fields: dict[str, object], told: str) -> None:
    assert attempt("a", 1, **fields).told == told


async def test_incumbents_come_in_the_order_of_their_rounds(database: Database) -> None:
    attempts = Attempts(database, "r")
    led = [attempt("c", 3, incumbent=True), attempt("b", 1, incumbent=True), attempt("a", 1)]
    await attempts.record(*led, attempt("d", 4, incumbent=True))
    assert [a.candidate for a in Attempts(database, "r").incumbents(4)] == ["b", "c"]


def node(name: str, *parents: str) -> Candidate:
    return make_candidate(name).model_copy(update={"id": name, "parents": parents})


def test_a_chain_follows_first_parents_to_the_root() -> None:
    graph = lineage([node("s"), node("a", "s"), node("x", "s"), node("b", "a", "x"), node("c", "b")])
    assert chain(graph, "c") == ("s", "a", "b", "c")
    assert chain(graph, "s") == ("s",)


def test_the_order_of_candidates_does_not_change_the_chain() -> None:
    nodes = [node("s"), node("a", "s"), node("x", "s"), node("b", "a", "x")]
    assert chain(lineage(nodes[::-1]), "b") == chain(lineage(nodes), "b")


def test_parents_that_are_not_there_are_left_out() -> None:
    assert chain(lineage([node("b", "gone")]), "b") == ("b",)


def test_the_lowest_common_ancestor_is_where_two_lines_part() -> None:
    graph = lineage([node("s"), node("a", "s"), node("b", "a"), node("c", "a"), node("d", "c")])
    assert common_ancestor(graph, "b", "d") == "a"
    assert common_ancestor(graph, "a", "d") == "a"


def test_the_youngest_of_several_lowest_ancestors_is_taken() -> None:
    rounds = {"s": 0, "a": 1, "b": 2, "x": 3, "y": 3}
    nodes = [node("s"), node("a", "s"), node("b", "s"), node("x", "a", "b"), node("y", "b", "a")]
    graph = lineage(n.model_copy(update={"round": rounds[n.id]}) for n in nodes)
    assert common_ancestor(graph, "x", "y") == "b"


def test_strangers_have_no_common_ancestor() -> None:
    graph = lineage([node("s"), node("t"), node("a", "s"), node("b", "t")])
    assert common_ancestor(graph, "a", "b") is None
    assert common_ancestor(graph, "a", "gone") is None


def test_a_flowchart_has_every_candidate_and_edge() -> None:
    graph = lineage([node("a1"), node("b2", "a1")])
    graph.nodes["b2"].update(fate="not_better", val=0.625)
    assert mermaid(graph) == (
        "flowchart TD\n"
        '    ca1["a1<br/>test by code, round 0"]\n'
        '    cb2["b2<br/>test by code, round 0<br/>not better, val 0.62"]\n'
        "    ca1 --> cb2\n"
    )


def test_nothing_can_end_a_label_of_a_flowchart() -> None:
    odd = node("a1").model_copy(update={"author": 'x"]\n;click <b>`'})
    lines = mermaid(lineage([odd])).splitlines()
    assert len(lines) == 2
    assert lines[1] == '    ca1["a1<br/>test by x#34;#93;#10;#59;click #60;b#62;#96;, round 0"]'


def test_graphml_is_read_back_as_it_was() -> None:
    graph = lineage([node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c")])
    graph.nodes["d"].update(fate="accepted", val=0.5)
    read = nx.parse_graphml(graphml(graph))
    assert (dict(read.nodes.items()), list(read.edges)) == (dict(graph.nodes.items()), list(graph.edges))
