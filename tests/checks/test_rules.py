"""Every rule against its cases: `cases/CWnnn.yml` says what it must report and what it must let pass.

A case that must be reported names the requirements that it shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.simulator.recording import Recording

from cachewright.checks import RULES, Finding, Known, check
from cachewright.checks.fixing import fixed
from cachewright.checks.openapi import api_routes
from cachewright.evidence.trace import Trace
from cachewright.spec.document import Document, dumps_spec, loads_spec
from cachewright.spec.model import ROOT, CachingSpecification

CASES = Path(__file__).parent / "cases"
HEADINGS = ("## What it does", "## Why", "## Example", "## Fix")


@dataclass(frozen=True)
class DeclaredParam:
    name: str
    where: str


@dataclass(frozen=True)
class DeclaredRoute:
    methods: frozenset[str]
    template: str
    params: tuple[DeclaredParam, ...]
    credentials: tuple[str, ...]


def cases(kind: str) -> list[Any]:
    found = []
    for file in sorted(CASES.glob("CW*.yml")):
        for case in YAML(typ="safe").load(file.read_text())[kind]:
            found.append(pytest.param(file.stem, case, id=f"{file.stem}: {case['name']}"))
    return found


def document_of(case: dict[str, Any]) -> Document:
    if "text" in case:
        return loads_spec(case["text"], "caching.yaml")
    return loads_spec(dumps_spec(CachingSpecification.model_validate(case["spec"])), "caching.yaml")


def routes_of(case: dict[str, Any]) -> list[DeclaredRoute] | None:
    if "routes" not in case:
        return None
    found = []
    for given in case["routes"]:
        method, template = given["route"].split()
        params = tuple(DeclaredParam(*reversed(name.split(":"))) for name in given.get("params", ()))
        found.append(
            DeclaredRoute(frozenset({method}), template, params, tuple(given.get("credentials", ())))
        )
    return found


def trace_of(case: dict[str, Any]) -> Trace | None:
    if "trace" not in case:
        return None
    given = case["trace"]
    recording = Recording()
    numbers = {}
    for route in given["routes"]:
        method, template = route["route"].split()
        params = route.get("params", ())
        numbers[route["route"]] = recording.route(
            method, template, *params, credentials=tuple(route.get("credentials", ()))
        )
    for place, request in enumerate(given["requests"]):
        at = place * 100
        changes = {"reads": frozenset(request["reads"])} if "reads" in request else {}
        number = recording.request(
            numbers[request["route"]],
            at,
            user=request.get("user"),
            values=request.get("values"),
            status=request.get("status", 200),
            **changes,
        )
        for text, *binds in request.get("sql", ()):
            recording.sql(text, tuple(binds), at=at + 2, request=number)
    for name, texts in given.get("clear", {}).items():
        recording.clear[name] = {recording.hasher.value(text).exact: text for text in texts}
    return recording.trace()


def known_of(case: dict[str, Any]) -> Known:
    return Known(
        routes=routes_of(case),
        api=api_routes({"openapi": "3.1.0", **case["api"]}) if "api" in case else None,
        tables={name: tuple(columns) for name, columns in case["tables"].items()}
        if "tables" in case
        else None,
    )


def found_by(code: str, case: dict[str, Any]) -> list[Finding]:
    findings = check(document_of(case), trace=trace_of(case), known=known_of(case))
    return [finding for finding in findings if finding.code == code]


@pytest.mark.parametrize(("code", "case"), cases("fail"))
def test_fails(code: str, case: dict[str, Any]) -> None:
    (finding,) = found_by(code, case)
    rule = next(rule for rule in RULES if rule.code == code)
    assert finding.severity == case.get("severity", rule.severity)
    assert case.get("says", "") in finding.message
    if "at" in case:
        assert finding.path == tuple(case["at"])
    assert finding.line is not None
    assert finding.column is not None
    assert (finding.fix is not None) == case.get("fixable", finding.fix is not None)


FIXABLE = [param for param in cases("fail") if param.values[1].get("fixable")]


@pytest.mark.parametrize(("code", "case"), FIXABLE)
def test_a_fix_ends_its_finding_and_brings_no_error(code: str, case: dict[str, Any]) -> None:
    before = document_of(case)
    changed = fixed(before, trace=trace_of(case), known=known_of(case))
    findings = check(changed.document, trace=trace_of(case), known=known_of(case))
    assert changed.count >= 1
    assert [finding for finding in findings if finding.code == code] == []
    was = {f.code for f in check(before, trace=trace_of(case), known=known_of(case)) if f.severity == "error"}
    assert {finding.code for finding in findings if finding.severity == "error"} <= was


def test_every_rule_that_can_fix_is_seen_to_fix() -> None:
    assert {param.values[0] for param in FIXABLE} >= {"CW001", "CW006", "CW008", "CW018", "CW035"}


@pytest.mark.parametrize(("code", "case"), cases("pass"))
def test_passes(code: str, case: dict[str, Any]) -> None:
    assert found_by(code, case) == []


def test_every_rule_has_cases_and_a_code_of_its_own() -> None:
    assert [rule.code for rule in RULES] == sorted({rule.code for rule in RULES})
    assert {rule.code for rule in RULES} == {file.stem for file in CASES.glob("CW*.yml")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_documents_itself(rule: Any) -> None:
    text = rule.look.__doc__
    places = [text.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    assert all(part.strip() for part in re.split(r"## [^\n]+\n", text))


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.code != "CW000"], ids=lambda rule: rule.code)
def test_examples_are_yaml(rule: Any) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", rule.look.__doc__, re.DOTALL)
    assert YAML(typ="safe").load(re.sub(r"^    ", "", example, flags=re.MULTILINE)) is not None


def test_findings_come_in_the_order_of_the_file_with_their_places() -> None:
    document = loads_spec(
        f"{ROOT}:\n"
        "  identity: {}\n"
        "  cache_targets:\n"
        "    - endpoint: GET /tasks\n"
        "      scope: user\n"
        "      cache_key_pattern: tasks\n"
        "    - endpoint: GET /login\n"
        "      cache_key_pattern: 'login:{'\n",
        "caching.yaml",
    )
    found = [(finding.code, finding.line, finding.column) for finding in check(document)]
    assert found == [("CW016", 4, 7), ("CW015", 5, 7), ("CW001", 6, 7), ("CW000", 8, 7)]


def test_a_finding_has_its_public_names() -> None:
    finding = Finding("CW001", "error", ("cache_targets", 0), 4, 7, "words")
    assert finding.to_json("caching.yaml") == {
        "code": "CW001",
        "severity": "error",
        "file": "caching.yaml",
        "line": 4,
        "column": 7,
        "message": "words",
        "fix": None,
    }
