"""Documents named in a request or found in a project: read tolerantly, never outside the project, never a failure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cachewright.errors import SpecError
from cachewright.request import prose
from cachewright.request.backend import Backend, joined
from cachewright.request.model import Inputs
from cachewright.request.structured import from_content
from cachewright.spec.document import read_text
from cachewright.spec.source import Builder, parse

_MOST_FILES = 200
_PATH = re.compile(r"[^\n{}\[\]]{1,300}")
_FENCED = re.compile(r"^```(?:ya?ml|json)\s*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CONFIGS = (
    ".spec-kit/config.yaml",
    ".spec-kit/config.yml",
    "specs/.spec-kit/config.yaml",
    "specs/.spec-kit/config.yml",
    ".spec-kit/config.md",
    "specs/.spec-kit/config.md",
    "specs/.spec-kit/schema.md",
)
_ENDPOINT_FILES = (
    "api/*.md",
    "api/*.yaml",
    "api/*.yml",
    "api/*.json",
    "**/contracts/*.yaml",
    "**/contracts/*.yml",
    "**/contracts/*.json",
    "**/api/*.md",
)
_TABLE_FILES = (
    "database/*.md",
    "database/*.yaml",
    "database/*.yml",
    "database/*.sql",
    "**/database/*.md",
    "**/data-model.md",
)
_LIMIT_FILES = (
    "performance/*.md",
    "performance.md",
    "architecture.md",
    "architecture/*.md",
    "*-architecture.md",
    "**/plan.md",
)
_ROOT_FILES = ("openapi.yaml", "openapi.yml", "openapi.json", "docs/openapi.yaml", "docs/openapi.json")
_CONSTITUTIONS = (
    ".specify/memory/constitution.md",
    "constitution.md",
    "memory/constitution.md",
    "specs/constitution.md",
)


def backend_of(inputs: Inputs, *, base: Path, project: Path | None) -> Backend:
    """What the documents of a request and the files of a project say. Paths are relative to `project`, else `base`."""
    root = (project or base).resolve()
    named = [
        _named(content, field, root)
        for field in (
            "backend_spec",
            "database_spec",
            "performance_spec",
            "architecture_spec",
            "logic_spec",
            "notification_spec",
            "constitution",
        )
        if (content := getattr(inputs, field)) is not None
    ]
    return joined([*named, *(() if project is None else _project(root))])


def _named(content: Any, field: str, root: Path) -> Backend:
    """One document of a request: its content, its text, or the path of it."""
    where = f"inputs.{field}"
    if not isinstance(content, str):
        return from_content(content, where) or Backend(
            warnings=(
                f"{where}: expected `api_specification`, `openapi` or `database_schema`; it was left out.",
            )
        )
    if _PATH.fullmatch(content.strip()) and not _says_something(content, field):
        return _file(content.strip(), field, root)
    return understood(content, where, field)


def _says_something(text: str, field: str) -> bool:
    """Whether one line is a sentence and no path."""
    return " " in text.strip() and bool(understood(text, "", field).sources)


def _file(name: str, field: str, root: Path) -> Backend:
    found = _inside(root, name)
    if found is None:
        return Backend(
            warnings=(
                f"inputs.{field}: {name} is not below {root.name or root}, and was left out: give the text, or a path",
            )
        )
    return _read(found, root, field)


def _inside(root: Path, name: str) -> Path | None:
    """The file of this name below `root`: as it stands, without a leading slash, below `specs`."""
    bare = name.removeprefix("@").lstrip("/")
    for candidate in (Path(name), root / bare, root / "specs" / bare, root / bare.removeprefix("specs/")):
        try:
            real = candidate.resolve() if candidate.is_absolute() else (root / candidate).resolve()
            if real.is_relative_to(root) and real.is_file():
                return real
        except (OSError, ValueError):
            continue
    return None


def _read(path: Path, root: Path, field: str) -> Backend:
    source = path.relative_to(root).as_posix()
    try:
        return understood(read_text(path), source, field)
    except SpecError as error:
        return Backend(warnings=(f"{source} was left out: {error.detail}.",))


def understood(text: str, source: str, field: str) -> Backend:
    """What a text says, by its structure or by its words; for the constitution, what it forbids."""
    if field == "constitution":
        return prose.prohibitions(text, source)
    content = _content(text)
    if content is not None and (found := from_content(content, source)) is not None:
        return found
    fenced = [
        one for block in _FENCED.findall(text) if (one := from_content(_content(block), source)) is not None
    ]
    found = joined([*fenced, prose.limits(text, source), prose.tables(text, source)])
    if field in ("backend_spec", "api"):
        found = joined([found, prose.endpoints(text, source)])
    if not found.sources:
        return Backend(warnings=(f"{source}: nothing was understood in it; it was left out.",))
    return found


def _content(text: str) -> Any:
    """The content of a YAML or JSON text, None where it is neither."""
    try:
        return Builder("").build(parse(text, "").root)
    except SpecError:
        return None


def _project(root: Path) -> Iterator[Backend]:
    """The Spec-Kit files of a project, as far as they are there."""
    layout, used = _layout(root)
    yield Backend(sources=tuple(used))
    specs = root / layout.get("specs", "specs")
    for pattern, field in (
        *((pattern, "api") for pattern in _ENDPOINT_FILES),
        *((pattern, "database_spec") for pattern in _TABLE_FILES),
        *((pattern, "performance_spec") for pattern in _LIMIT_FILES),
    ):
        yield from _silently(_matching(specs, pattern, root), root, field)
    for kind, field in (("api", "api"), ("database", "database_spec")):
        if kind in layout:
            yield from _silently(_matching(root / layout[kind], "*", root), root, field)
    yield from _silently([root / name for name in _ROOT_FILES], root, "api")
    names = [*([layout["constitution"]] if "constitution" in layout else []), *_CONSTITUTIONS]
    yield from _silently([root / name for name in names], root, "constitution")


def _silently(paths: list[Path], root: Path, field: str) -> Iterator[Backend]:
    """What files say that were found and not named: one without anything to say is no news."""
    for path in paths:
        if path.is_file() and path.resolve().is_relative_to(root):
            found = _read(path.resolve(), root, field)
            if found.sources:
                yield found


def _matching(directory: Path, pattern: str, root: Path) -> list[Path]:
    if not directory.is_dir() or not directory.resolve().is_relative_to(root):
        return []
    return sorted(directory.glob(pattern))[:_MOST_FILES]


def _layout(root: Path) -> tuple[Mapping[str, str], list[str]]:
    """Where a project keeps its files, by its configuration in whichever shape, and the files read for that."""
    found: dict[str, str] = {}
    used: list[str] = []
    for name in _CONFIGS:
        path = root / name
        if not path.is_file():
            continue
        try:
            text = read_text(path)
        except SpecError:
            continue
        used.append(name)
        for content in map(_content, (text, *_FENCED.findall(text))):
            if isinstance(content, Mapping):
                found = {**_layout_of(content), **found}
    return found, used


def _layout_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The directories that a configuration names; there is no schema, four shapes are known."""
    found: dict[str, str] = {}
    places = [config.get(name) for name in ("structure", "directories", "defaults", "paths")]
    flat = {
        key: value
        for place in (*places, config)
        if isinstance(place, Mapping)
        for key, value in place.items()
    }
    for kind, names in (
        ("specs", ("specs_dir", "specs_root", "specs")),
        ("api", ("api_dir", "api_folder", "api")),
        ("database", ("database_dir", "database_folder", "database")),
    ):
        value = next((flat[name] for name in names if isinstance(flat.get(name), str)), None)
        if value:
            found[kind] = value.lstrip("/")
    constitution = config.get("constitution")
    if isinstance(constitution, Mapping) and isinstance(constitution.get("file"), str):
        found["constitution"] = constitution["file"].lstrip("/")
    return found
