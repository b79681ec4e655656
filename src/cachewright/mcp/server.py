"""The MCP server: its tools, and what they may be asked to read."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from cachewright.errors import CachewrightError
from cachewright.mcp import tools
from cachewright.mcp.project import Project

P = ParamSpec("P")
R = TypeVar("R")

INSTRUCTIONS = """\
cachewright designs a cache for a FastAPI and SQLAlchemy backend from evidence, checks the design, and runs it.
Order of work: caching_design, caching_check, caching_simulate; against a running application caching_stats,
caching_review, caching_invalidate, caching_warm. Read skill://backend-caching/SKILL.md first: it lists the traps.
"""
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_ASKS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=True)
_FORGETS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)
_LOADS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)

Spec = Annotated[
    str, Field(description="The specification: a path below the server's directory, or its YAML.")
]
TracePath = Annotated[
    str, Field(description="A recording that `cachewright record` made: a path below the server's directory.")
]
OpenApi = Annotated[str | None, Field(description="Path of an OpenAPI document, JSON or YAML.")]


def server(project: Project, *, version: str, clock: Callable[[], float] = time.time) -> MCPServer:
    """A server for `project`; `clock` gives the time (s) of designs."""
    served = MCPServer(
        "cachewright", title="cachewright", version=version, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    _design_tools(served, project, clock)
    _live_tools(served, project)
    _resources(served)
    return served


def _told(tool: Callable[P, R]) -> Callable[P, R]:
    """`tool`, whose errors reach the model as text: what is wrong, and what to do next."""

    @functools.wraps(tool)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return tool(*args, **kwargs)
        except CachewrightError as error:
            raise ToolError(str(error)) from error
        except OSError as error:
            raise ToolError(f"{error.filename or 'a file'}: {error.strerror or error}") from error

    return call


def _design_tools(served: MCPServer, project: Project, clock: Callable[[], float]) -> None:
    def now() -> datetime:
        return datetime.fromtimestamp(int(clock()), UTC)

    @served.tool(annotations=_READS)
    @_told
    def caching_design(
        *,
        trace: Annotated[str | None, Field(description="Path of a recording: the best evidence.")] = None,
        request: Annotated[
            str | None,
            Field(
                description="A written request (`skill: backend-caching`, `inputs:`): a path, or its YAML or JSON."
            ),
        ] = None,
        specs: Annotated[
            str | None, Field(description="A directory with the project's specifications; `.` is the root.")
        ] = None,
        standing: Annotated[
            str | None,
            Field(
                description="A specification to change as `request` says (a path, or its YAML): what the request "
                "leaves out stays, comments and order too. The answer has `changes`, riskiest first."
            ),
        ] = None,
        namespace: Annotated[str | None, Field(description="The namespace of all keys.")] = None,
        full: Annotated[bool, Field(description="Findings and forecasts too, not only the choices.")] = False,
    ) -> dict[str, Any]:
        """Design a specification: what to cache and what not, with the reason for each choice.

        From recorded traffic, a written request, or a project's specifications; from several of them, too.
        """
        if standing is not None:
            return tools.revise(project, standing, trace=trace, request=request, specs=specs, now=now())
        return tools.design(
            project, trace=trace, request=request, specs=specs, namespace=namespace, now=now(), full=full
        )

    @served.tool(annotations=_READS)
    @_told
    def caching_check(
        spec: Spec,
        trace: Annotated[str | None, Field(description="Path of a recording, to look closer.")] = None,
        openapi: OpenApi = None,
    ) -> dict[str, Any]:
        """Check a specification: leaks between users, writes without invalidation, colliding keys and the like."""
        return tools.check(project, spec, trace=trace, openapi=openapi)

    @served.tool(annotations=_READS)
    @_told
    def caching_explain(
        subject: Annotated[str, Field(description="A code (CW012, CWE301), or a target (GET /api/tasks).")],
        spec: Annotated[str | None, Field(description="The specification of the target.")] = None,
        trace: Annotated[str | None, Field(description="The recording it was designed from.")] = None,
    ) -> dict[str, Any]:
        """Say what a check or an error means, or why a target is cached as it is, or is not."""
        return tools.explain(project, subject, spec=spec, trace=trace)

    @served.tool(annotations=_READS)
    @_told
    def caching_simulate(
        spec: Spec,
        trace: TracePath,
        require: Annotated[
            str | None, Field(description='What the forecast must reach, as "wrong_answers=0,hit_rate>0.6".')
        ] = None,
    ) -> dict[str, Any]:
        """Replay recorded traffic against a specification: hit rates, times, and answers that would be wrong."""
        return tools.simulate(project, spec, trace=trace, require=require)

    @served.tool(annotations=_ASKS)
    @_told
    def caching_review(
        spec: Spec,
        *,
        trace: Annotated[str | None, Field(description="Path of a newer recording.")] = None,
        live: Annotated[bool, Field(description="Ask the running application for its figures.")] = False,
    ) -> dict[str, Any]:
        """Compare a specification with what was measured and with newer traffic; say what to change."""
        return tools.review(project, spec, trace=trace, live=live, now=now())


def _live_tools(served: MCPServer, project: Project) -> None:
    @served.tool(annotations=_ASKS)
    @_told
    def caching_stats(
        what: Annotated[Literal["stats", "health", "targets"], Field(description="Which figures.")] = "stats",
    ) -> dict[str, Any]:
        """The figures of the running application: hit rates, times, memory, health, or what is cached."""
        return project.ask(what)

    @served.tool(annotations=_FORGETS)
    @_told
    def caching_invalidate(
        *,
        tags: Annotated[
            list[str] | None, Field(description='What depends on these, as ["tasks(user_id=7)"].')
        ] = None,
        key: Annotated[str | None, Field(description="The entry of this key.")] = None,
        pattern: Annotated[str | None, Field(description="A collection: user:7:tasks:*.")] = None,
        target: Annotated[str | None, Field(description="Every entry of this target.")] = None,
        user: Annotated[str | None, Field(description="Whatever belongs to this user.")] = None,
        tenant: Annotated[str | None, Field(description="Whatever belongs to this tenant.")] = None,
    ) -> dict[str, Any]:
        """Make the running application forget entries, in every process. Give one subject, or user with tenant."""
        asked = {
            "tags": tags, "key": key, "pattern": pattern, "target": target, "user": user, "tenant": tenant
        }  # fmt: skip
        return project.ask("invalidate", {name: value for name, value in asked.items() if value is not None})

    @served.tool(annotations=_LOADS)
    @_told
    def caching_warm(
        job: Annotated[
            Literal["on_startup", "scheduled"] | None,
            Field(description="Which of its jobs; all of them if none."),
        ] = None,
    ) -> dict[str, Any]:
        """Make the running application load entries before anybody asks for them. caching_stats shows how far it is."""
        return project.ask("warm", {} if job is None else {"job": job})


def _resources(served: MCPServer) -> None:
    @served.resource(
        "caching://schema", title="JSON Schema of a specification", mime_type="application/schema+json"
    )
    def schema() -> str:
        """The JSON Schema (2020-12) of a caching specification."""
        from cachewright.spec.schema import json_schema

        return json.dumps(json_schema(), indent=2)

    @served.resource("caching://checks", title="All checks", mime_type="text/markdown")
    def checks() -> str:
        """Every check with its code: why, an example, and the fix."""
        return tools.checks_page()

    @served.resource(
        "skill://backend-caching/SKILL.md", title="Skill: backend caching", mime_type="text/markdown"
    )
    def skill() -> str:
        """How to design and run a cache with these tools, and the traps."""
        from cachewright.jobs.skill import skill as text

        return text()
