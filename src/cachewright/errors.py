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


class RequestError(SpecError):
    """A written request that cannot be read, or that asks for what a design is not."""

    code = "CWE101"


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


class OverloadedError(RuntimeCacheError):
    """As many loads are under way as may be, and as many wait; `retry_after` says when to come back (s)."""

    code = "CWE404"

    def __init__(self, message: str, *, retry_after: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class WriteNotAcceptedError(RuntimeCacheError):
    """A write-back write that could not be kept safely: it is not accepted, and will not be stored."""

    code = "CWE405"


class LockNotAcquiredError(RuntimeCacheError):
    """Somebody else held the lock for as long as it was waited for, or too few servers answered."""

    code = "CWE406"


class ValueRefusedError(RuntimeCacheError):
    """A value, or a type, that cannot be stored as it is; says where it stands in the whole, and why."""

    code = "CWE407"


class SealingError(RuntimeCacheError):
    """Keys, or a sealing of entries, that cannot be used; says what is allowed. No key is shown."""

    code = "CWE408"


class UsageError(CachewrightError):
    """A call of the cache that has no meaning: a key, tag, TTL, pattern or key part; says what is allowed."""

    code = "CWE410"


class IsolationError(CachewrightError):
    """A key of another tenant or user, or one of a tenant or user where nobody is named: access is denied."""

    code = "CWE411"
