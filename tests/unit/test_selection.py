from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from crito.memory.archive import Archive
from crito.memory.selection import Kind, costs, decayed, draw, levels, non_dominated, priced, survivors, words
from crito.prompt import Demo, Prompt, Section
from crito.tools.database import Database
from tests.builders import make_candidate, make_examples, make_outcome

EXAMPLES = make_examples(4)
ROWS = {"a": [1, 0, 0, 0], "b": [0, 1, 1, 1], "c": [0, 0, 0, 0], "d": [0, 1, 1, 0]}


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    database = Database(tmp_path / "crito.db")
    yield Archive(database, "r")
    await database.close()


async def fill(archive: Archive, tokens: dict[str, int] | None = None, /, **rows: Sequence[float | None]) -> Archive:
    for name, scores in rows.items():
        used = (tokens or {}).get(name, 10)
        await archive.record(make_outcome(name, e, v, tokens=used) for e, v in zip(EXAMPLES, scores, strict=True))
    return archive


def share(kind: Kind, archive: Archive, pool: Sequence[str], wanted: str) -> float:
    """How often a parent is drawn first."""
    rng = np.random.default_rng(0)
    return sum(draw(kind, archive, pool, EXAMPLES, count=1, rng=rng) == (wanted,) for _ in range(300)) / 300


async def test_the_incumbent_is_the_only_parent(archive: Archive) -> None:
    await fill(archive, **ROWS)
    assert share("incumbent", archive, list("abcd"), "b") == 1.0
    assert survivors("incumbent", archive, list("abcd"), EXAMPLES, 3) == ["b"]


@pytest.mark.parametrize("kind", ["top_k", "beam"])
async def test_everybody_in_a_beam_is_drawn_alike(archive: Archive, kind: Kind) -> None:
    await fill(archive, **ROWS)
    assert share(kind, archive, list("abcd"), "c") == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("kind", ["top_k", "beam", "population"])
async def test_the_best_of_old_and_new_stay_in_their_order(archive: Archive, kind: Kind) -> None:
    await fill(archive, **ROWS)
    assert survivors(kind, archive, list("adcb"), EXAMPLES, 2) == ["d", "b"]


async def test_a_population_draws_by_roulette(archive: Archive) -> None:
    await fill(archive, **ROWS)
    assert share("population", archive, list("abc"), "b") == pytest.approx(0.75, abs=0.07)
    assert share("population", archive, list("abc"), "c") == 0.0


async def test_a_population_without_any_score_draws_evenly(archive: Archive) -> None:
    await fill(archive, a=[0] * 4, b=[0] * 4)
    assert share("population", archive, list("ab"), "a") == pytest.approx(0.5, abs=0.09)


async def family(archive: Archive, *, of: str, scores: Sequence[float], name: str) -> str:
    """A measured child of a measured member."""
    made = make_candidate(name, parents=(of, "someone"))
    await archive.add(made)
    await fill(archive, **{made.id: scores})
    return made.id


async def test_a_child_takes_the_place_of_its_own_parent_alone(archive: Archive) -> None:
    await fill(archive, **ROWS)
    better = await family(archive, of="a", scores=[1, 1, 0, 0], name="better than a")
    no_better = await family(archive, of="b", scores=[1, 1, 1, 0], name="as good as b")
    assert survivors("member", archive, ["a", "b", "c", better, no_better], EXAMPLES, 3) == ["b", "c", better]


async def test_of_several_better_children_the_best_has_the_place(archive: Archive) -> None:
    await fill(archive, **ROWS)
    names = {"good": [1, 1, 0, 0], "best": [1, 1, 1, 1], "late": [1, 1, 1, 0]}
    good, best, late = [await family(archive, of="a", scores=row, name=name) for name, row in names.items()]
    assert survivors("member", archive, ["a", "b", good, best, late], EXAMPLES, 2) == ["b", best]


async def test_while_there_is_room_everybody_is_a_member(archive: Archive) -> None:
    await fill(archive, **ROWS)
    worse = await family(archive, of="b", scores=[0, 0, 0, 0], name="worse")
    stranger = await family(archive, of="gone", scores=[1, 1, 1, 1], name="of nobody here")
    assert survivors("member", archive, ["a", "b", worse, stranger], EXAMPLES, 3) == ["a", "b", worse]


