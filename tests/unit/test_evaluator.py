import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crito.agents.evaluator import Evaluator
from crito.errors import BadInput, BudgetExhausted, CallFailed, ProviderFailure
from crito.memory.archive import Archive
from crito.prompt import Prompt
from crito.protocols import Output, Usage
from crito.records import Outcome
from crito.task import Example, Score
from crito.tools.database import Database
from crito.tools.target import ProgramTarget
from tests.builders import make_candidate, make_examples, make_ledger

EXAMPLES = make_examples(4)
CANDIDATE = make_candidate()


@dataclass
class ListTarget:
    """Answers with a function of the input; an exception is raised."""

    answer: Callable[[str], str | Exception]
    inputs: list[str] = field(default_factory=list)

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        self.inputs.append(inputs["input"])
        given = self.answer(inputs["input"])
        if isinstance(given, Exception):
            raise given
        return Output(text=given, usage=Usage(tokens_in=3), call_keys=(f"k{sample}",))


def right(output: Output, example: Example) -> Score:
    return Score(value=float(output.text == example.expected), feedback="no" if output.text != "billing" else "")


def down(text: str) -> CallFailed:
    return CallFailed("server", f"no answer to {text}", retryable=True)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database, "r")


async def test_outcomes_come_in_the_order_of_the_examples(archive: Archive) -> None:
    target = ListTarget(lambda text: "billing" if text.endswith("1") else text)
    outcomes = await Evaluator(target, right, archive).evaluate(CANDIDATE, EXAMPLES)
    assert [o.example for o in outcomes] == [e.id for e in EXAMPLES]
    assert [o.right for o in outcomes] == [False, True, False, False]
    assert outcomes[0].score == Score(value=0.0, feedback="no")
    assert (outcomes[0].output, outcomes[0].usage.tokens_in, outcomes[0].call_keys) == ("message 0", 3, ("k0",))


async def test_what_the_archive_has_is_not_run_again(archive: Archive) -> None:
    target = ListTarget(lambda text: "billing")
    evaluator = Evaluator(target, right, archive)
    await evaluator.evaluate(CANDIDATE, EXAMPLES[:2])
    await evaluator.evaluate(CANDIDATE, EXAMPLES)
    assert target.inputs == [e.inputs["input"] for e in EXAMPLES]


async def test_repeats_are_told_apart(archive: Archive) -> None:
    target = ListTarget(lambda text: "billing")
    evaluator = Evaluator(target, right, archive)
    for sample in (0, 1):
        (outcome,) = await evaluator.evaluate(CANDIDATE, EXAMPLES[:1], sample=sample)
        assert (outcome.sample, outcome.call_keys) == (sample, (f"k{sample}",))
    assert len(target.inputs) == 2


async def test_a_failed_call_is_an_error_and_never_a_zero(archive: Archive) -> None:
    (outcome,) = await Evaluator(ListTarget(down), right, archive).evaluate(CANDIDATE, EXAMPLES[:1])
    assert (outcome.score, outcome.error, outcome.right) == (None, "server: no answer to message 0", False)
    assert archive.scores(CANDIDATE.id, EXAMPLES[:1]) == [None]


async def test_a_failed_call_is_tried_again_next_time(archive: Archive) -> None:
    await Evaluator(ListTarget(down), right, archive).evaluate(CANDIDATE, EXAMPLES[:2])
    (outcome, _) = await Evaluator(ListTarget(lambda _: "billing"), right, archive).evaluate(CANDIDATE, EXAMPLES[:2])
    assert (outcome.right, outcome.error) == (True, None)


async def test_one_failed_call_does_not_stop_the_others(archive: Archive) -> None:
    target = ListTarget(lambda text: down(text) if text.endswith("0") else "billing")
    outcomes = await Evaluator(target, right, archive).evaluate(CANDIDATE, EXAMPLES)
    assert [o.right for o in outcomes] == [False, True, True, True]


async def test_a_judge_that_fails_is_an_error_too(archive: Archive) -> None:
    async def judge(output: Output, example: Example) -> Score:
        raise CallFailed("timeout", "no verdict", retryable=True)

    (outcome,) = await Evaluator(ListTarget(lambda _: "x"), judge, archive).evaluate(CANDIDATE, EXAMPLES[:1])
    assert outcome.error == "timeout: no verdict"


@pytest.mark.parametrize("error", [BudgetExhausted("calls"), ProviderFailure("down")])
async def test_what_was_answered_before_the_end_is_kept(archive: Archive, error: Exception) -> None:
    target = ListTarget(lambda text: error if text.endswith("3") else "billing")
    with pytest.raises(type(error)):
        await Evaluator(target, right, archive).evaluate(CANDIDATE, EXAMPLES)
    assert archive.scores(CANDIDATE.id, EXAMPLES) == [1.0, 1.0, 1.0, None]


async def test_a_dead_provider_is_said_before_an_empty_budget(archive: Archive) -> None:
    errors = {"message 0": BudgetExhausted("calls"), "message 1": ProviderFailure("down")}
    with pytest.raises(ProviderFailure):
        await Evaluator(ListTarget(lambda text: errors[text]), right, archive).evaluate(CANDIDATE, EXAMPLES[:2])


async def test_a_metric_that_raises_names_the_example(archive: Archive) -> None:
    def broken(output: Output, example: Example) -> Score:
        raise KeyError("team")

    with pytest.raises(BadInput, match=f"metric broken raised KeyError on example {EXAMPLES[0].id}"):
        await Evaluator(ListTarget(lambda _: "x"), broken, archive).evaluate(CANDIDATE, EXAMPLES[:1])


async def test_each_outcome_is_announced_once(archive: Archive) -> None:
    heard: list[Outcome] = []
    evaluator = Evaluator(ListTarget(lambda _: "billing"), right, archive, done=heard.append)
    await evaluator.evaluate(CANDIDATE, EXAMPLES)
    await evaluator.evaluate(CANDIDATE, EXAMPLES)
    assert [o.example for o in heard] == [e.id for e in EXAMPLES]


async def test_requests_of_one_candidate_go_out_together(archive: Archive, database: Database) -> None:
    waiting = asyncio.Barrier(len(EXAMPLES))

    async def answer(prompts: Mapping[str, Prompt], inputs: Mapping[str, str]) -> str:
        await asyncio.wait_for(waiting.wait(), 5)
        return "billing"

    target = ProgramTarget(make_ledger(database), answer)
    outcomes = await Evaluator(target, right, archive).evaluate(CANDIDATE, EXAMPLES)
    assert all(o.right for o in outcomes)


async def test_a_program_gets_all_modules_prompts(archive: Archive, database: Database) -> None:
    async def program(prompts: Mapping[str, Prompt], inputs: Mapping[str, str]) -> str:
        return "+".join(prompts[name].instructions() for name in ("find", "answer"))

    several = make_candidate(prompts={"find": make_candidate("Find.").main, "answer": make_candidate("Answer.").main})
    target = ProgramTarget(make_ledger(database), program)
    (outcome,) = await Evaluator(target, right, archive).evaluate(several, EXAMPLES[:1])
    assert outcome.output == "Find.+Answer."
