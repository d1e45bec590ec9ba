"""What models cost and how much they can read, from the table that comes with LiteLLM (which is not imported)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from crito.protocols import Usage

_TABLE = "model_prices_and_context_window_backup.json"
_PROVIDERS = "provider_endpoints_support_backup.json"
_FREE = ("local/", "scripted", "program/")


class Price(NamedTuple):
    """US dollars per token: read, written, and read from the provider's cache."""

    tokens_in: float
    tokens_out: float
    cached: float

    def cost(self, usage: Usage) -> float:
        """US dollars for these tokens."""
        fresh = usage.tokens_in - usage.cached
        return fresh * self.tokens_in + usage.cached * self.cached + usage.tokens_out * self.tokens_out


def price_of(model_name: str, overrides: Mapping[str, tuple[float, float]]) -> Price | None:
    """The price of a model, or None where nobody knows it.

    Args:
        model_name: As the user wrote it. Local and scripted models are free; an endpoint's price must be given.
        overrides: US dollars per *million* tokens (in, out) by model name, as TASK.yaml gives them; they win.
    """
    if model_name in overrides:
        million_in, million_out = overrides[model_name]
        return Price(million_in / 1e6, million_out / 1e6, million_in / 1e6)
    if model_name.startswith(_FREE):
        return Price(0.0, 0.0, 0.0)
    entry = _entry(model_name)
    free = 0.0 if entry.get("mode") == "embedding" else None  # which writes no tokens
    tokens_in, tokens_out = entry.get("input_cost_per_token"), entry.get("output_cost_per_token", free)
    if tokens_in is None or tokens_out is None:
        return None
    return Price(tokens_in, tokens_out, entry.get("cache_read_input_token_cost", tokens_in))


def context_of(model_name: str) -> int | None:
    """How many tokens the model can read, or None where the table does not say."""
    entry = _entry(model_name)
    limit = entry.get("max_input_tokens") or entry.get("max_tokens")
    return int(limit) if limit else None


def enforces_schema(model_name: str) -> bool:
    """Whether the table says that the provider holds replies to a JSON schema."""
    return bool(_entry(model_name).get("supports_response_schema"))


def reasons(model_name: str) -> bool:
    """Whether the table says that the model may reason before its answer, in tokens that are paid and not shown."""
    return bool(_entry(model_name).get("supports_reasoning"))


def mode_of(model_name: str) -> str:
    """What the table says that the model is for (``chat``, ``embedding``); empty where it does not say."""
    return str(_entry(model_name).get("mode") or "")


@cache
def providers() -> frozenset[str]:
    """Every provider that LiteLLM knows: those with models in its table, and those whose models are the user's own."""
    priced = (str(entry.get("litellm_provider", "")) for entry in _table().values())
    return frozenset(priced).union(_bundled(_PROVIDERS).get("providers", ()))


def _entry(model_name: str) -> Mapping[str, Any]:
    table = _table()
    if model_name in table:
        return table[model_name]
    provider, _, bare = model_name.partition("/")
    entry = table.get(bare, {})
    # A bare name may belong to another provider, at another price.
    return entry if str(entry.get("litellm_provider", "")).startswith(provider) else {}


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    return _bundled(_TABLE)


def _bundled(name: str) -> Mapping[str, Mapping[str, Any]]:
    spec = importlib.util.find_spec("litellm")
    file = Path(spec.origin).with_name(name) if spec and spec.origin else None
    if file is None or not file.is_file():
        return {}
    content: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return content
