#!/usr/bin/env python3
"""Write the pages of docs/reference that follow from the code: `python docs/generate.py`."""

from __future__ import annotations

import ast
import inspect
import re
import sqlite3
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cachewright import errors
from cachewright.cli import commands
from cachewright.cli.main import exit_code
from cachewright.integrations.dashboard import content

TESTS = Path(__file__).parents[1] / "tests"
REFERENCE = Path(__file__).parent / "reference"
HOW_TO = Path(__file__).parent / "how-to"
NOTE = "<!-- Written by docs/generate.py; run `make docs` after a change. -->"


def main() -> None:
    """Write all pages."""
    (HOW_TO / "runbooks.md").write_text(content("runbooks.md").decode(), encoding="utf-8")
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        sys.stderr.write(f"docs/reference/{name}\n")


def cli_page() -> str:
    """All commands."""
    return _page("Command line", [CLI_INTRODUCTION, *(_command(module) for module in commands.COMMANDS)])


def _command(module: Any) -> str:
    name = module.__name__.rpartition(".")[2]
    function = getattr(module, name)
    lines = [
        f"## cachewright {name.rstrip('_')}",
        "",
        _paragraphs(function),
        "",
        "```bash",
        module.EXAMPLE,
        "```",
    ]
    rows = [
        _parameter(parameter) for parameter in inspect.signature(function, eval_str=True).parameters.values()
    ]
    if rows:
        lines += ["", "| | default | |", "|---|---|---|", *rows]
    return "\n".join(lines)


def _parameter(parameter: inspect.Parameter) -> str:
    info = typing.get_args(parameter.annotation)[1]
    # typer takes the first declaration for a default until it reads the function
    first = (info.default,) if isinstance(info.default, str) else ()
    name = _code(" ".join((*first, *(info.param_decls or ()), info.metavar or "")).strip())
    required = parameter.default is inspect.Parameter.empty
    default = (
        "required" if required else "" if parameter.default in (None, False) else _code(parameter.default)
    )
    bounds = f" At least {info.min}." if info.min is not None and info.max is None else ""
    variable = f" Also from {_code(info.envvar)}." if info.envvar else ""
    return f"| {name} | {default} | {_cell(info.help or '')}{bounds}{variable} |"


def errors_page() -> str:
    """All errors."""
    kinds = list(_kinds_of_errors(errors.CachewrightError))
    rows = ["| code | error | exit code | |", "|---|---|---|---|", *map(_error, kinds)]
    return _page("Errors", [ERRORS_INTRODUCTION, "\n".join(rows)])


def _error(kind: type[errors.CachewrightError]) -> str:
    anchor = f'<a id="{kind.code.lower()}"></a>{_code(kind.code)}'
    text = _cell((inspect.getdoc(kind) or "").partition("\n\n")[0])
    return f"| {anchor} | {_code(kind.__name__)} | {exit_code(kind.__new__(kind))} | {text} |"


def _kinds_of_errors(kind: type[errors.CachewrightError]) -> Iterator[type[errors.CachewrightError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _kinds_of_errors(child)


def specification_page() -> str:
    """All fields of a specification."""
    from cachewright.spec.schema import json_schema

    definitions = json_schema()["$defs"]
    order = ["CachingSpecification", *sorted(set(definitions) - {"CachingSpecification"})]
    return _page(
        "Specification", [SPECIFICATION_INTRODUCTION, *(_section(name, definitions[name]) for name in order)]
    )


def _section(name: str, definition: Mapping[str, Any]) -> str:
    lines = [f'<a id="{name.lower()}"></a>', f"## {name}", "", _cell(definition.get("description", ""))]
    properties: Mapping[str, Any] = definition.get("properties", {})
    if properties:
        lines += ["", "| field | type | default | |", "|---|---|---|---|"]
        lines += [
            _field(field, schema, definition.get("required", ())) for field, schema in properties.items()
        ]
    elif "enum" in definition:
        lines += ["", f"One of {_alternatives(definition)}."]
    return "\n".join(lines)


def _field(name: str, schema: Mapping[str, Any], required: typing.Collection[str]) -> str:
    default = (
        "required"
        if name in required
        else _code(_yaml(schema.get("default", "")))
        if "default" in schema
        else ""
    )
    mark = " *(extension)*" if schema.get("x-extension") else ""
    return f"| {_code(name)}{mark} | {_type(schema)} | {default} | {_cell(schema.get('description', ''))} |"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        return f"[{target}](#{target.lower()})"
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    if "enum" in schema or "const" in schema:
        return _alternatives(schema)
    return _plain_type(schema)


def _plain_type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "any")
    values = schema.get("additionalProperties")
    if kind == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}"
    if kind == "object" and isinstance(values, Mapping):
        return f"mapping to {_type(values)}"
    return str({"string": "text", "array": "list", "object": "mapping"}.get(kind, kind))


