from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crito.errors import BadInput, CallFailed
from crito.prompt import Message
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.embedder import resolve_embedder, vectors_of
from tests.builders import refused
from tests.stub_provider import Fault, StubProvider
from tests.toy_run import task_folder

TEXTS = ModelRequest(messages=(Message(role="user", content="one two"), Message(role="user", content="three")))


async def embedded(
    vector: Callable[[str], list[Any]] | None = None, fault: Fault | None = None
) -> tuple[ModelReply, StubProvider]:
    async with StubProvider(vector=vector, fault=lambda n, body: fault) as stub:
        embedder = resolve_embedder(f"endpoint/{stub.url}#stub", environ={"CRITO_ENDPOINT_API_KEY": "sk-hush-hush"})
        try:
            return await embedder.complete(TEXTS), stub
        finally:
            await embedder.aclose()


async def test_each_text_gets_its_vector_whatever_the_order_of_the_answer() -> None:
    reply, stub = await embedded()
    assert vectors_of(reply.text.split("\n")).tolist() == [[1.0, 7.0], [1.0, 5.0]]
    assert reply.usage == Usage(tokens_in=3)
    assert stub.bodies == [{"model": "stub", "input": ["one two", "three"], "encoding_format": "float"}]


@pytest.mark.parametrize("vector", [[], ["x", "y"], [float("nan"), 1.0], [1e300, 1.0], None, [[1.0]]])
async def test_an_answer_without_vectors_is_garbage(vector: Any) -> None:
    with pytest.raises(CallFailed, match="no vector for each text") as caught:
        await embedded(lambda text: vector)
    assert (caught.value.kind, caught.value.tokens_in) == ("garbage", 3)


async def test_a_refused_key_is_not_told() -> None:
    with pytest.raises(CallFailed) as caught:
        await embedded(fault=Fault(401, message="the key sk-hush-hush is wrong"))
    assert (caught.value.kind, "hush" in str(caught.value)) == ("auth", False)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("text-embedding-3-small", "names no provider; write for example openai/text-embedding-3-small"),
        ("openai/gpt-4o-mini", "gives no vectors; name an embedding model, such as openai/text-embedding-3-small"),
        ("openai/text-embedding-3-small", "needs an API key; set the environment variable OPENAI_API_KEY"),
        ("opnai/x", "did you mean 'openai'?"),
        ("local/nothing", "write local/smollm2"),
        ("endpoint/http://localhost:1/v1", "does not say which model"),
        ("scripted/x", "there is no provider 'scripted'"),
    ],
)
def test_a_name_that_cannot_be_an_embedding_models_is_refused_with_the_cure(name: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve_embedder(name, environ={})
    message = str(caught.value)
    assert message.startswith("embed: ")
    assert told in message
    assert "\n" not in message
    assert "model: " not in message


def test_it_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, options = task_folder(tmp_path), ("--model", "local/smollm2")
    assert "embed: 'x' names no provider" in refused("optimize", path, *options, "--embed", "x")
    unpriced = ("--embed", "endpoint/http://localhost:1/v1#x", "--budget-usd", "1")
    assert "price of endpoint/http://localhost:1/v1#x is not known" in refused("optimize", path, *options, *unpriced)
    path.write_text(f"{path.read_text()}embed: openai/gpt-4o-mini\n")
    assert "embed: openai/gpt-4o-mini gives no vectors" in refused("optimize", path, *options)
