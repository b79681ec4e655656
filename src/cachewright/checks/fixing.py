"""Applying the fixes of findings to a specification's text, until none is left that can be made."""

from __future__ import annotations

from dataclasses import dataclass

from cachewright.checks.findings import Finding, Path
from cachewright.checks.rules import check
from cachewright.checks.subject import Known
from cachewright.errors import SpecError
from cachewright.evidence.trace import Trace
from cachewright.spec.document import Document, loads_spec
from cachewright.spec.edit import Edit, Put, edited

#: One fix may uncover another finding; more rounds than this help nobody.
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Fixed:
    """A specification after its fixes, and how many were made."""

    document: Document
    count: int


def fixed(document: Document, *, trace: Trace | None = None, known: Known | None = None) -> Fixed:
    """Make every fix that is safe; comments, order and all that is not to blame stay as they are.

    A fix after which the text could not be read, or would be found no better, is left out.
    """
    count = 0
    for _ in range(_ROUNDS):
        step = _one_more(document, check(document, trace=trace, known=known))
        if step is None:
            break
        document, made = step
        count += made
    return Fixed(document, count)


def _one_more(document: Document, findings: list[Finding]) -> tuple[Document, int] | None:
    """The document with as many of the fixes as can be made at once."""
    text, made = document.text, 0
    touched: set[Edit | Path] = set()
    for finding in reversed(findings):  # from the end, so that places before stay where they are
        edits = () if finding.fix is None else finding.fix.edits
        places = {edit.path if isinstance(edit, Put) else edit for edit in edits}
        changed = edited(text, edits) if touched.isdisjoint(places) else text
        if changed != text and _readable(changed):
            text, made = changed, made + 1
            touched |= places
    return (loads_spec(text, document.path or "<string>"), made) if made else None


def _readable(text: str) -> bool:
    try:
        loads_spec(text)
    except SpecError:
        return False
    return True
