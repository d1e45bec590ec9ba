import subprocess
import sys

import pytest

from crito.protocols import Usage
from crito.tools.prices import Price, context_of, enforces_schema, price_of


def test_cost_charges_cached_tokens_at_their_own_price() -> None:
    price = Price(tokens_in=3.0, tokens_out=10.0, cached=1.0)
    assert price.cost(Usage(tokens_in=5, tokens_out=2, cached=4)) == 1 * 3.0 + 4 * 1.0 + 2 * 10.0


@pytest.mark.parametrize("name", ["local/smollm2", "local/models/x.gguf", "scripted", "scripted/critic"])
def test_local_and_scripted_models_are_free(name: str) -> None:
    assert price_of(name, {}) == Price(0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["endpoint/http://localhost/v1#gpt-4o-mini", "openai/no-such-model", "langchain/Fake"])
def test_a_price_that_nobody_knows_is_none_and_not_zero(name: str) -> None:
    assert price_of(name, {}) is None


def test_the_users_price_is_per_million_tokens() -> None:
    assert price_of("endpoint/http://h/v1#m", {"endpoint/http://h/v1#m": (2.0, 8.0)}) == Price(2e-6, 8e-6, 2e-6)


def test_the_users_price_wins_over_the_table() -> None:
    assert price_of("openai/gpt-4o-mini", {"openai/gpt-4o-mini": (1.0, 1.0)}) == Price(1e-6, 1e-6, 1e-6)


def test_a_model_is_found_under_its_bare_name() -> None:
    assert price_of("openai/gpt-4o-mini", {}) == Price(1.5e-7, 6e-7, 7.5e-8)


def test_a_bare_name_of_another_provider_is_not_this_models_price() -> None:
    assert price_of("groq/gpt-4o-mini", {}) is None


def test_a_model_is_found_under_its_full_name() -> None:
    assert price_of("gemini/gemini-2.5-flash", {}) == Price(3e-7, 2.5e-6, 3e-8)


def test_a_model_without_a_cache_price_pays_the_full_price() -> None:
    price = price_of("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", {})
    assert price is not None
    assert price.cached == price.tokens_in


def test_context_is_what_the_model_can_read() -> None:
    assert context_of("openai/gpt-4o-mini") == 128_000


def test_context_of_an_unknown_model_is_none() -> None:
    assert context_of("openai/no-such-model") is None


def test_schema_mode_is_read_from_the_table() -> None:
    assert enforces_schema("openai/gpt-4o-mini")
    assert not enforces_schema("openai/no-such-model")


def test_reading_prices_does_not_import_litellm() -> None:
    read = "import sys; from crito.tools.prices import price_of; price_of('openai/gpt-4o-mini', {})"
    code = f"{read}; print('litellm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
