import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crito.errors import CallFailed
from crito.memory.nearness import nearness
from crito.prompt import Demo, Message, Prompt
from crito.protocols import ModelRequest
from crito.tools.database import Database
from crito.tools.embedder import resolve_embedder, vectors_of
from crito.tools.likelihood_target import LikelihoodTarget
from crito.tools.local_model import LocalModel
from crito.tools.models import resolve
from tests.builders import make_ledger

pytestmark = pytest.mark.e2e


@pytest.fixture
async def smollm() -> AsyncIterator[LocalModel]:
    model = resolve("local/smollm2", concurrency=2)
    assert isinstance(model, LocalModel)
    yield model
    await model.aclose()


def ask(text: str, max_tokens: int = 8) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content=text),), max_tokens=max_tokens)


async def test_it_answers_the_same_question_the_same_way(smollm: LocalModel) -> None:
    first, second = [await smollm.complete(ask("What is the capital of France?", 16)) for _ in range(2)]
    assert first.text.strip()
    assert first.text == second.text
    assert second.usage.cached > 0


async def test_an_answer_stops_at_its_limit(smollm: LocalModel) -> None:
    reply = await smollm.complete(ask("Tell me a long story.", 4))
    assert (reply.finish, reply.usage.tokens_out) == ("length", 4)


async def test_a_schema_is_enforced(smollm: LocalModel) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["red", "blue"]}}, "required": ["label"]}
    reply = await smollm.complete(ask("Which colour is the sky?", 40).model_copy(update={"json_schema": schema}))
    assert json.loads(reply.text)["label"] in {"red", "blue"}


async def follows(model: LocalModel, begun: str) -> str:
    """The likeliest token after a begun answer, where every question before it was answered with ``num_date``."""
    turn = (Message(role="user", content="one"), Message(role="assistant", content="num_date"))
    messages = (*turn, *turn, turn[0], Message(role="assistant", content=begun))
    listed = (await model.complete(ModelRequest(messages=messages, max_tokens=1, top_logprobs=20))).first_token or {}
    return max(listed, key=lambda token: listed[token])


async def test_it_goes_on_from_a_begun_answer_and_tells_its_end(smollm: LocalModel) -> None:
    assert [await follows(smollm, begun) for begun in ("num_", "num_date")] == ["date", ""]


@pytest.mark.parametrize("labels", [("object", "objective"), ("num_date", "num_count")])
async def test_labels_that_begin_alike_are_told_apart_by_the_whole_answer(
    smollm: LocalModel, tmp_path: Path, labels: tuple[str, str]
) -> None:
    database = Database(tmp_path / "crito.db")
    target = LikelihoodTarget(make_ledger(database), smollm, labels)
    for label in labels:
        demos = tuple(Demo(inputs={"input": text}, output=label) for text in ("one", "two", "three"))
        prompt = Prompt.from_text("Which kind is it?").model_copy(update={"demos": demos})
        output = await target.run({"main": prompt}, {"input": "four"})
        assert output.text == label
        assert len(output.call_keys) > 1
    await database.close()


async def test_a_request_longer_than_the_context_is_refused_in_clear_words(smollm: LocalModel) -> None:
    with pytest.raises(CallFailed, match="longer than the model's context of 2048 tokens; shorten") as caught:
        await smollm.complete(ask("word " * 3000))
    assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)


async def test_two_models_of_one_file_share_one_server(smollm: LocalModel) -> None:
    other = resolve("local/smollm2")
    assert isinstance(other, LocalModel)
    await asyncio.gather(smollm.complete(ask("hi", 1)), other.complete(ask("hi", 1)))
    assert smollm._served[False] is other._served[False]
    await other.aclose()
    assert (await smollm.complete(ask("hi", 1))).usage.tokens_out == 1


async def test_it_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    model = resolve("local/smollm2", concurrency=1)
    await model.complete(ask("hi", 1))
    await model.aclose()
    assert capfd.readouterr() == ("", "")


async def test_a_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(2000))
    with pytest.raises(CallFailed, match=r"llama.cpp cannot load broken.gguf") as caught:
        await LocalModel("local/broken.gguf", broken, 1).complete(ask("hi"))
    assert not caught.value.retryable


async def test_texts_that_mean_the_same_have_near_vectors() -> None:
    embedder = resolve_embedder("local/smollm2")
    texts = ("Where is my parcel?", "My package has not arrived.", "The square root of nine is three.")
    reply = await embedder.complete(ModelRequest(messages=tuple(Message(role="user", content=t) for t in texts)))
    with pytest.raises(CallFailed, match="the text is longer than the model's context of 2048 tokens") as caught:
        await embedder.complete(ask("word " * 3000))
    await embedder.aclose()
    vectors = vectors_of(reply.text.split("\n"))
    assert vectors.shape == (3, 576)
    assert nearness(vectors[0], vectors[1:]).tolist() == [1.0, 0.0]
    assert reply.usage.tokens_in > 10
    assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)
