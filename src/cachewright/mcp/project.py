"""What the tools may touch: files below one directory, and one running application."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachewright.errors import SurroundingsError, UsageError
from cachewright.evidence.trace import Trace
from cachewright.evidence.tracereader import read_trace
from cachewright.jobs.asking import ask
from cachewright.jobs.designing import Asked, asked_in
from cachewright.spec.document import Document, load_spec, loads_spec, read_text

if TYPE_CHECKING:
    from cachewright.checks import Known


@dataclass(frozen=True, slots=True)
class Project:
    """Where a server works: `root` holds every file it may read, `url` and `token` are of the application it asks.

    `app` is imported for the checks. Neither can be named by a tool's arguments: they decide what runs here, and
    which hosts are reached.
    """

    root: Path
    app: str | None = None
    factory: bool = False
    url: str | None = None
    token: str | None = None

    def path(self, name: str) -> Path:
        """The file `name` below the root. Raises `UsageError` for what is outside, or not there."""
        root = self.root.resolve()
        found = (root / name).resolve()
        if not found.is_relative_to(root):
            raise UsageError(f"{name!r} is outside {root}", hint="give a path relative to it")
        if not found.is_file():
            near = sorted(each.name for each in root.glob(f"*{found.suffix}") if each.is_file())[:10]
            there = f"; there are {', '.join(near)}" if near else ""
            raise UsageError(f"there is no file {name!r} in {root}{there}")
        return found

    def spec(self, spec: str) -> Document:
        """A specification, from a path or from its own YAML. Raises `SpecError`, `UsageError`."""
        return loads_spec(spec, "spec") if "\n" in spec else load_spec(self.path(spec))

    def request(self, request: str | None, specs: str | None) -> Asked:
        """A written request, from a path or from its own text, with the documents below the directory `specs`.

        Raises `RequestError`, `UsageError`.
        """
        directory = None if specs is None else self._directory(specs)
        if request is None:
            return asked_in("inputs: {}", specs or ".", base=self.root, project=directory)
        if "\n" in request or request.lstrip().startswith("{"):
            return asked_in(request, "request", base=self.root, project=directory)
        path = self.path(request)
        return asked_in(read_text(path), str(path), base=self.root, project=directory)

    def _directory(self, name: str) -> Path:
        root = self.root.resolve()
        found = (root / name).resolve()
        if not found.is_relative_to(root) or not found.is_dir():
            raise UsageError(f"there is no directory {name!r} in {root}", hint="`.` is the root itself")
        return found

    def trace(self, name: str | None) -> Trace | None:
        """A recording, where one is named. Raises `EvidenceError`, `UsageError`."""
        return None if name is None else read_trace(self.path(name))

    def known(self, openapi: str | None) -> Known:
        """What the application and an OpenAPI document tell. Raises `ApplicationError`, `UsageError`."""
        from cachewright.jobs.knowing import known_of

        described = None if openapi is None else self.path(openapi)
        return known_of(self.app, factory=self.factory, openapi=described)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the running application answers. Raises `SurroundingsError`, `UsageError`."""
        if self.url is None:
            raise SurroundingsError(
                "no running application is named",
                hint="start this server with it: cachewright mcp --url http://localhost:8000",
            )
        return ask(self.url, self.token, path, body)
