"""The files that other programs read, and agents: valid by those programs' own rules, and true."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML
from skills_ref.validator import validate

from cachewright.checks import RULES
from cachewright.cli.commands import app

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / "skills" / "backend-caching"
SPEC_KIT = ROOT / "extensions" / "spec-kit"


def _load(path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@pytest.mark.requirement("#434")
def test_the_skill_is_valid_by_the_validator_of_agent_skills():
    assert validate(SKILL) == []
    _, front, _ = (SKILL / "SKILL.md").read_text(encoding="utf-8").split("---\n", 2)
    assert YAML(typ="safe").load(front)["metadata"]["version"] == "1.0.0"


def test_the_skill_is_short_and_has_its_traps():
    text = (SKILL / "SKILL.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 500
    assert re.search(r"^## Gotchas$", text, re.MULTILINE)


def test_commands_and_codes_that_agents_are_told_of_exist():
    commands = typer.main.get_command(app).commands
    codes = {rule.code for rule in RULES}
    for page in (SKILL / "SKILL.md", *SPEC_KIT.glob("commands/*.md")):
        text = page.read_text(encoding="utf-8")
        lines = re.findall(r"`(cachewright [^`]+)`", text)
        assert lines
        assert {shlex.split(line)[1] for line in lines} - {"command"} <= set(commands)
        assert set(re.findall(r"CW\d{3}", text)) <= codes


def test_the_spec_kit_extension_hooks_a_command_that_it_brings():
    extension = _load(SPEC_KIT / "extension.yml")
    brought = {command["name"]: command["file"] for command in extension["provides"]["commands"]}
    assert extension["hooks"]["after_plan"]["command"] in brought
    assert all((SPEC_KIT / file).is_file() for file in brought.values())
    assert all(re.fullmatch(r"speckit\.cachewright\.[a-z-]+", name) for name in brought)


def test_the_pre_commit_hook_checks_what_it_matches():
    (hook,) = _load(ROOT / ".pre-commit-hooks.yaml")
    program, name, *options = shlex.split(hook["entry"])
    assert program == "cachewright"
    command = typer.main.get_command(app).commands[name]
    files = ["pyproject.toml", "README.md"]  # it is given several
    assert command.make_context(name, [*options, *files]).params["specs"]
    matched = [
        re.search(hook["files"], file) is not None for file in ("caching.yaml", "a/caching.new.yml", "x.yaml")
    ]
    assert matched == [True, True, False]
