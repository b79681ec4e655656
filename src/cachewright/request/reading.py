"""A written request as a file: read like a specification, with the place of whatever is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ruamel.yaml.nodes import MappingNode

from cachewright.errors import RequestError, SpecError
from cachewright.request.model import OUTPUT, SKILL, Inputs, Request
from cachewright.spec.model import ROOT
from cachewright.spec.problems import did_you_mean
from cachewright.spec.section import Path
from cachewright.spec.source import Builder, Position, parse
from cachewright.spec.tolerance import Entry, normalise
from cachewright.spec.validating import nearest, validated

_BEGINS = f'a request begins with `skill: "{SKILL}"` and `inputs:`'
_DESIGNS_ONLY = (
    "a design is a specification and nothing else; what executes it is there already: `cachewright serve APP --spec "
    'caching.yaml`, or `cachewright.install(app, "caching.yaml")` in code'
)

#: What a design never is, and the words that ask for it (#364).
_OUT_OF_SCOPE: tuple[tuple[str, str], ...] = (
    (
        "a connection to Redis",
        r"redis\.(?:asyncio\.)?(?:Strict)?Redis\(|implement\w*\s+(?:a\s+)?redis connection",
    ),
    (
        "a cache decorator",
        r"@cached?\(|implement\w*\s+(?:a\s+)?(?:cache\s+)?decorator|write\w*\s+(?:a\s+)?decorator",
    ),
    ("a cache service", r"\bclass\s+\w*Cache\w*|implement\w*\s+(?:a\s+)?cache service"),
    ("a database query", r"session\.(?:query|execute|scalars)\(|write\w*\s+(?:a\s+)?(?:database|sql)\s+quer"),
    ("a warming task", r"implement\w*\s+(?:an?\s+)?(?:actual\s+)?(?:cache\s+)?warming"),
    ("the settings of a cluster", r"configure\w*\s+(?:the\s+|a\s+)?redis(?:\s+cluster)?"),
    ("code", r"(?:generate|write|produce)\w*\s+(?:\w+\s+){0,2}(?:python|typescript|javascript|code)\b"),
    ("a dashboard", r"(?:create|build|implement)\w*\s+(?:a\s+)?(?:\w+\s+){0,3}dashboard"),
    ("changes of queries", r"(?:modify|change|rewrite)\w*\s+(?:the\s+)?(?:\w+\s+)?quer(?:y|ies)"),
    ("commands of Redis", r"\bSET\s+\S+\s+\S+\s+EX\s+\d+|raw redis commands?|\bFLUSH(?:DB|ALL)\b"),
)


@dataclass(frozen=True, slots=True)
class RequestDocument:
    """A request with the file it came from; `normalised` says what the tolerant reader changed."""

    request: Request
    positions: Mapping[Path, Position]
    normalised: tuple[str, ...] = ()
    path: str | None = None

    @property
    def inputs(self) -> Inputs:
        """What is known, and what is wanted."""
        return self.request.inputs

    def error(self, message: str, path: Path, *, hint: str | None = None) -> RequestError:
        """An error at the place of `path`."""
        line, column = nearest(self.positions, path) or (None, None)
        return RequestError(message, path=self.path, line=line, column=column, hint=hint)


def loads_request(text: str, name: str = "<string>") -> RequestDocument:
    """Read the request in `text`; `name` stands for the file in errors. Raises `RequestError`."""
    try:
        return _read(text, name)
    except RequestError:
        raise
    except SpecError as error:
        raise RequestError(
            error.detail, path=error.path, line=error.line, column=error.column, hint=error.hint
        ) from None


def _read(text: str, name: str) -> RequestDocument:
    parsed = parse(text, name, begins=_BEGINS)
    builder = Builder(name)
    if not isinstance(parsed.root, MappingNode):
        raise builder.error(parsed.root, "expected a mapping with the key `inputs`", hint=_BEGINS)
    names = [str(key.value) for key, _ in parsed.root.value]
    entries: list[Entry] = []
    notes: list[str] = []
    for key, value in parsed.root.value:
        shaped, said = normalise(value) if key.value == "inputs" else (value, ())
        entries.append((key, shaped))
        notes += said
    parsed.root.value = entries
    data = builder.build(parsed.root)
    for path in (("skill",), ("output_format",), ("inputs", "output_format")):
        _addressed(data, path, builder.positions, name)
    if "inputs" not in names:
        raise builder.error(parsed.root, "the key `inputs` is missing", hint=_missing_inputs(names))
    if data["inputs"] is None:
        data["inputs"] = {}
    request, respelt = validated(Request, data, builder.positions, name)
    document = RequestDocument(request, builder.positions, (*parsed.notes, *notes, *respelt), name)
    for field in ("task", "reason"):
        _in_scope(document, field)
    return document


def _missing_inputs(names: list[str]) -> str:
    if ROOT in names:
        return "this is a specification, not a request: `cachewright check FILE`"
    if {"api_specification", "openapi", "database_schema"} & set(names):
        return "this describes a backend: name the file in `inputs.backend_spec` of a request"
    if any(name in Inputs.model_fields for name in names):
        return "write `inputs:` as the first line and indent the rest below it"
    near = [meant for name in names if (meant := did_you_mean(name, ["inputs", "skill"]))]
    return near[0] if near else _BEGINS


def _addressed(data: Mapping[str, object], path: Path, positions: Mapping[Path, Position], name: str) -> None:
    """Refuse a request to somebody else, or for something else."""
    value: object = data
    for part in path:
        value = value.get(str(part)) if isinstance(value, Mapping) else None
    wanted = SKILL if path == ("skill",) else OUTPUT
    if value is None or value == wanted:
        return
    line, column = nearest(positions, path) or (1, 1)
    hint = f'write `{path[-1]}: "{wanted}"`'
    if wanted == OUTPUT:
        hint = f"{hint}; {_DESIGNS_ONLY}"
    shown = repr(value)[:60]
    spelt = ".".join(map(str, path))
    raise RequestError(
        f"{spelt} is {shown}; allowed: {wanted}", path=name, line=line, column=column, hint=hint
    )


def _in_scope(document: RequestDocument, field: str) -> None:
    words = getattr(document.inputs, field) or ""
    for what, pattern in _OUT_OF_SCOPE:
        if re.search(pattern, words, re.IGNORECASE):
            raise document.error(
                f"inputs.{field} asks for {what}, which a design is not",
                ("inputs", field),
                hint=_DESIGNS_ONLY,
            )
