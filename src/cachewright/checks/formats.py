"""Findings in the formats of other programs: SARIF 2.1.0, and the annotations of GitHub's workflows."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from cachewright.checks.findings import Finding, Severity
from cachewright.checks.rules import RULES, Rule

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def sarif(findings: Sequence[tuple[str, Finding]], version: str) -> dict[str, Any]:
    """One run of these checks, findings with their files, as a SARIF log; `version` is that of this program."""
    known = {rule.code: index for index, rule in enumerate(RULES)}
    driver = {"name": "cachewright", "version": version, "rules": [_described(rule) for rule in RULES]}
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, file, known.get(finding.code)) for file, finding in findings],
            }
        ],
    }


def _described(rule: Rule) -> dict[str, Any]:
    text = inspect.getdoc(rule.look) or ""
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split()),
        "shortDescription": {"text": text.partition("\n")[0]},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(finding: Finding, file: str, index: int | None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": file.replace("\\", "/")}}
    if finding.line is not None:
        place["region"] = {"startLine": finding.line, "startColumn": finding.column or 1}
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
    }
    return result if index is None else {**result, "ruleIndex": index}


def github(finding: Finding, file: str) -> str:
    """One finding as a workflow command, which GitHub shows beside the line it speaks of."""
    properties = {"file": file, "line": finding.line, "col": finding.column, "title": finding.code}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value is not None)
    return f"::{_COMMANDS[finding.severity]} {told}::{_data(finding.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    return _data(str(value)).replace(":", "%3A").replace(",", "%2C")
