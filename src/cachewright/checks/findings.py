"""What a check finds: a code, how bad it is, where it stands, what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cachewright.spec.edit import Edit

Severity = Literal["error", "warning", "info"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fix:
    """A change of the file that makes nothing less safe, in `words` that follow "to fix it"."""

    words: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `line` and `column` (from 1) are those of `path` in the file, None where it has none.

    `fix` is how the file would be without it, where that is safe to say.
    """

    code: str
    severity: Severity
    path: Path
    line: int | None
    column: int | None
    message: str
    fix: Fix | None = None

    def to_json(self, file: str | None = None) -> dict[str, Any]:
        """The finding by its public names; `file` is where the specification was read from."""
        return {
            "code": self.code,
            "severity": self.severity,
            "file": file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "fix": None if self.fix is None else self.fix.words,
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule reports: the place, the words, and a severity where it is not the rule's own.

    `place` is line and column where no path leads there (a comment).
    """

    path: Path
    message: str
    severity: Severity | None = None
    fix: Fix | None = None
    place: tuple[int, int] | None = None
