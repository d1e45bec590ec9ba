import pytest

from crito.tools.redaction import redacted


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