async def test_as_many_draws_as_there_are_members_use_each_once_with_somebody_else(archive: Archive) -> None:
    await fill(archive, **ROWS)
    rng = np.random.default_rng(0)
    pairs = [draw("member", archive, list("abcd"), EXAMPLES, count=2, rng=rng, turn=turn) for turn in range(3, 403)]
    assert "".join(first for first, _ in pairs) == "dabc" * 100
    others = [second for first, second in pairs if first == "a"]
    assert all(others.count(name) == pytest.approx(33, abs=12) for name in "bcd")


async def test_the_instance_front_stays_before_the_better_mean(archive: Archive) -> None:
    await fill(archive, **ROWS)
    assert survivors("instance_pareto", archive, list("abcd"), EXAMPLES, 2) == ["a", "b"]  # a leads where d does not
    assert survivors("instance_pareto", archive, list("abcd"), EXAMPLES, 3) == ["a", "b", "d"]


async def test_leads_decide_who_is_drawn_from_the_instance_front(archive: Archive) -> None:
    await fill(archive, **ROWS)
    assert share("instance_pareto", archive, list("abcd"), "b") == pytest.approx(0.75, abs=0.07)
    assert share("instance_pareto", archive, list("abcd"), "d") == 0.0


async def test_the_elite_is_drawn_half_of_the_time_and_else_one_of_the_instance_front(archive: Archive) -> None:
    await fill(archive, a=[1, 0, 0, 0], b=[0, 1, 0, 0], c=[0, 0, 1, 0], d=[0.9] * 4)  # d is the best, each leads once
    assert share("instance_pareto", archive, list("abcd"), "d") == pytest.approx(0.25, abs=0.08)
    assert share("elite_pareto", archive, list("abcd"), "d") == pytest.approx(0.625, abs=0.08)
    assert share("elite_pareto", archive, list("abcd"), "a") == pytest.approx(0.125, abs=0.06)


async def test_around_the_elite_the_instance_front_stays(archive: Archive) -> None:
    await fill(archive, **ROWS)
    assert survivors("elite_pareto", archive, list("abcd"), EXAMPLES, 2) == ["a", "b"]
    assert survivors("elite_pareto", archive, list("abcd"), EXAMPLES, 3) == ["a", "b", "d"]


async def test_the_objective_front_draws_who_is_not_dominated(archive: Archive) -> None:
    await fill(archive, {"a": 5, "b": 20, "c": 5, "d": 30}, **ROWS)
    assert share("objective_pareto", archive, list("abcd"), "a") == pytest.approx(0.5, abs=0.09)
    assert share("objective_pareto", archive, list("abcd"), "b") == pytest.approx(0.5, abs=0.09)


async def test_the_objective_front_stays_before_the_dominated(archive: Archive) -> None:
    await fill(archive, {"a": 5, "b": 20, "c": 5, "d": 30}, **ROWS)
    assert survivors("objective_pareto", archive, list("abcd"), EXAMPLES, 2) == ["a", "b"]
    assert survivors("objective_pareto", archive, list("abcd"), EXAMPLES, 1) == ["b"]


@pytest.mark.parametrize("kind", get_args(Kind))
async def test_several_parents_are_different_and_no_more_than_there_are(archive: Archive, kind: Kind) -> None:
    await fill(archive, **ROWS)
    rng = np.random.default_rng(1)
    assert all(len(set(draw(kind, archive, list("abcd"), EXAMPLES, count=2, rng=rng))) == 2 for _ in range(20))
    assert sorted(draw(kind, archive, list("ab"), EXAMPLES, count=5, rng=rng)) == ["a", "b"]


@pytest.mark.parametrize("kind", get_args(Kind))
async def test_a_repeated_id_has_one_place(archive: Archive, kind: Kind) -> None:
    await fill(archive, **ROWS)
    kept = survivors(kind, archive, list("bbab"), EXAMPLES, 4)
    assert len(kept) == len(set(kept))


