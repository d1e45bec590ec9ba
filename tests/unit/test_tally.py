import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from crito.agents.evaluator import Evaluator
from crito.memory.archive import Archive
from crito.prompt import Message, Prompt
from crito.protocols import Output, Usage
from crito.task import Example, Score
from crito.tools.database import Database
from crito.tools.tally import Tally, count, tallied
from tests.builders import make_candidate, make_examples, speaking

EXAMPLES = make_examples(4)
RED = '{"name":"red"}'
"""A reply of one token, as the scripted model counts."""


class Colour(BaseModel):
    name: str


class Counted:
    """A target whose answers take 3 tokens in and 2 out; says how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        self.calls += 1
        await asyncio.sleep(0)
        return Output(text="billing", usage=Usage(tokens_in=3, tokens_out=2))


def right(output: Output, example: Example) -> Score:
    return Score(value=1.0)


async def step(tokens: int, answers: int) -> Tally:
    """A step that looks at so many answers of so many tokens, and lets others work in between."""
    with tallied() as tally:
        for _ in range(answers):
            await asyncio.sleep(0)
            count(Usage(tokens_in=tokens))
    return tally


def test_tokens_in_and_out_of_all_answers_are_counted() -> None:
    with tallied() as tally:
        count(Usage(tokens_in=3, tokens_out=2))
        count(Usage(tokens_in=10))
    assert tally.tokens == 15


def test_what_comes_before_or_after_is_not_counted() -> None:
    count(Usage(tokens_in=1))
    with tallied() as tally:
        count(Usage(tokens_in=3))
    count(Usage(tokens_in=1))
    assert tally.tokens == 3


def test_of_nested_tallies_the_inner_one_counts_until_it_ends() -> None:
    with tallied() as outer:
        count(Usage(tokens_in=1))
        with tallied() as inner:
            count(Usage(tokens_in=10))
        count(Usage(tokens_in=100))
    assert (outer.tokens, inner.tokens) == (101, 10)


def test_a_tally_that_ends_in_an_error_keeps_its_sum_and_gives_way_to_the_outer_one() -> None:
    def fail() -> None:
        with tallied() as inner:
            begun.append(inner)
            count(Usage(tokens_in=10))
            raise KeyError

    begun: list[Tally] = []
    with tallied() as outer:
        with pytest.raises(KeyError):
            fail()
        count(Usage(tokens_in=100))
    assert (outer.tokens, begun[0].tokens) == (100, 10)


async def test_steps_that_run_side_by_side_do_not_mix() -> None:
    one, other = await asyncio.gather(step(1, 5), step(100, 3))
    assert (one.tokens, other.tokens) == (5, 300)


async def test_what_the_tasks_of_a_step_look_at_is_counted_together() -> None:
    async def look(tokens: int) -> None:
        await asyncio.sleep(0)
        count(Usage(tokens_out=tokens))

    with tallied() as tally:
        await asyncio.gather(look(1), look(10), asyncio.create_task(look(100)))
    assert tally.tokens == 111


async def test_an_agents_answer_from_the_cache_counts_as_what_it_once_took(tmp_path: Path) -> None:
    async with speaking(tmp_path, lambda _: RED) as (speaker, model):
        taken = []
        for _ in range(2):
            with tallied() as tally:
                await speaker.ask([Message(role="user", content="Which?")], Colour)
            taken.append(tally.tokens)
        heard = len(model.requests[0].messages[0].content.split())
        assert model.calls == 1
    assert taken == [heard + 1, heard + 1]


async def test_a_reply_that_had_to_be_asked_for_again_counts_twice(tmp_path: Path) -> None:
    async with speaking(tmp_path, ["red", RED]) as (speaker, model):
        with tallied() as tally:
            await speaker.ask([Message(role="user", content="Which?")], Colour)
        heard = [len(m.content.split()) for request in model.requests for m in request.messages]
    assert model.calls == 2
    assert tally.tokens == sum(heard) + 2


async def test_answers_from_the_archive_count_as_what_they_once_took(tmp_path: Path) -> None:
    target, database = Counted(), Database(tmp_path / "crito.db")
    evaluator = Evaluator(target, right, Archive(database, "r"))
    taken = []
    for examples in (EXAMPLES[:3], EXAMPLES[:3], EXAMPLES):
        with tallied() as tally:
            await evaluator.evaluate(make_candidate(), examples)
        taken.append(tally.tokens)
    await database.close()
    assert taken == [15, 15, 20]
    assert target.calls == 4
