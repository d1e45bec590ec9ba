import json
from pathlib import Path

import numpy as np
import pytest

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.demonstrations import harvest, propose, sample, shown_ids, unseen
from crito.prompt import Demo, Prompt
from crito.protocols import ModelReply, ModelRequest
from crito.records import Candidate
from tests.builders import make_candidate, make_deps, make_example, make_examples, make_task

TRAIN = tuple(
    make_example(f"message {n} " + "long " * (n // 6), ("billing", "delivery", "other")[n % 3]) for n in range(18)
)
LABELS = ("billing", "delivery", "other")
DEMOS = [Demo(inputs=e.inputs, output=e.expected or "", example_id=e.id) for e in TRAIN]


def seed_of(deps: Deps) -> Candidate:
    return deps.archive.candidate(deps.seed)


def test_labels_are_as_even_as_they_can_be() -> None:
    task = make_task(labels=LABELS, metric="label")
    for number in range(20):
        chosen = sample(DEMOS, task, np.random.default_rng(number))
        counts = [sum(d.output == label for d in chosen) for label in LABELS]
        assert max(counts) - min(counts) <= 1
        assert len({d.example_id for d in chosen}) == len(chosen)


def test_the_longest_third_is_not_shown() -> None:
    for number in range(20):
        chosen = sample(DEMOS, make_task(), np.random.default_rng(number))
        assert all(d.inputs["input"].count("long") < 2 for d in chosen)
        assert len(chosen) >= 2


def test_odds_of_a_set_go_by_the_square_of_its_size() -> None:
    drawn = [len(sample(DEMOS, make_task(), np.random.default_rng(number))) for number in range(2_000)]
    sizes = [2, 4, 6, 8, 10, 12]
    for size in sizes:
        assert drawn.count(size) / 2_000 == pytest.approx(size**2 / sum(s**2 for s in sizes), abs=0.04)


def test_one_demonstration_is_enough_to_sample_from() -> None:
    assert sample(DEMOS[:1], make_task(), np.random.default_rng(0)) == DEMOS[:1]


async def test_given_answers_are_taken_without_a_call(tmp_path: Path) -> None:
    async with make_deps(tmp_path, train=TRAIN) as deps:
        assert await harvest(deps, seed_of(deps)) == DEMOS
        assert deps.ledger.meter.spent.calls == 0


async def test_reasoning_is_taken_from_the_targets_right_answers(tmp_path: Path) -> None:
    def answer(request: ModelRequest) -> ModelReply:
        number = int(request.messages[-1].content.split()[-1])
        finish = "length" if number == 1 else "stop"
        return ModelReply(text=f"because: {'billing' if number < 8 else 'dunno'}", finish=finish)

    async with make_deps(tmp_path, answer=answer, reasoning=True, metric="contains") as deps:
        found = await harvest(deps, seed_of(deps))
    assert [d.output for d in found] == ["because: billing"] * 7
    assert make_examples(2, "train")[1].id not in {d.example_id for d in found}


async def test_missing_reasoning_is_written_and_verified(tmp_path: Path) -> None:
    def write(request: ModelRequest) -> str:
        right = "train 0" not in request.messages[-1].content
        return json.dumps({"steps": "It is about money.", "answer": "billing" if right else "none"})

    async with make_deps(tmp_path, agents=write, reasoning=True, metric="contains") as deps:
        found = await harvest(deps, seed_of(deps))
    assert [d.output for d in found] == ["It is about money.\nbilling"] * 5


@pytest.mark.parametrize("shown", [0, 4])
async def test_proposals_differ_from_the_parent_and_from_each_other(tmp_path: Path, shown: int) -> None:
    async with make_deps(tmp_path, train=TRAIN) as deps:
        parent = make_candidate(prompt=seed_of(deps).main.model_copy(update={"demos": tuple(DEMOS[:shown])}))
        found = await propose(deps, Assignment((parent,), 5, 1))
        other = await propose(deps, Assignment((parent,), 5, 1, worker=1))
    ids = {c.id for c in found}
    assert len(ids) == 5
    assert parent.id not in ids
    assert ids != {c.id for c in other}


def test_what_is_shown_is_not_tested_on() -> None:
    candidate = make_candidate(prompt=Prompt(demos=tuple(DEMOS[:2])))
    assert shown_ids(candidate) == {TRAIN[0].id, TRAIN[1].id}
    assert unseen(candidate, TRAIN) == list(TRAIN[2:])