def _alternatives(schema: Mapping[str, Any]) -> str:
    values = schema.get("enum", [schema.get("const")])
    return " ".join(_code(_yaml(value)) for value in values)


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case True | False:
            return str(value).lower()
        case {} | []:
            return "{}" if isinstance(value, Mapping) else "[]"
        case Mapping():
            return "{…}"
        case str():
            return value or '""'
    return str(value)


def trace_page() -> str:
    """The tables of a trace."""
    from cachewright.evidence.trace import TRACE_VERSION
    from cachewright.evidence.tracefile import SCHEMA

    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA)  # the page shows what SQLite accepts
    parts = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)[^;]*;", SCHEMA, re.DOTALL)
    introduction = TRACE_INTRODUCTION.format(version=TRACE_VERSION)
    return _page("Trace", [introduction, *(_table(name, body) for name, body in parts)])


def _table(name: str, body: str) -> str:
    lines = [line.strip() for line in body.strip().splitlines()]
    about = " ".join(line.removeprefix("-- ") for line in lines if line.startswith("--"))
    rows = ["| column | |", "|---|---|"]
    for line in lines:
        if line.startswith(("--", "PRIMARY KEY", "UNIQUE")):
            continue
        column, _, comment = line.partition("--")
        definition = column.strip().rstrip(",").split()
        rows.append(
            f"| {_code(definition[0])} {' '.join(definition[1:]).lower()} | {_cell(comment.strip())} |"
        )
    return "\n".join([f"## {name}", *(["", about] if about else []), "", *rows])


def checks_page() -> str:
    """All checks."""
    from cachewright.checks.rules import RULES

    rows = ["| code | severity | |", "|---|---|---|"]
    rows += [f"| [{rule.code}](#{rule.code.lower()}) | {rule.severity} | {rule.name} |" for rule in RULES]
    return _page("Checks", [CHECKS_INTRODUCTION, "\n".join(rows), *(_check(rule) for rule in RULES)])


def _check(rule: Any) -> str:
    text = re.sub(r"(?m)^## ", "### ", inspect.getdoc(rule.look) or "")
    anchor = f'<a id="{rule.code.lower()}"></a>'
    return f"{anchor}\n\n## {rule.code}: {rule.name} ({rule.severity})\n\n{text}"


def _page(title: str, parts: list[str]) -> str:
    return "\n\n".join([f"# {title}", NOTE, *(part.strip() for part in parts)]) + "\n"


def _paragraphs(documented: Any) -> str:
    return inspect.getdoc(documented) or ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: Any) -> str:
    shown = str(text).replace("|", "\\|")
    return f"`{shown}`" if shown else ""


CLI_INTRODUCTION = """
Data goes to stdout; progress, diagnostics and tables that accompany data go to stderr. `--json` writes a JSON
document on stdout instead of tables. Colours and moving lines appear on terminals only; `NO_COLOR` is obeyed.

| exit code | |
|---|---|
| 0 | done |
| 1 | findings of severity error (with `--strict` warnings too), a difference, a requirement not reached |
| 2 | usage: an option, or a file that was given, is not what it should be |
| 3 | environment: an application, a port, a server or an installed package is missing |

`record`, `serve` and `verify` listen on `127.0.0.1:8000` unless told otherwise, write `ready http://host:port`
on stderr once they answer, and run until SIGINT (Ctrl-C) or SIGTERM. What follows `--` goes to uvicorn.
"""
ERRORS_INTRODUCTION = """
Every error raised on purpose is a `cachewright.CachewrightError`. Its message says what is wrong and where,
its `hint` what to do; the code in brackets leads here. The exit code is that of a command that ends with it.
"""
SPECIFICATION_INTRODUCTION = """
A specification is one YAML document with the root key `caching_specification`. All fields follow; those
marked *extension* are additions to the common schema. Keys that begin with `x-` are allowed everywhere, other
unknown keys are errors. `cachewright schema` writes the same as a JSON Schema.
"""
TRACE_INTRODUCTION = """
A trace is one SQLite file (`application_id` 0x63777472, `user_version` {version}), readable by its owner
alone. It holds no bodies and no credentials; values of parameters, binds and columns are hashes with a key
that is random for each recording and is not kept. Times are nanoseconds of one monotonic clock.
"""
CHECKS_INTRODUCTION = """
`cachewright check` prints `file:line:column CODE message` for each finding; `cachewright explain CODE` says
more.
"""

