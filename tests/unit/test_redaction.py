import pytest

from crito.tools.redaction import public_name, redacted


@pytest.mark.parametrize("secret", ["sk-proj-Ab1", "Bearer abc", "AIzaSyAbcdefgh", "0123456789abcdef0123456789abcdef"])
def test_whatever_looks_like_a_key_is_redacted(secret: str) -> None:
    assert redacted(f"key {secret} is wrong") == "key *** is wrong"


def test_keys_in_the_environment_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_API_KEY", "open sesame")
    assert redacted("you said open sesame") == "you said ***"


def test_a_given_secret_is_redacted() -> None:
    assert redacted("you said open sesame", "open sesame") == "you said ***"


def test_a_long_message_becomes_one_short_line() -> None:
    assert redacted("no\nway " * 100) == ("no way " * 100)[:200]


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("openai/gpt-5-mini", "openai/gpt-5-mini"),
        ("endpoint/http://localhost:8000/v1#org/model", "endpoint/http://localhost:8000/v1#org/model"),
        ("endpoint/http://me:open@sesame@host/v1?key=open#m", "endpoint/http://host/v1#m"),
        ("endpoint/https://host/v1/sk-proj-Ab1#m", "endpoint/https://host/v1/***#m"),
    ],
)
def test_a_models_name_is_told_without_the_keys_in_its_address(name: str, public: str) -> None:
    assert public_name(name) == public
