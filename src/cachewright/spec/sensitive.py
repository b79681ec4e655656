"""Words that say that a path leads to logins, or that a value is a secret: neither is ever cached or in a key."""

from __future__ import annotations

import re

#: What names a value that proves something.
_SECRETS = (
    r"auth|authorization|tokens?|jwt|passwords?|passwd|secrets?|credentials?|otp|totp|csrf|api[-_]?keys?"
)
#: What names a step of a login; as the name of a value (`?refresh=1`) it says nothing.
_STEPS = (
    "login|logout|signin|signout|signup|register|authorize|callback|refresh|oauth2?|oidc|sso|saml|mfa|2fa"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _whole_words(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", re.IGNORECASE)


_SECRET = _whole_words(_SECRETS)
_SENSITIVE = _whole_words(f"{_SECRETS}|{_STEPS}")
_SESSION = _whole_words("sessions?")


def secret_words(name: str) -> tuple[str, ...]:
    """The words in the name of a value that say that it is a secret, in lower case and sorted."""
    return _found(_SECRET, name)


def sensitive_words(path: str) -> tuple[str, ...]:
    """The words in a path that say that its answers are about logins or secrets, in lower case and sorted."""
    return _found(_SENSITIVE, path)


def session_words(path: str) -> tuple[str, ...]:
    """The words in a path that may mean the session of a login, or one of a conference."""
    return _found(_SESSION, path)


def _found(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    return tuple(sorted({word.lower() for word in pattern.findall(_HUMP.sub("-", text))}))
