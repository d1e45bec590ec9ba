import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from crito.errors import CallFailed
from crito.prompt import Demo, Message, Prompt
from crito.protocols import Model, ModelReply, ModelRequest, Target, Usage
from crito.tools.database import Database
from crito.tools.endpoint_model import EndpointModel
from crito.tools.ledger import call_key
from crito.tools.likelihood_target import LikelihoodTarget
from crito.tools.scripted_model import ScriptedModel
from tests.builders import make_ledger, rows_of
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


# --- the whole answer --------------------------------------------------------------------------------------------

KINDS = ("num_date", "num_count", "object", "objective")
TREE: dict[str, dict[str, float]] = {
    "": {"num": 0.5, "Object": 0.25, "o": 0.005, "objectiv": 0.05, "the": 0.1},
    "num": {"_": 0.8, "_date": 0.1, "ber": 0.1},
    "num_": {"date": 0.25, "count": 0.5, "code": 0.25},
    "Object": {"": 0.4, ".": 0.2, "ive": 0.3, "ion": 0.1},
}
"""What may follow each begun answer; "o" begins two labels and is too rare to be asked for."""
WEIGHTS = {
    "num_date": 0.5 * (0.1 + 0.8 * 0.25),
    "num_count": 0.5 * 0.8 * 0.5,
    "object": 0.25 * (0.4 + 0.2),
    "objective": 0.05 + 0.25 * 0.3,
}
BEGUN = ["", "num", "Object", "num_"]


def begun_of(request: ModelRequest) -> str:
    return request.messages[-1].content if request.messages[-1].role == "assistant" else ""


def growing(tree: Mapping[str, Mapping[str, float]] = TREE, *, repeats: bool = False) -> ScriptedModel:
    """A model that goes on from begun answers; with ``repeats`` it says them again, as llama.cpp does."""

    def answer(request: ModelRequest) -> ModelReply:
        begun = begun_of(request)
        listed = {token: math.log(probability) for token, probability in tree[begun].items()}
        text = (begun if repeats else "") + next(iter(tree[begun]), "")
        return ModelReply(text=text, usage=Usage(tokens_in=10 + len(begun), tokens_out=1), first_token=listed or None)

    return ScriptedModel(answer, supports_logprobs=True, supports_prefill=True)


def target_of_kinds(database: Database, model: Model, labels: tuple[str, ...] = KINDS) -> LikelihoodTarget:
    return LikelihoodTarget(make_ledger(database), model, labels)


@pytest.mark.parametrize("repeats", [False, True])
async def test_labels_that_begin_alike_are_told_apart_by_the_whole_answer(database: Database, repeats: bool) -> None:
    output = await target_of_kinds(database, growing(repeats=repeats)).run(PROMPTS, {"input": "hi"})
    total = sum(WEIGHTS.values())
    assert output.probabilities == pytest.approx({label: weight / total for label, weight in WEIGHTS.items()})
    assert output.text == "num_count"


async def test_only_beginnings_that_are_worth_it_are_asked_for_what_follows(database: Database) -> None:
    model = growing()
    await target_of_kinds(database, model).run(PROMPTS, {"input": "hi"})
    assert [begun_of(request) for request in model.requests] == BEGUN
    messages = tuple(PROMPTS["main"].render({"input": "hi"}))
    begun = (*messages, Message(role="assistant", content="num_"))
    assert model.requests[0] == ModelRequest(messages=messages, max_tokens=1, top_logprobs=200)
    assert model.requests[-1] == ModelRequest(messages=begun, max_tokens=1, top_logprobs=200)


async def test_an_output_names_all_its_ledger_rows_and_the_usage_of_all(database: Database) -> None:
    model = growing()
    output = await target_of_kinds(database, model).run(PROMPTS, {"input": "hi"}, sample=2)
    assert output.call_keys == tuple(call_key("scripted", request, 2, "r") for request in model.requests)
    assert output.usage == Usage(tokens_in=4 * 10 + len("".join(BEGUN)), tokens_out=4)
    assert rows_of(database, "role") == [("target",)] * 4


async def test_a_whole_answer_from_the_cache_is_the_same(database: Database) -> None:
    model = growing()
    target = target_of_kinds(database, model)
    assert await target.run(PROMPTS, {"input": "hi"}) == await target.run(PROMPTS, {"input": "hi"})
    assert model.calls == 4


async def test_labels_that_a_first_token_tells_apart_take_one_call_even_of_such_a_model(database: Database) -> None:
    model = growing({"": {"s": 0.6, "spam": 0.3, "sport": 0.1}})
    output = await target_of_kinds(database, model, ("spam", "sport")).run(PROMPTS, {"input": "hi"})
    assert output.probabilities == pytest.approx({"spam": 0.75, "sport": 0.25})
    assert model.calls == 1


async def test_words_that_begin_alike_are_told_apart_by_such_a_model(database: Database) -> None:
    model = growing({"": {"team": 0.9}, "team": {" money": 0.2, " post": 0.6}})
    prompts = worded(billing="team money", shipping="team post")
    output = await target_of(database, model).run(prompts, {"input": "hi"})
    assert output.probabilities == pytest.approx({"billing": 0.25, "shipping": 0.75})


async def test_words_that_are_the_same_are_told_apart_by_no_model(database: Database) -> None:
    model = growing()
    with pytest.raises(CallFailed, match="no answer tells 'Shipping' and 'shipping' apart; choose other words"):
        await target_of(database, model).run(worded(billing="Shipping"), {"input": "hi"})
    assert model.calls == 0


async def test_a_begun_answer_that_comes_to_nothing_favours_no_label(database: Database) -> None:
    model = growing({"": {"num": 0.9}, "num": {"ber": 0.9}}, repeats=True)
    output = await target_of_kinds(database, model).run(PROMPTS, {"input": "hi"})
    assert (output.text, set((output.probabilities or {}).values())) == ("num", {0.25})


async def test_half_a_character_after_a_begun_answer_is_no_failure(database: Database) -> None:
    model = growing({"": {"num": 0.6, "objectiv": 0.3}, "num": {}}, repeats=True)
    output = await target_of_kinds(database, model).run(PROMPTS, {"input": "hi"})
    assert output.text == "objective"
