"""A specification as a file: read with the place of every value, written readably and always the same way."""

from __future__ import annotations

import io
import math
import os
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import MappingNode, Node
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from cachewright.errors import SpecError
from cachewright.spec.model import ROOT, CachingSpecification
from cachewright.spec.problems import did_you_mean
from cachewright.spec.section import Path
from cachewright.spec.source import MAX_CHARACTERS, Builder, Position, parse
from cachewright.spec.tolerance import normalise
from cachewright.spec.validating import nearest, validated

MAX_BYTES = 4 * MAX_CHARACTERS


@dataclass(frozen=True, slots=True)
class Document:
    """A specification with the file it came from.

    `positions` maps paths such as `("cache_targets", 0, "scope")` to line and column (from 1) of the key or
    the list item; `normalised` says what the tolerant reader changed; `text` is what was read.
    """

    spec: CachingSpecification
    positions: Mapping[Path, Position]
    normalised: tuple[str, ...] = ()
    path: str | None = None
    text: str = ""

    def position(self, path: Path) -> Position | None:
        """Line and column of `path`, or of the nearest thing around it that stands in the file."""
        return nearest(self.positions, path)


def load_spec(path: str | os.PathLike[str]) -> Document:
    """Read the specification in the file `path`.

    Raises `SpecError` with line and column for whatever is wrong: the file, its YAML, or what it says.
    """
    name = os.fspath(path)
    return loads_spec(read_text(path), name)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of the file `path`. Raises `SpecError` where there is none."""
    name = os.fspath(path)
    try:
        with pathlib.Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(f"cannot be read: {reason}", path=name, hint="give the path of a YAML file") from None
    return decoded(content, name)


def decoded(content: bytes, name: str) -> str:
    """The text of a file's `content`. Raises `SpecError` where it is too long or not UTF-8."""
    if len(content) > MAX_BYTES:
        raise SpecError(
            f"the file is larger than {MAX_BYTES:,} bytes", path=name, hint="no specification is that long"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        raise SpecError(
            "is not UTF-8",
            path=name,
            line=before.count(b"\n") + 1,
            column=error.start - before.rfind(b"\n"),
            hint="save the file as UTF-8",
        ) from None


def loads_spec(text: str, name: str = "<string>") -> Document:
    """Read the specification in `text`; `name` stands for the file in errors. Raises `SpecError`."""
    parsed = parse(text, name)
    node, notes = normalise(_specification_node(parsed.root, name))
    builder = Builder(name)
    data = builder.build(node)
    if data is None:
        data = {}
    spec, respelt = validated(CachingSpecification, data, builder.positions, name)
    return Document(
        spec=spec,
        positions=MappingProxyType(builder.positions),
        normalised=(*parsed.notes, *notes, *respelt),
        path=name,
        text=text,
    )


def dumps_spec(spec: CachingSpecification) -> str:
    """`spec` as YAML, in the order of the schema; equal specifications give equal texts."""
    return dumps_plain({ROOT: spec.model_dump()})


def dumps_plain(value: Mapping[str, Any]) -> str:
    """A mapping of a specification, as plain data, written as it is in a whole one."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(_written(value), stream)
    return stream.getvalue()


def _specification_node(document: Node, name: str) -> Node:
    """The value of the root key, where the document has that root key and no other."""
    builder = Builder(name)
    if not isinstance(document, MappingNode):
        raise builder.error(
            document, f"expected a mapping with the key `{ROOT}`", hint=f"begin with `{ROOT}:`"
        )
    found: Node | None = None
    for key, value in document.value:
        if key.value == ROOT and found is None:
            found = value
        elif key.value == ROOT:
            raise builder.error(
                key, f"the key `{ROOT}` stands here twice", hint="put both parts below the first"
            )
    if found is not None and len(document.value) == 1:
        return found
    other = next((key for key, _ in document.value if key.value != ROOT), document)
    if found is not None:
        raise builder.error(
            other, f"unknown key `{other.value}` beside `{ROOT}`", hint=f"put it below `{ROOT}`"
        )
    raise builder.error(other, f"the root key `{ROOT}` is missing", hint=_missing_root(document))


def _missing_root(document: MappingNode) -> str:
    names = [str(key.value) for key, _ in document.value]
    if "inputs" in names or "skill" in names:
        return "this is a request for a design, not a specification: `cachewright design --request FILE`"
    if any(name in CachingSpecification.model_fields for name in names):
        return f"write `{ROOT}:` as the first line and indent the rest below it"
    near = [meant for name in names if (meant := did_you_mean(name, [ROOT]))]
    return near[0] if near else f"a specification begins with `{ROOT}:`"


#: Texts that a reader of YAML 1.1 takes for something else: truth values, octal and sexagesimal numbers.
_ELSEWHERE_NOT_TEXT = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null|~|=|<<)|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[-+]?0[xXbBoO]?[0-9a-fA-F_]+|[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9].*"
)
_FLOW_WIDTH = 72


class _Representer(RoundTripRepresenter):
    """Writes null as `null`, so that a field without a value does not look forgotten, and floats plainly."""


def _null(representer: RoundTripRepresenter, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _float(representer: RoundTripRepresenter, value: float) -> Any:
    """Write exponents with a point, without which a reader of YAML 1.1 takes the number for a text."""
    text = repr(value)
    if math.isfinite(value):
        text = text if "." in text else text.replace("e", ".0e")
    else:
        text = ".nan" if math.isnan(value) else text.replace("inf", ".inf")
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(type(None), _null)
_Representer.add_representer(float, _float)


def _written(value: Any) -> Any:
    match value:
        case Mapping():
            return CommentedMap((_text(str(key), inline=True), _written(item)) for key, item in value.items())
        case list() | tuple():
            items = CommentedSeq(_written(item) for item in value)
            if _fits_one_line(value):
                items.fa.set_flow_style()
            return items
        case str():
            return _text(value)
        case datetime():
            return DoubleQuotedScalarString(value.isoformat())
        case _:
            return value


def _fits_one_line(values: list[Any] | tuple[Any, ...]) -> bool:
    plain = all(isinstance(item, (str, int, float)) and "\n" not in str(item) for item in values)
    return plain and sum(len(str(item)) + 2 for item in values) <= _FLOW_WIDTH


def _text(value: str, *, inline: bool = False) -> object:
    if "\n" in value and not inline and _literal(value):
        return LiteralScalarString(value)
    # YAML 1.1 readers end a plain text of a list in brackets at a question mark
    if _ELSEWHERE_NOT_TEXT.fullmatch(value) or not value.isprintable() or "?" in value:
        return DoubleQuotedScalarString(value)
    return value


def _literal(value: str) -> bool:
    """Whether a block of lines keeps `value` exactly: printable lines without blanks at their ends."""
    if value[0] in " \n" or value.endswith("\n\n"):
        return False
    return all(line.isprintable() and line == line.rstrip() for line in value.split("\n"))
