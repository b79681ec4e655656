"""The documentation says what is there: commands parse, links lead somewhere, generated pages are up to date."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from cachewright.cli import commands
from cachewright.cli.commands import app
from cachewright.integrations.dashboard import content

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _generator():
    specification = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


GENERATOR = _generator()


def _lines(page: Path) -> Iterator[str]:
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0].strip()
            if command:
                yield command


def _named(word: str) -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), line)
        for page in PAGES
        for line in _lines(page)
        if shlex.split(line)[0] == word
    ]


@pytest.mark.parametrize(("page", "line"), _named("cachewright"))
def test_every_command_that_is_shown_can_be_typed(page, line, tmp_path, monkeypatch):
    """Options, arguments and choices are read as the command line reads them; nothing runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("caching.yaml", "caching.new.yaml", "traffic.trace"):
        (tmp_path / name).touch()
    name, *arguments = shlex.split(line.partition(" > ")[0])[1:]
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, arguments)


@pytest.mark.parametrize(("page", "line"), _named("make"))
def test_every_make_target_that_is_shown_exists(page, line):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in shlex.split(line)[1:]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page):
    targets = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in targets if not (page.parent / link).exists()] == []


def test_every_test_against_a_known_defect_is_there():
    page = ROOT / "docs" / "explanation" / "defects.md"
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", page.read_text(encoding="utf-8"))
    assert len(named) > 50
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_generated_pages_are_up_to_date(name):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == GENERATOR.PAGES[name](), "run `make docs`"


def test_every_command_has_an_example_of_itself():
    for module in commands.COMMANDS:
        name = module.__name__.rpartition(".")[2].rstrip("_")
        assert module.EXAMPLE.startswith(f"cachewright {name}")


def test_every_check_and_error_code_has_its_place():
    from cachewright.checks.rules import RULES

    checks = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")
    assert [rule.code for rule in RULES if f'<a id="{rule.code.lower()}"></a>' not in checks] == []
    errors = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    source = (ROOT / "src/cachewright/errors.py").read_text(encoding="utf-8")
    codes = re.findall(r'code = "(CWE\d+)"', source)
    assert len(codes) == len(set(codes))
    assert [code for code in codes if f'<a id="{code.lower()}"></a>' not in errors] == []


def test_ci_runs_the_readme_test_command_last():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().splitlines()
    assert run[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in run
    assert run[-1] == "make test"
    assert ("README.md", "make test") in _named("make")


def test_the_runbooks_are_those_that_the_door_serves():
    assert (ROOT / "docs" / "how-to" / "runbooks.md").read_bytes() == content("runbooks.md")


def test_what_was_asked_for_is_shown_or_said_to_be_missing():
    known, shown = GENERATOR.requirements(), GENERATOR.marked_tests()
    numbers = {*known["asked"], *known["decided"]}
    assert set(shown) <= numbers
    assert set(known["missing"]) <= numbers
    assert {number for number in numbers if number not in shown} <= set(known["missing"])
    assert len(known["asked"]) == 434
