"""What a check finds: a code, how bad it is, where it stands, what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `line` and `column` (from 1) are those of `path` in the file, None where it has none."""

    code: str
    severity: Severity
    path: Path
    line: int | None
    column: int | None
    message: str

    def to_json(self, file: str | None = None) -> dict[str, Any]:
        """The finding by its public names; `file` is where the specification was read from."""
        return {
            "code": self.code,
            "severity": self.severity,
            "file": file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule reports: the place, the words, and a severity where it is not the rule's own."""

    path: Path
    message: str
    severity: Severity | None = None