REQUEST_INTRODUCTION = """\
What `cachewright design --request` reads; [how to](../how-to/design-from-a-request.md). Every field has a default but
`inputs`. Targets take all fields of a specification's [target](specification.md#cachetarget) besides those listed
here, and whole sections (`alerts`, `configuration`, …) are those of a [specification](specification.md). Unknown keys
are errors."""


def request_page() -> str:
    """All fields of a written request."""
    from cachewright.request.model import (
        AskedStrategy,
        AskedTarget,
        AskedTenants,
        AskedUsers,
        Inputs,
        Request,
    )
    from cachewright.spec.cache_targets import CacheTarget
    from cachewright.spec.strategy import StrategyOverride

    sections = []
    for model, inherited in (
        (Request, None),
        (Inputs, None),
        (AskedTarget, CacheTarget),
        (AskedStrategy, StrategyOverride),
        (AskedTenants, None),
        (AskedUsers, None),
    ):
        schema = model.model_json_schema(ref_template="#/$defs/{model}")
        known = set() if inherited is None else set(inherited.model_fields)
        own = {name: field for name, field in schema["properties"].items() if name not in known}
        sections.append(_section(model.__name__, {**schema, "properties": own}))
    text = _page("Requests", [REQUEST_INTRODUCTION, *sections])
    anchors = set(re.findall(r'<a id="(\w+)"></a>', text))
    return re.sub(
        r"\(#(\w+)\)",
        lambda found: found[0] if found[1] in anchors else f"(specification.md#{found[1]})",
        text,
    )


REQUIREMENTS_INTRODUCTION = """\
What was asked for, by number, and the decisions where the request contradicts itself (`C…`), each with the tests that
show it. The tests are those with the mark `@pytest.mark.requirement`, and the cases of checks that name their numbers.
Where no test shows a thing, or not all of it, it is said what is there instead, or what is missing.
That a field is there does not say that a service acts on it: `cachewright check --all` names those that nothing
executes (CW013)."""

REQUIREMENTS = Path(__file__).parent / "requirements.yml"
_MARK = "pytest.mark.requirement"
_RANGE = re.compile(r"#(\d+)-#(\d+)")


def requirements_page() -> str:
    """What was asked for, and which test shows it."""
    shown, known = marked_tests(), requirements()
    parts = [REQUIREMENTS_INTRODUCTION]
    for title, section in (("Asked for", "asked"), ("Decided", "decided")):
        rows = []
        for number, words in known[section].items():
            tests = [_code(test) for test in sorted(shown.get(number, ()))]
            beside = [known["missing"][number]] if number in known["missing"] else []
            rows.append(f"| {number} | {_cell(words)} | {'<br>'.join([*beside, *tests])} |")
        parts.append("\n".join([f"## {title}", "", "| | | shown by |", "|---|---|---|", *rows]))
    return _page("Requirements", parts)


def requirements() -> Mapping[str, Mapping[str, str]]:
    """What was `asked`, what was `decided`, and what no test shows (`missing`), by number."""
    content: Mapping[str, Mapping[str, str]] = YAML(typ="safe").load(REQUIREMENTS.read_text(encoding="utf-8"))
    return content


def marked_tests() -> Mapping[str, set[str]]:
    """The tests that show each number, and the cases of checks."""
    shown: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in _marked(function):
                    name = f"{path.relative_to(TESTS.parent)}::{function.name}"
                    shown.setdefault(number, set()).add(name)
    for path in sorted((TESTS / "checks" / "cases").glob("*.yml")):
        for case in YAML(typ="safe").load(path.read_text(encoding="utf-8"))["fail"]:
            for number in case.get("requirements", ()):
                name = f"tests/checks/test_rules.py::test_fails[{path.stem}: {case['name']}]"
                shown.setdefault(number, set()).add(name)
    return shown


def _marked(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == _MARK:
            for argument in decorator.args:
                text = str(ast.literal_eval(argument))
                found = _RANGE.fullmatch(text)
                yield from (f"#{n}" for n in range(int(found[1]), int(found[2]) + 1)) if found else (text,)


PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "errors.md": errors_page,
    "specification.md": specification_page,
    "trace.md": trace_page,
    "checks.md": checks_page,
    "request.md": request_page,
    "requirements.md": requirements_page,
}

if __name__ == "__main__":
    main()
