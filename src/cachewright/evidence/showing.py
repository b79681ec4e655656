"""Which values of parameters may stand in a trace in clear: those that say nothing of one person."""

from __future__ import annotations

import re

from cachewright.evidence.trace import Hash
from cachewright.spec.identity import is_carrier

#: So many people must have used a value before it may be shown, unless its type lists all there are.
ENOUGH = 3
_LISTED_TYPES = frozenset({"enum", "bool"})
_SHOWABLE = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
#: Words of a name behind which something personal or secret may stand.
_PRIVATE_WORD = re.compile(
    r"(?:account|address|authorization|birth|birthday|body|card|cert|code|comment|content|cookie|credential"
    r"|credentials|csrf|cvv|description|dob|email|filter|hash|iban|ip|jwt|key|keyword|keywords|lat"
    r"|latitude|lng|location|login|lon|longitude|mail|message|mobile|msg|name|nonce|note|otp|pass"
    r"|passcode|passphrase|passwd|password|person|phone|pin|postal|postcode|pwd|q|query|search|secret"
    r"|session|sid|sig|signature|ssn|street|subject|tel|term|text|title|token|url|uri|user|username|xsrf"
    r"|zip)\Z"
)
_PRIVATE_PARTS = (
    "apikey",
    "auth",
    "cookie",
    "credential",
    "mail",
    "passw",
    "phone",
    "search",
    "secret",
    "session",
    "token",
)
_NAMES = 500
_VALUES_OF_A_NAME = 200


def is_private(name: str) -> bool:
    """Whether the values under this name (`query.email`) are never shown; so is whatever is no parameter."""
    bare = name.partition(".")[2]
    folded = bare.lower().replace("_", "").replace("-", "")
    return (
        not bare
        or is_carrier(bare)
        or any(_PRIVATE_WORD.match(word.lower()) for word in _WORD.findall(bare))
        or any(part in folded for part in _PRIVATE_PARTS)
    )


class Showing:
    """Counts the people behind each value, in bounded memory, until the value may be shown.

    `withheld` are names that carry an identity.
    """

    def __init__(self, withheld: frozenset[str] = frozenset()) -> None:
        self._withheld = withheld
        self._users: dict[str, dict[Hash, set[Hash] | None]] = {}
        self._private: dict[str, bool] = {}

    def admits(self, name: str, declared_type: str, exact: Hash, text: str, person: Hash | None) -> bool:
        """Whether the value may be shown from this use of it on; True once for each value.

        `person` is the subject of the token, or else the credential.
        """
        users = self._of(name)
        if users is None or not _SHOWABLE.match(text):
            return False
        if exact not in users and len(users) >= _VALUES_OF_A_NAME:
            return False
        known = users.setdefault(exact, set())
        if known is None:
            return False
        if person is not None:
            known.add(person)
        if declared_type not in _LISTED_TYPES and len(known) < ENOUGH:
            return False
        users[exact] = None
        return True

    def _of(self, name: str) -> dict[Hash, set[Hash] | None] | None:
        """The values of a name that may be shown at all."""
        users = self._users.get(name)
        if users is not None:
            return users
        private = self._private.get(name)
        if private is None:
            if len(self._private) >= _NAMES:
                return None
            private = self._private[name] = name in self._withheld or is_private(name)
        if private:
            return None
        return self._users.setdefault(name, {})
