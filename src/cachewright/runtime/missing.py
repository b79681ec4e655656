"""What a lookup answers that found nothing: a value of its own, so that `None` can be cached."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Missing(Enum):
    """The type of `MISSING`. An enumeration of one, so that type checkers narrow on `is MISSING`."""

    MISSING = "missing"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "cachewright.MISSING"


MISSING: Final = Missing.MISSING
"""No entry: distinct from every value that can be cached, `None` among them (#335, C34)."""
