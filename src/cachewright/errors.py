"""Every error this library raises on purpose, under one root, each with a code that has a page."""

from __future__ import annotations

from pathlib import Path


class CachewrightError(Exception):
    """The root of all errors raised here.

    `code` is stable and addresses a paragraph of `docs/reference/errors.md`; `hint` says what to do next.
    """

    code = "CWE000"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """One line, or two where there is something to do next."""
        head = f"{self.message} [{self.code}]"
        return f"{head}\n  {self.hint}" if self.hint else head


class SpecError(CachewrightError):
    """A specification that cannot be read: names the file, the line and the column (both from 1)."""

    code = "CWE100"

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.detail = message
        self.path = path
        self.line = line
        self.column = column


class EvidenceError(CachewrightError):
    """A trace that cannot be read, or is not a trace at all."""

    code = "CWE200"


class TraceVersionError(EvidenceError):
    """A trace written by a version whose schema this one does not read."""

    code = "CWE201"


class NotEnoughEvidenceError(EvidenceError):
    """A readable trace that holds nothing to reason about."""

    code = "CWE202"


class RequirementError(CachewrightError):
    """A requirement of a forecast that cannot be read, or that names a figure no forecast has."""

    code = "CWE203"


class ApplicationError(CachewrightError):
    """The application to run could not be found or imported."""

    code = "CWE300"


class SurroundingsError(CachewrightError):
    """Something outside is missing: a port that is taken, a server that does not answer, an extra."""

    code = "CWE301"


class RuntimeCacheError(CachewrightError):
    """The runtime could not do what was asked; never raised into a request."""

    code = "CWE400"


class StoreUnavailableError(RuntimeCacheError):
    """The store did not answer within its time, or refused."""

    code = "CWE401"


class CodecError(RuntimeCacheError):
    """Bytes that are not an entry of ours: a miss, and counted."""

    code = "CWE402"


class InvalidationPendingError(RuntimeCacheError):
    """An invalidation could not be delivered; it is kept and retried, its tags are bypassed here meanwhile."""

    code = "CWE403"