async def test_between_equals_the_shorter_stays_and_then_the_older(archive: Archive) -> None:
    await fill(archive, {"a": 20, "b": 10, "c": 10}, a=[1] * 4, b=[1] * 4, c=[1] * 4)
    assert survivors("top_k", archive, list("abc"), EXAMPLES, 1) == ["b"]


async def test_a_length_price_outweighs_a_small_gain(archive: Archive) -> None:
    await fill(archive, {"long": 300, "short": 100}, long=[1, 1, 0.6, 0], short=[1, 1, 0.5, 0])
    pool = ["long", "short"]
    assert survivors("top_k", archive, pool, EXAMPLES, 1) == ["long"]
    assert survivors("top_k", archive, pool, EXAMPLES, 1, gamma=0.05, reference=100) == ["short"]


async def test_each_word_lets_a_score_fade(archive: Archive) -> None:
    wordy, short = make_candidate("Name the team that is to answer."), make_candidate("Name it.")
    await archive.add(wordy, short)
    await fill(archive, **{wordy.id: [1, 1, 0.6, 0], short.id: [1, 1, 0.5, 0]})
    pool = [wordy.id, short.id]
    assert survivors("top_k", archive, pool, EXAMPLES, 1, decay=0.005) == [wordy.id]  # 4 % better for 5 words more
    assert survivors("top_k", archive, pool, EXAMPLES, 1, decay=0.05) == [short.id]


def test_words_are_those_of_the_instructions_of_all_prompts() -> None:
    main = Prompt(
        sections=(Section(name="task", body="Name the team."), Section(name="rules", body=("One word.",))),
        demos=(Demo(inputs={"input": "many words here"}, output="billing"),),
        template="The message: {input}",
    )
    alone = words(make_candidate(prompt=main))
    assert alone == len(main.instructions().split())
    assert words(make_candidate(prompts={"main": main, "second": main})) == 2 * alone
    assert words(make_candidate(prompt=main.model_copy(update={"demos": (), "template": "{input}"}))) == alone


def test_a_score_fades_as_published() -> None:
    assert decayed(0.9, 200, 0.005) == pytest.approx(0.9 / np.e)
    assert decayed(0.9, 0, 0.005) == 0.9


async def test_to_fail_on_the_hard_examples_is_no_help(archive: Archive) -> None:
    await fill(archive, good=[1, 1, 0, 0], fails=[1, 0, None, None], silent=[None] * 4)
    found = levels(archive, ["good", "fails", "silent"], EXAMPLES)
    assert found == {"good": 0.5, "fails": 0.25, "silent": 0.0}


async def test_costs_are_means_over_what_was_answered(archive: Archive) -> None:
    await fill(archive, {"a": 12}, a=[1, 0, None, None], b=[None] * 4)
    assert costs(archive, "a", EXAMPLES) == (12, 0)
    assert costs(archive, "b", EXAMPLES) == (0, 0)


async def test_repeats_are_averaged_per_example(archive: Archive) -> None:
    for sample, value in enumerate([1.0, 0.0, 0.5, None]):
        outcome = make_outcome("a", EXAMPLES[0], value)
        await archive.record([outcome.model_copy(update={"sample": sample})])
    assert archive.repeats("a", EXAMPLES[:2]) == [[1.0, 0.0, 0.5], []]
    assert archive.scores("a", EXAMPLES[:2]) == [0.5, None]


def test_one_that_is_worse_in_one_way_and_better_in_none_is_dominated() -> None:
    objectives = {
        "best": (0.9, 50.0, 5.0),
        "short": (0.7, 10.0, 5.0),
        "wordy": (0.9, 50.0, 6.0),
        "bad": (0.7, 60.0, 5.0),
    }
    assert non_dominated(objectives) == {"best", "short"}


def test_equals_do_not_dominate_each_other() -> None:
    assert non_dominated({"a": (0.5, 1.0, 1.0), "b": (0.5, 1.0, 1.0)}) == {"a", "b"}


def test_length_is_priced_in_shares_of_the_reference() -> None:
    assert priced(0.8, tokens=300, reference=100, gamma=0.05) == pytest.approx(0.65)
