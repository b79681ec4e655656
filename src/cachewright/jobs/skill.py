"""The skill for agents, as it is kept in the repository and in the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_PLACE = Path("skills") / "backend-caching" / "SKILL.md"


def skill() -> str:
    """The text of `skills/backend-caching/SKILL.md`."""
    installed = _PACKAGE / _PLACE
    return (installed if installed.exists() else _PACKAGE.parents[1] / _PLACE).read_text(encoding="utf-8")
