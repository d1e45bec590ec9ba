"""Texts of foreign errors, and names of models, without the secrets in them."""

from __future__ import annotations

import os
import re

_SHOWN = 200  # characters of a foreign message that an error repeats
_SECRET = re.compile(r"(?i:bearer\s+\S+)|\b(?:sk|pk|gsk|xai|hf)[-_][\w*-]{4,}|\bAIza[\w-]{8,}|\b[A-Za-z0-9]{32,}\b")

_IN_ADDRESS = re.compile(r"(?<=://)[^/?#]*@|\?[^#]*")
"""Where an address may hold a key: user and password, and the query."""


def redacted(text: str, *secrets: str) -> str:
    """One short line without secrets: those given, those in the environment, and whatever looks like a key."""
    environment = (value for key, value in os.environ.items() if key.endswith(("KEY", "TOKEN", "SECRET")))
    for secret in (*secrets, *environment):
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return " ".join(_SECRET.sub("***", text).split())[:_SHOWN]


def public_name(model: str) -> str:
    """A model's name without the keys that its address may hold; the same on every machine, for comparisons."""
    return _SECRET.sub("***", _IN_ADDRESS.sub("", model))
