"""Which values look like credentials: they stay here unless the person says their names."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["credential"]

_NAME = re.compile(
    r"(^|[\W_])(password|passwords|passwd|pwd|passphrase|secret|secrets|credential|"
    r"credentials|api_?key|api_?keys|access_?key|private_?key|secret_?key|auth_?key|"
    r"connection_?string|dsn)([\W_\d]|$)"
)
_TOKEN = re.compile(r"(^|[\W_])tokens?([\W_\d]|$)")
#: Not the special tokens of a language model.
_TOKEN_VALUE = re.compile(r"[^\s<>\[\]|]{6,}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: How the keys of well-known services begin.
_KEY = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{20,}|(ghp|gho|ghs|ghu|ghr)_[A-Za-z0-9]{30,}|github_pat_\w{30,}|"
    r"glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|(AKIA|ASIA)[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}|"
    r"AIza[\w-]{35}|cpk_[\w.]{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@"
)
#: How many places in a value are looked at, and how much of a text.
_LOOKED_AT, _LONGEST = 2_000, 20_000


def credential(value: object, name: str) -> str | None:
    """Return what in a value looks like a credential, by its place, or None.

    Parameters
    ----------
    value : object
        What a name means.
    name : str
        The name.
    """
    rest: list[tuple[Any, str, str]] = [(value, name, name)]
    seen: set[int] = set()
    while rest and len(seen) < _LOOKED_AT:
        here, key, path = rest.pop()
        if isinstance(here, str | bytes) and here:
            if _is_name(key, here) or _is_key(here):
                return path
        elif type(here) in (dict, list, tuple) and id(here) not in seen:
            seen.add(id(here))
            rest += _inside(here, key, path)
    return None


def _inside(value: Any, around: str, path: str) -> list[tuple[Any, str, str]]:
    if isinstance(value, dict):
        return [
            (item, key, f'{path}["{key}"]')
            for key, item in list(value.items())[:_LOOKED_AT]
            if isinstance(key, str)
        ]
    return [(item, around, f"{path}[{index}]") for index, item in enumerate(value[:_LOOKED_AT])]


def _is_name(name: str, value: str | bytes) -> bool:
    words = _CAMEL.sub("_", name).lower().replace("-", "_")
    if _TOKEN.search(words):
        return _TOKEN_VALUE.fullmatch(_text(value)) is not None
    return _NAME.search(words) is not None


def _is_key(value: str | bytes) -> bool:
    return _KEY.search(_text(value)) is not None


def _text(value: str | bytes) -> str:
    text = value[:_LONGEST]
    return text if isinstance(text, str) else text.decode("latin-1")
