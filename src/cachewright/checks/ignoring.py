"""Rules about the comments that silence findings: each has a reason, and a finding."""

from __future__ import annotations

from collections.abc import Iterator

from cachewright.checks.findings import Fix, Problem
from cachewright.checks.subject import Subject
from cachewright.spec.edit import Cut


def malformed_ignore(subject: Subject) -> Iterator[Problem]:
    """A comment is meant to silence findings, and silences none.

    ## What it does
    Reads comments that begin with `cw:`. They need a code in brackets and a reason.

    ## Why
    Whoever reads the file later has to see why a finding does not matter here.

    ## Example
    ```yaml
    scope: public   # cw: ignore[CW002]
    ```

    ## Fix
    Give the reason: `scope: public   # cw: ignore[CW002] the key is read for rate limits alone`. The comment
    stands on the line of the finding, or alone on a line above it.
    """
    for ignore in subject.ignores:
        if ignore.trouble is not None:
            words = f"this comment silences nothing: {ignore.trouble}"
            yield Problem((), words, place=(ignore.line, ignore.column))


def unused_ignore(subject: Subject) -> Iterator[Problem]:
    """A comment silences a finding that there is not.

    ## What it does
    Looks for codes in `# cw: ignore[…]` that none of the other rules reported there. `--fix` takes them out. A
    finding that only `--app`, `--openapi` or `--trace` shows is not missed without them.

    ## Why
    It would hide the finding if it came back for another reason.

    ## Example
    ```yaml
    scope: user   # cw: ignore[CW002] it was public once
    ```

    ## Fix
    Delete the comment.
    """
    for ignore in subject.ignores:
        if ignore.trouble is not None:
            continue
        used = {finding.code for finding in subject.found if ignore.silences(finding.code, finding.line)}
        unused = [code for code in ignore.codes if code not in used and _would_show(subject, code)]
        if unused:
            kept = [code for code in ignore.codes if code not in unused]
            instead = f"# cw: ignore[{', '.join(kept)}] {ignore.reason}" if kept else ""
            words = f"nothing is silenced here by {', '.join(unused)}"
            fix = Fix("delete it from the comment", (Cut(ignore.line, ignore.column, instead),))
            yield Problem((), words, fix=fix, place=(ignore.line, ignore.column))


#: Rules that see more where an application or a trace is given.
_LOOKS_OUTSIDE = frozenset(
    {"CW002", "CW004", "CW007", "CW008", "CW011", "CW012", "CW019", "CW020", "CW024", "CW031", "CW032"}
)


def _would_show(subject: Subject, code: str) -> bool:
    """Whether the rule had everything it looks at."""
    return code not in _LOOKS_OUTSIDE or (subject.routes is not None and subject.evidence is not None)
