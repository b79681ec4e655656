"""Access logs: what one line says of a request, for each format that servers write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachewright.errors import EvidenceError
from cachewright.evidence.readers.files import lines
from cachewright.evidence.readers.visits import Skipped, Visit

LineReader = Callable[[str], Visit | None]
_PROBED = 200

_REQUEST = r'"(?P<method>[A-Z]{3,12}) (?P<target>\S+)(?: HTTP/[\d.]+)?"'
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_COMBINED = re.compile(
    rf"(?:\S+:\d+ )?(?P<host>\S+) \S+ (?P<user>.*?) \[(?P<time>[^\]]+)\] {_REQUEST}"
    rf" (?P<status>\d{{3}}) (?P<size>\d+|-)(?: {_QUOTED} (?P<agent>{_QUOTED}))?"
)
_UVICORN = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?\S*)?.*?"
    rf"(?P<host>[0-9a-fA-F.:\[\]]+):\d+ - {_REQUEST} (?P<status>\d{{3}})\b"
)
_EVENTLET = re.compile(
    r".*?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?).*?(?P<host>\S+) "
    rf"{_REQUEST} status: (?P<status>\d{{3}}) len: (?P<size>\d+) time: (?P<seconds>[\d.]+)"
)
_CONTEXT = re.compile(r"\[req-\S+ (?P<user>\S+) (?P<tenant>\S+) ")
_REDACTED = "REDACTED"


def combined(line: str) -> Visit | None:
    """The common and the combined log format of Apache, nginx and others."""
    match = _COMBINED.match(line)
    if match is None:
        return None
    user = match["user"].strip()
    named = user not in ("", "-", '""')
    return Visit(
        at=_clf_time(match["time"]),
        method=match["method"],
        target=match["target"],
        status=int(match["status"]),
        size=0 if match["size"] == "-" else int(match["size"]),
        who=user if named else f"{match['host']} {match['agent'] or ''}",
        certain=named,
    )


def uvicorn(line: str) -> Visit | None:
    """Uvicorn's access log; by default it tells no time."""
    match = _UVICORN.match(line)
    if match is None:
        return None
    at = match["time"]
    return Visit(
        at=None if at is None else _iso_time(at),
        method=match["method"],
        target=match["target"],
        status=int(match["status"]),
        who=match["host"],
    )


def eventlet(line: str) -> Visit | None:
    """Eventlet's log as OpenStack's services write it; their context names user and project."""
    match = _EVENTLET.match(line)
    if match is None:
        return None
    context = _CONTEXT.search(line)
    seconds = float(match["seconds"])
    return Visit(
        at=_iso_time(match["time"]) - seconds,  # written when the request was over
        method=match["method"],
        target=match["target"],
        status=int(match["status"]),
        size=int(match["size"]),
        seconds=seconds,
        who=f"{context['user']} {context['tenant']}" if context else match["host"],
        certain=context is not None,
    )


def nginx_json(line: str) -> Visit | None:
    """A JSON object per request whose members are named after nginx's variables."""
    told = _object(line)
    if told is None or "status" not in told or isinstance(told.get("request"), dict):
        return None
    line_of = [*str(told.get("request", "")).split(" "), "", ""]
    method = told.get("request_method") or line_of[0]
    target = told.get("request_uri") or told.get("uri") or line_of[1]
    seconds = _number(told.get("request_time"))
    user = told.get("remote_user")
    named = isinstance(user, str) and user not in ("", "-")
    agent = told.get("http_user_agent") or told.get("agent") or ""
    at = _any_time(told, "msec", "time_iso8601", "time", "timestamp", "@timestamp", "time_local")
    return Visit(
        at=None if at is None else at - (seconds or 0.0),  # written when the request was over
        method=str(method),
        target=str(target),
        status=int(told["status"]),
        size=int(_number(told.get("body_bytes_sent", told.get("bytes_sent"))) or 0),
        seconds=seconds,
        who=str(user) if named else f"{told.get('remote_addr', '')} {agent}",
        certain=named,
    )


