import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crito.errors import CallFailed
from crito.prompt import Demo, Prompt
from crito.protocols import Model, ModelReply, ModelRequest, Target, Usage
from crito.tools.database import Database
from crito.tools.endpoint_model import EndpointModel
from crito.tools.ledger import call_key
from crito.tools.likelihood_target import LikelihoodTarget
from crito.tools.scripted_model import ScriptedModel
from tests.builders import make_ledger
from tests.stub_provider import StubProvider

LABELS = ("billing", "shipping")
PROMPTS = {"main": Prompt.from_text("Name the team.")}
FIRST = {" Bill": math.log(0.3), "ship": math.log(0.1), "the": math.log(0.05)}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


def saying(first: dict[str, float] | None, text: str = "Bill") -> ScriptedModel:
    reply = ModelReply(text=text, finish="length", usage=Usage(tokens_in=3, tokens_out=1), first_token=first)
    return ScriptedModel(lambda request: reply, supports_logprobs=True)


def target_of(database: Database, model: Model) -> LikelihoodTarget:
    return LikelihoodTarget(make_ledger(database), model, LABELS)


async def test_the_most_likely_label_is_the_answer(database: Database) -> None:
    target: Target = target_of(database, saying(FIRST))
    output = await target.run(PROMPTS, {"input": "hi"})
    assert output.text == "billing"
    assert output.probabilities == pytest.approx({"billing": 0.75, "shipping": 0.25})
    assert not output.truncated


async def test_one_token_is_asked_of_the_rendered_prompt(database: Database) -> None:
    model = saying(FIRST)
    await target_of(database, model).run(PROMPTS, {"input": "hi"})
    messages = tuple(PROMPTS["main"].render({"input": "hi"}))
    assert model.requests == [ModelRequest(messages=messages, max_tokens=1, top_logprobs=200)]


async def test_no_more_tokens_are_asked_for_than_the_model_gives(database: Database) -> None:
    async with StubProvider(reply=lambda body: "Bill", logprobs=FIRST) as stub:
        model = EndpointModel("endpoint/stub", stub.url, "stub")
        output = await target_of(database, model).run(PROMPTS, {"input": "hi"})
        await model.aclose()
    assert (stub.bodies[0]["max_tokens"], stub.bodies[0]["logprobs"], stub.bodies[0]["top_logprobs"]) == (1, True, 20)
    assert output.text == "billing"


async def test_an_output_names_its_ledger_row_and_usage(database: Database) -> None:
    model = saying(FIRST)
    output = await target_of(database, model).run(PROMPTS, {"input": "hi"})
    assert output.call_keys == (call_key("scripted", model.requests[0], 0, "r"),)
    assert output.usage == Usage(tokens_in=3, tokens_out=1)


async def test_an_answer_from_the_cache_is_the_same(database: Database) -> None:
    model = saying(FIRST)
    target = target_of(database, model)
    assert await target.run(PROMPTS, {"input": "hi"}) == await target.run(PROMPTS, {"input": "hi"})
    assert model.calls == 1


async def test_an_answer_that_favours_no_label_stays_what_was_said(database: Database) -> None:
    output = await target_of(database, saying({"the": -0.1}, "the")).run(PROMPTS, {"input": "hi"})
    assert output.text == "the"
    assert output.probabilities == {"billing": 0.5, "shipping": 0.5}


@pytest.mark.parametrize("said", ["", "\ufffd"], ids=["nothing", "half a character"])
async def test_silence_and_half_a_character_favour_no_label(database: Database, said: str) -> None:
    output = await target_of(database, saying(None, said)).run(PROMPTS, {"input": "hi"})
    assert (output.text, output.probabilities) == (said, {"billing": 0.5, "shipping": 0.5})


async def test_a_model_that_gives_no_logprobs_is_a_failed_call(database: Database) -> None:
    with pytest.raises(CallFailed, match="scripted: the answer has no log-probabilities; use scoring: sampled"):
        await target_of(database, saying(None)).run(PROMPTS, {"input": "hi"})


def worded(**words: str) -> dict[str, Prompt]:
    demos = (Demo(inputs={"input": "x"}, output="billing"),)
    return {"main": PROMPTS["main"].model_copy(update={"words": words, "demos": demos})}


async def test_the_words_of_a_prompt_stand_for_its_labels(database: Database) -> None:
    first = {"money": math.log(0.2), "ship": math.log(0.6)}
    output = await target_of(database, saying(first)).run(worded(billing="money"), {"input": "hi"})
    assert output.text == "shipping"
    assert output.probabilities == pytest.approx({"billing": 0.25, "shipping": 0.75})


@pytest.mark.parametrize("word", ["shipping", "shipment fee", "ship"])
async def test_words_that_begin_alike_are_not_asked_for(database: Database, word: str) -> None:
    model = saying(FIRST)
    words = {"billing": word, "shipping": "shipping" if word != "shipment fee" else "shipment late"}
    with pytest.raises(CallFailed, match="choose other words for the labels"):
        await target_of(database, model).run(worded(**words), {"input": "hi"})
    assert model.calls == 0
