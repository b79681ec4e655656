"""Documents written for people: endpoints, tables, targets for times and prohibitions, found in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from cachewright.evidence.trace import ForeignKey
from cachewright.request.backend import Backend, Endpoint, Parameter, Prohibition, Table, TimeLimit

_ENDPOINT = re.compile(
    r"(?<![\w/])(?P<method>GET|HEAD|POST|PUT|PATCH|DELETE)[`*]*\s*\|?\s*[`*]*(?P<path>/[\w\-./{}:<>]*)(?P<query>\?[^\s`|]*)?"
)
_HEADING = re.compile(r"#{1,6}\s+(?:\d+(?:\.\d+)*\.?\s+)?(?P<text>.+?)\s*#*\Z")
_FENCE = re.compile(r"\s*(?:```|~~~)\s*(?P<language>\w*)")
_PARAMETER = re.compile(
    r"\s*[-*]\s*[`*]{0,3}(?P<name>[a-z_][\w\-]*)[`*]{0,3}\s*(?:\([^)]*\))?\s*"
    r"(?:[:\u2013\u2014-]\s*(?P<rest>.*)|\Z)",
    re.IGNORECASE,
)
_CELLS = re.compile(r"\s*\|(.+)\|\s*\Z")
_QUERY_HEAD = re.compile(r"query\s+param|query\s+string|filters?\b", re.IGNORECASE)
_OTHER_HEAD = re.compile(r"(?:request|response|path\s+param|header|body|errors?|example)", re.IGNORECASE)
_PUBLIC = re.compile(r"\bno auth|unauthenticated|without auth|auth\w*:\s*(?:none|no)\b", re.IGNORECASE)
_SECURED = re.compile(
    r"\bauth\w*\s*(?:required|:\s*(?:yes|required|bearer|jwt))|requires? auth|bearer|\bjwt\b", re.IGNORECASE
)

_ALL_SECURED = re.compile(
    r"\ball (?:api )?(?:endpoints|routes)\b[^.\n]{0,60}\b(?:require|need)[^.\n]{0,40}"
    r"\b(?:auth\w*|jwt|tokens?|bearer|login)\b",
    re.IGNORECASE,
)
_TABLE_HEAD = re.compile(
    r"(?:(?:table|entity|model)\s*:?\s*)?[`*]*(?P<name>[A-Za-z_]\w*)[`*]*(?:\s+(?:table|entity|model))?\s*\Z",
    re.IGNORECASE,
)
_COLUMN_BULLET = re.compile(r"\s*[-*]\s*[`*]{0,3}(?P<name>[A-Za-z_]\w*)[`*]{0,3}\s*:\s*(?P<rest>.+)")
_TYPE = re.compile(
    r"\b(?:uuid|varchar|char|text|string|str|int|integer|bigint|serial|bool|boolean|timestamp|timestamptz|datetime|date|"
    r"decimal|numeric|float|jsonb?|array|enum)\b",
    re.IGNORECASE,
)
_REFERS = re.compile(
    r"(?:->|→|references|foreign key(?: to)?|fk(?: to)?)\s*[:(]?\s*[`*]*"
    r"(?P<table>[A-Za-z_]\w*)[`*]*\s*[.(]\s*(?P<column>\w+)",
    re.IGNORECASE,
)
_PRIMARY = re.compile(r"primary key|\bpk\b", re.IGNORECASE)
_CASCADE = re.compile(r"on delete (?P<action>cascade|set null|set default)", re.IGNORECASE)
_CREATE = re.compile(
    r"create\s+table\s+(?:if\s+not\s+exists\s+)?[`\"\[]?(?:\w+[`\"\]]?\.[`\"\[]?)?(?P<name>\w+)[`\"\]]?\s*\((?P<body>.*?)\)\s*;",
    re.IGNORECASE | re.DOTALL,
)

_LIMIT = re.compile(
    r"(?:<|≤|<=|under|below|less than|within|at most|max(?:imum)?(?: of)?)\s*(?P<number>\d[\d,]*(?:\.\d+)?)\s*"
    r"(?P<unit>ms|milliseconds?|s|sec|seconds?)\b",
    re.IGNORECASE,
)
_PERCENTILE = re.compile(r"\bp(?P<p>\d{2})\b|(?P<share>\d{2})(?:th percentile|\s*%\s+of)", re.IGNORECASE)

_FORBIDS = r"(?:\b(?:no|not|never|without|ban|banned)\b|forbid\w*|prohibit\w*|disallow\w*|out of scope)"
_FORBIDDEN = r"(?:forbidden|prohibited|not allowed|banned|disallowed|out of scope)"
_REDIS = re.compile(
    rf"{_FORBIDS}[^.;|]{{0,80}}\b(?:redis|valkey)\b|\b(?:redis|valkey)\b[^.;|]{{0,40}}{_FORBIDDEN}",
    re.IGNORECASE,
)
_CACHING = re.compile(
    r"(?:\b(?:no|without)\b|forbid\w*|prohibit\w*|\bban\w*|disallow\w*)(?:\s+[\w/,]+){0,5}\s+cach(?:ing|es?)\b"
    r"(?!\s+(?:of|for|invalid|miss|key|in\s+the\s+browser))"
    r"|\b(?:no|without)\s+cach(?:ing|es?)\b(?!\s+(?:of|for|invalid|miss|key))"
    r"|(?:must|shall|do|should) not (?:use|add|introduce|implement)\s+(?:\w+\s+){0,3}cach(?:ing|es?)\b"
    rf"|\bcaching\b[^.;|]{{0,30}}{_FORBIDDEN}",
    re.IGNORECASE,
)
_EXCEPT = re.compile(
    r"not only|password|secret|token|sensitive|personal|no longer|not (?:be )?required|stale", re.IGNORECASE
)
_LONGEST_QUOTE = 200


def endpoints(text: str, source: str) -> Backend:
    """Endpoints in headings, bullets and tables, with the query parameters listed below them."""
    found: list[Endpoint] = []
    collecting = False
    for line in _prose(text):
        heading = _HEADING.match(line)
        here = _ENDPOINT.search(line)
        if here is not None:
            found.append(_endpoint(here, line, source))
            collecting = False
        elif heading is not None and not _QUERY_HEAD.search(line) and not _OTHER_HEAD.search(line):
            collecting = False
        elif found and collecting and heading is None and (parameter := _parameter(line)) is not None:
            found[-1] = _with(found[-1], parameter)
        elif _QUERY_HEAD.search(line):
            collecting = True
        elif _OTHER_HEAD.match(line.strip(" *#-`:")):
            collecting = False
        elif found and found[-1].secured is None:
            found[-1] = _secured(found[-1], line)
    if _ALL_SECURED.search(text):
        found = [replace(one, secured=True) if one.secured is None else one for one in found]
    return Backend(tuple(found), sources=(source,)) if found else Backend()


def _endpoint(found: re.Match[str], line: str, source: str) -> Endpoint:
    path = re.sub(
        r":(\w+)|<(?:\w+:)?(\w+)>", lambda one: f"{{{one[1] or one[2]}}}", found["path"].rstrip(".:")
    )
    named = re.findall(r"[?&]([\w\-]+)=?", found["query"] or "")
    parameters = tuple(Parameter(name, "query") for name in named)
    in_path = tuple(Parameter(name, "path") for name in re.findall(r"\{([^{}:]+)", path))
    return _secured(Endpoint(found["method"], path or "/", in_path + parameters, source=source), line)


def _secured(endpoint: Endpoint, line: str) -> Endpoint:
    secured = False if _PUBLIC.search(line) else True if _SECURED.search(line) else None
    if secured is None:
        return endpoint
    return Endpoint(
        endpoint.method, endpoint.path, endpoint.parameters, secured=secured, source=endpoint.source
    )


def _parameter(line: str) -> Parameter | None:
    if _OTHER_HEAD.match(line.strip(" *#-`:")):
        return None
    cells = _CELLS.match(line)
    if cells is not None:
        name = cells[1].split("|")[0].strip(" `*")
        rest = cells[1]
        if not re.fullmatch(r"[a-z_][\w\-]*", name, re.IGNORECASE) or name.lower() in (
            "param",
            "parameter",
            "name",
        ):
            return None
    else:
        bullet = _PARAMETER.match(line)
        if bullet is None:
            return None
        name, rest = bullet["name"], bullet["rest"] or ""
    values = re.findall(r"`([^`]+)`|\"([^\"]+)\"", rest)
    return Parameter(name, "query", len(values) if len(values) > 1 else None)


def _with(endpoint: Endpoint, parameter: Parameter) -> Endpoint:
    if any(one.name == parameter.name for one in endpoint.parameters):
        return endpoint
    return Endpoint(
        endpoint.method,
        endpoint.path,
        (*endpoint.parameters, parameter),
        endpoint.secured,
        source=endpoint.source,
    )


def tables(text: str, source: str) -> Backend:
    """Tables as `CREATE TABLE`, or as headings with columns below them in bullets or tables."""
    found = [_created(one) for one in _CREATE.finditer(text)]
    if not found:
        found = [table for table in _listed(text) if table.columns]
    return Backend(tables=tuple(found), sources=(source,)) if found else Backend()


def _created(found: re.Match[str]) -> Table:
    name = found["name"].lower()
    columns: list[str] = []
    primary: list[str] = []
    keys: list[ForeignKey] = []
    for part in re.split(r",(?![^()]*\))", found["body"]):
        text = re.sub(r"--[^\n]*", "", part).strip()
        whole = re.match(
            r"(?:constraint\s+\w+\s+)?(primary|foreign)\s+key\s*\(([^)]*)\)", text, re.IGNORECASE
        )
        first = re.match(r"[`\"\[]?(\w+)[`\"\]]?\s+\w", text)
        if whole is not None:
            named = tuple(one.strip(' `"') for one in whole[2].split(","))
            primary += named if whole[1].lower() == "primary" else ()
        elif first is None or first[1].lower() in ("unique", "check", "constraint", "index", "key"):
            continue
        else:
            named = (first[1],)
            columns.append(first[1])
            primary += named if _PRIMARY.search(text) else ()
        refers = re.search(r"references\s+[`\"]?(\w+)[`\"]?\s*(?:\(\s*[`\"]?(\w+))?", text, re.IGNORECASE)
        if refers is not None:
            keys.append(_key(name, named, refers[1], refers[2], text))
    return Table(name, tuple(columns), tuple(primary), tuple(keys))


def _key(table: str, columns: tuple[str, ...], target: str, column: str | None, text: str) -> ForeignKey:
    action = _CASCADE.search(text)
    return ForeignKey(
        table, columns, target.lower(), (column or "id",), action["action"].upper() if action else ""
    )


def _listed(text: str) -> Iterator[Table]:
    """Tables under headings; a heading without columns is none."""
    name: str | None = None
    columns: list[str] = []
    primary: list[str] = []
    keys: list[ForeignKey] = []
    for line in [*_prose(text), "# end of text"]:
        heading = _HEADING.match(line)
        if heading is not None:
            if name is not None:
                yield Table(name, tuple(columns), tuple(primary), tuple(keys))
            head = _TABLE_HEAD.match(heading["text"])
            name, columns, primary, keys = (head["name"].lower() if head else None), [], [], []
            continue
        if name is None or (column := _column(line)) is None:
            continue
        columns.append(column[0])
        if _PRIMARY.search(column[1]):
            primary.append(column[0])
        if (refers := _REFERS.search(column[1])) is not None:
            keys.append(_key(name, (column[0],), refers["table"], refers["column"], column[1]))


def _column(line: str) -> tuple[str, str] | None:
    cells = _CELLS.match(line)
    if cells is not None:
        parts = [part.strip(" `*") for part in cells[1].split("|")]
        if len(parts) > 1 and re.fullmatch(r"[A-Za-z_]\w*", parts[0]) and _TYPE.search(parts[1]):
            return parts[0], cells[1]
        return None
    bullet = _COLUMN_BULLET.match(line)
    return (bullet["name"], bullet["rest"]) if bullet is not None and _TYPE.search(bullet["rest"]) else None


def limits(text: str, source: str) -> Backend:
    """Sentences such as `<200ms p95`, with the percentile where one is named; struck-out ones are none."""
    found: list[TimeLimit] = []
    for number, line in enumerate(text.splitlines(), 1):
        kept = re.sub(r"~~.*?~~", "", line)
        for one in _LIMIT.finditer(kept):
            milliseconds = float(one["number"].replace(",", "")) * (
                1 if one["unit"].lower().startswith("m") else 1000
            )
            percentile = _PERCENTILE.search(kept)
            share = None if percentile is None else int(percentile["p"] or percentile["share"])
            found.append(
                TimeLimit(milliseconds, share, kept.strip(" |-*#")[:_LONGEST_QUOTE], f"{source}:{number}")
            )
    return Backend(limits=tuple(found), sources=(source,)) if found else Backend()


def prohibitions(text: str, source: str) -> Backend:
    """Sentences that forbid Redis or caching, each with the heading it stands under."""
    found: list[Prohibition] = []
    heading = ""
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEADING.match(line)
        if head is not None:
            heading = head["text"]
        for sentence in re.split(r"(?<=[.;])\s+", line.strip(" -*|")):
            if _EXCEPT.search(sentence):
                continue
            quote = sentence.strip("*`_ ")[:_LONGEST_QUOTE]
            quote = f"{quote} (under {heading!r})" if heading and head is None else quote
            for what, pattern in (("caching", _CACHING), ("redis", _REDIS)):
                if pattern.search(sentence):
                    found.append(Prohibition(what, quote, f"{source}:{number}"))
    return Backend(prohibitions=tuple(found), sources=(source,)) if found else Backend()


def _prose(text: str) -> Iterator[str]:
    """The lines outside of fenced code."""
    inside = False
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield line