def caddy_json(line: str) -> Visit | None:
    """Caddy's structured access log."""
    told = _object(line)
    request = told.get("request") if told else None
    if told is None or not isinstance(request, dict) or "status" not in told:
        return None
    headers = _headers(request.get("headers"))
    seconds = _duration(told.get("duration"))
    at = _any_time(told, "ts")
    user = told.get("user_id")
    secret = " ".join(headers.get(name, "") for name in ("authorization", "cookie")).replace(_REDACTED, "")
    who = str(user) if user else secret.strip()
    answered = _headers(told.get("resp_headers"))
    address = request.get("client_ip") or request.get("remote_ip") or request.get("remote_addr") or ""
    return Visit(
        at=None if at is None else at - (seconds or 0.0),
        method=str(request.get("method", "")),
        target=str(request.get("uri", "")),
        status=int(told["status"]),
        size=int(_number(told.get("size")) or 0),
        seconds=seconds,
        who=who or f"{address} {headers.get('user-agent', '')}",
        certain=bool(who),
        set_cookie="set-cookie" in answered,
        cache_control=directives(answered.get("cache-control", "")),
    )


FORMATS: Mapping[str, LineReader] = {
    "combined": combined,
    "nginx-json": nginx_json,
    "caddy-json": caddy_json,
    "eventlet": eventlet,
    "uvicorn": uvicorn,
}


def format_of(path: Path) -> str:
    """The format that reads most of a file's first lines. Raises `EvidenceError` where none reads any."""
    read = dict.fromkeys(FORMATS, 0)
    for number, line in lines(path):
        if number > _PROBED:
            break
        for name in FORMATS:
            read[name] += line is not None and _read(FORMATS[name], line) is not None
    best = max(read, key=lambda name: read[name])
    if not read[best]:
        raise EvidenceError(
            f"{path}: none of its first lines is a request in a format known here",
            hint=f"Name the format: --format {' | '.join(FORMATS)}",
        )
    return best


def visits(paths: Iterable[Path], format_name: str | None, skipped: Skipped) -> Iterator[Visit]:
    """The requests of some logs; `format_name` None finds the format of each by its first lines."""
    for path in paths:
        reader = FORMATS[format_name or format_of(path)]
        for number, line in lines(path):
            if line is not None and not line.strip():
                continue
            visit = None if line is None else _read(reader, line)
            if visit is not None:
                yield visit
            else:
                skipped.add(f"{path}:{number}", "longer than a request" if line is None else "no request")


def _read(reader: LineReader, line: str) -> Visit | None:
    """A line that only looks like a request is none: its time does not exist, its status is no number."""
    try:
        visit = reader(line)
    except (ValueError, TypeError, OverflowError):
        return None
    if visit is None or not visit.method.isalpha() or not visit.target.startswith(("/", "http")):
        return None
    return visit


def directives(text: str) -> frozenset[str]:
    """The names of the directives of a Cache-Control header."""
    return frozenset(part.partition("=")[0].strip().lower() for part in text.split(",") if part.strip())


def _object(line: str) -> dict[str, Any] | None:
    start = line.find("{")
    if start < 0:
        return None
    told = json.loads(line[start:])
    return told if isinstance(told, dict) else None


def _headers(told: object) -> dict[str, str]:
    if not isinstance(told, dict):
        return {}
    return {
        str(name).lower(): " ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in told.items()
    }


def _number(value: object) -> float | None:
    if value in (None, "", "-"):
        return None
    return float(str(value))


def _duration(value: object) -> float | None:
    """Seconds, or a text such as `12.5ms`."""
    if isinstance(value, str) and (match := re.fullmatch(r"([\d.]+)(ns|µs|us|ms|s)", value)):
        return float(match[1]) * {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0}[match[2]]
    return _number(value)


def _any_time(told: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int | float):
            return value / 1000 if value > 1e11 else float(value)
        if isinstance(value, str) and value:
            try:
                return float(value)
            except ValueError:
                return _clf_time(value) if "/" in value[:7] else _iso_time(value)
    return None


def _clf_time(text: str) -> float:
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp()


def _iso_time(text: str) -> float:
    """Seconds since the epoch; a time without a zone counts as UTC."""
    found = datetime.fromisoformat(text.replace(",", "."))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
