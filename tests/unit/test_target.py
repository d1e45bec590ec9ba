from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from crito.errors import CallFailed
from crito.prompt import Prompt
from crito.protocols import ModelReply, ModelRequest, Target, Usage
from crito.task import Budget
from crito.tools.database import Database
from crito.tools.ledger import Ledger, call_key
from crito.tools.limiter import Limiter
from crito.tools.meter import Meter
from crito.tools.scripted_model import ScriptedModel
from crito.tools.target import ChatTarget, ProgramTarget

PROMPTS = {"main": Prompt.from_text("Say it loudly.")}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


def ledger_on(database: Database) -> Ledger:
    return Ledger(database, run="r", meter=Meter(Budget()), limiter=Limiter(4), price=lambda name: None)


async def test_a_chat_target_asks_the_rendered_prompt(database: Database) -> None:
    model = ScriptedModel(["HI"])
    output = await ChatTarget(ledger_on(database), model, max_tokens=9).run(PROMPTS, {"input": "hi"})
    assert output.text == "HI"
    assert model.requests == [ModelRequest(messages=tuple(PROMPTS["main"].render({"input": "hi"})), max_tokens=9)]


async def test_a_word_in_an_answer_is_handed_over_as_its_label(database: Database) -> None:
    worded = {"main": Prompt(words={"billing": "A", "delivery": "B"})}
    output = await ChatTarget(ledger_on(database), ScriptedModel(["B."]), max_tokens=9).run(worded, {"input": "hi"})
    assert output.text == "delivery"


async def test_an_output_names_its_ledger_row_and_usage(database: Database) -> None:
    model = ScriptedModel(lambda request: ModelReply(text="HI", usage=Usage(tokens_in=3, tokens_out=1)))
    output = await ChatTarget(ledger_on(database), model, max_tokens=9).run(PROMPTS, {"input": "hi"})
    assert output.call_keys == (call_key("scripted", model.requests[0], 0, "r"),)
    assert output.usage == Usage(tokens_in=3, tokens_out=1)


async def test_a_cut_off_answer_is_marked(database: Database) -> None:
    model = ScriptedModel(lambda request: ModelReply(text="H", finish="length"))
    output = await ChatTarget(ledger_on(database), model, max_tokens=1).run(PROMPTS, {"input": "hi"})
    assert output.truncated


async def test_samples_of_one_input_are_asked_separately(database: Database) -> None:
    target = ChatTarget(ledger_on(database), ScriptedModel(["one", "two"]), max_tokens=9)
    texts = [(await target.run(PROMPTS, {"input": "hi"}, sample=sample)).text for sample in (0, 1, 0)]
    assert texts == ["one", "two", "one"]


async def test_a_failed_call_is_raised_and_not_an_answer(database: Database) -> None:
    model = ScriptedModel(lambda request: CallFailed("bad_request", "no", retryable=False))
    with pytest.raises(CallFailed):
        await ChatTarget(ledger_on(database), model, max_tokens=9).run(PROMPTS, {"input": "hi"})


async def shout(prompts: Mapping[str, Prompt], inputs: Mapping[str, str]) -> str:
    return f"{prompts['main'].instructions()} {inputs['input'].upper()}"


async def test_a_users_program_is_a_target(database: Database) -> None:
    target: Target = ProgramTarget(ledger_on(database), shout)
    assert (await target.run(PROMPTS, {"input": "hi"})).text == "Say it loudly. HI"


async def test_a_run_of_a_program_is_kept_and_counted_once(database: Database) -> None:
    ledger = ledger_on(database)
    target = ProgramTarget(ledger, shout)
    first, second = await target.run(PROMPTS, {"input": "hi"}), await target.run(PROMPTS, {"input": "hi"})
    assert first == second
    assert ledger.meter.spent.calls == 1


async def test_a_program_that_raises_is_a_failed_call_and_not_an_answer(database: Database) -> None:
    async def broken(prompts: Mapping[str, Prompt], inputs: Mapping[str, str]) -> str:
        raise KeyError("oops")

    with pytest.raises(CallFailed, match="KeyError"):
        await ProgramTarget(ledger_on(database), broken).run(PROMPTS, {"input": "hi"})


async def test_a_key_in_a_programs_error_is_not_kept(database: Database) -> None:
    async def leak(prompts: Mapping[str, Prompt], inputs: Mapping[str, str]) -> str:
        raise ValueError("bad key sk-proj-Ab1")

    with pytest.raises(CallFailed) as caught:
        await ProgramTarget(ledger_on(database), leak).run(PROMPTS, {"input": "hi"})
    assert "raised ValueError: bad key ***" in str(caught.value)


async def test_the_targets_temperature_is_asked_for(database: Database) -> None:
    model = ScriptedModel(["HI"])
    await ChatTarget(ledger_on(database), model, max_tokens=9, temperature=0.7).run(PROMPTS, {"input": "hi"})
    assert model.requests[0].temperature == 0.7
