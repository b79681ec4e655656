"""Documents of a backend in the shapes they are found in; what is missing fails nothing."""

import textwrap

import pytest
import yaml

from cachewright.request.backend import joined
from cachewright.request.documents import backend_of, understood
from cachewright.request.reading import loads_request

OPENAPI = """\
openapi: 3.1.0
servers: [{url: https://api.example.com/v1}]
security: [{bearer: []}]
paths:
  /tasks/{task_id}:
    parameters: [{name: task_id, in: path, required: true}]
    get:
      responses:
        "200":
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Task"}
  /news:
    get:
      security: []
      parameters:
        - $ref: "#/components/parameters/Lang"
      responses: {"200": {description: ok}}
components:
  parameters: {Lang: {name: lang, in: query, schema: {enum: [de, en]}}}
  schemas:
    Task:
      type: object
      properties:
        id: {type: string}
        owner: {$ref: "#/components/schemas/User"}
        parent: {$ref: "#/components/schemas/Task"}
    User: {properties: {password_hash: {type: string}}}
"""
API = """\
api_specification:
  meta: {base_path: /api/v1}
  endpoints:
    - path: /tasks
      method: GET
      authentication: {required: true}
      authorization: {resource_owner_check: true, tenant_isolation: true}
      request: {query_parameters: [{name: status, enum: [a, b, c]}]}
      business_logic: {database_operations: [{table: tasks}, plain words]}
      security: {rate_limit: {requests_per_minute: 60}}
"""
DATABASE = """\
database_schema:
  entities:
    - name: User
      table_name: users
      primary_key: {column_name: id}
      columns: [{name: email}]
    - name: Task
      table_name: tasks
      primary_key: {column_name: id}
      columns: [{name: user_id}, {name: title}]
      relationships: [{type: many_to_one, related_entity: User, foreign_key_column: user_id, cascade: "all, delete"}]
"""


def project(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    inputs = loads_request("inputs: {}").inputs
    return backend_of(inputs, base=tmp_path, project=tmp_path)


def said(tmp_path, **inputs):
    document = loads_request(yaml.safe_dump({"inputs": inputs}))
    return backend_of(document.inputs, base=tmp_path, project=None)


@pytest.mark.requirement("#370", "C56")
@pytest.mark.parametrize("form", ["file", "text", "content"])
def test_openapi_is_read_from_a_file_its_text_or_its_content(tmp_path, form):
    (tmp_path / "openapi.yaml").write_text(OPENAPI)
    given = {"file": "openapi.yaml", "text": OPENAPI, "content": yaml.safe_load(OPENAPI)}[form]
    found = said(tmp_path, backend_spec=given)
    task, news = found.endpoint("GET", "/tasks/{id}"), found.endpoint("GET", "/news")
    assert task.secrets == ("password_hash",)
    assert (task.secured, news.secured) == (True, False)
    assert [(one.name, one.values) for one in news.parameters] == [("lang", 2)]
    assert found.warnings == ()


@pytest.mark.requirement("#370", "#383", "C56")
def test_the_sibling_skills_api_is_read(tmp_path):
    (endpoint,) = said(tmp_path, backend_spec=API).endpoints
    assert endpoint.subject == "GET /api/v1/tasks"
    assert (endpoint.secured, endpoint.tenants, endpoint.tables, endpoint.per_minute) == (
        True,
        True,
        ("tasks",),
        60,
    )
    assert [(one.name, one.values) for one in endpoint.parameters] == [("status", 3)]


@pytest.mark.requirement("#369")
def test_the_sibling_skills_tables_are_read(tmp_path):
    found = said(tmp_path, database_spec=DATABASE)
    assert found.table("tasks").columns == ("id", "user_id", "title")
    (key,) = found.table("tasks").foreign_keys
    assert (key.columns, key.target, key.on_delete) == (("user_id",), "users", "CASCADE")


@pytest.mark.requirement("#370")
@pytest.mark.parametrize(
    "line",
    [
        "### GET /api/{user_id}/tasks",
        "### 1. GET /api/{user_id}/tasks",
        "#### GET /api/:user_id/tasks",
        "- `GET /api/{user_id}/tasks`: all tasks",
        "- GET /api/{user_id}/tasks - all tasks",
        "| GET | `/api/{user_id}/tasks` | all tasks |",
        "**GET** `/api/<int:user_id>/tasks`",
    ],
)
def test_endpoints_are_found_however_they_are_written(line):
    (endpoint,) = understood(f"# API\n\n{line}\n", "api.md", "api").endpoints
    assert endpoint.subject == "GET /api/{user_id}/tasks"


def test_parameters_below_an_endpoint_are_its_own():
    text = """\
    ## GET /tasks
    Auth required
    **Query Parameters:**
    - `status`: `all` | `done` (default: `all`)
    - page: number
    **Response:**
    - `id`: text
    ## GET /news
    No auth needed
    | Query param | Type |
    |---|---|
    | lang | text |
    """
    tasks, news = understood(textwrap.dedent(text), "api.md", "api").endpoints
    assert [(one.name, one.values) for one in tasks.parameters] == [("status", 3), ("page", None)]
    assert [one.name for one in news.parameters] == ["lang"]
    assert (tasks.secured, news.secured) == (True, False)


@pytest.mark.requirement("#369")
@pytest.mark.parametrize(
    "text",
    [
        "## tasks\n| Column | Type | Notes |\n|---|---|---|\n| id | uuid | primary key |\n| user_id | uuid | FK -> users.id |\n",
        "### Table: `tasks`\n- id: UUID (primary key)\n- user_id: INTEGER (foreign key -> users.id, not null)\n",
        "```sql\nCREATE TABLE tasks (\n  id uuid PRIMARY KEY,\n  user_id uuid REFERENCES users(id) ON DELETE CASCADE\n);\n```\n",
    ],
)
def test_tables_are_found_however_they_are_written(text):
    table = understood(text, "schema.md", "database_spec").table("tasks")
    assert table.columns == ("id", "user_id")
    assert table.primary_key == ("id",)
    assert table.foreign_keys[0].target == "users"


@pytest.mark.requirement("#367", "#371")
@pytest.mark.parametrize(
    ("line", "milliseconds", "percentile"),
    [
        ("API response time: <200ms p95", 200, 95),
        ("- Database query time: <50ms p95", 50, 95),
        ("| NFR-1 | CRUD response time | < 500ms (p95) |", 500, 95),
        ("95% of requests <200ms", 200, 95),
        ("p99 under 1.5 s", 1500, 99),
        ("search within 1,000 ms", 1000, None),
    ],
)
def test_sentences_about_times_are_understood(line, milliseconds, percentile):
    (limit,) = understood(f"# Goals\n{line}\n", "plan.md", "performance_spec").limits
    assert (limit.milliseconds, limit.percentile, limit.source) == (milliseconds, percentile, "plan.md:2")


def test_what_is_struck_out_is_no_target():
    assert understood("~~<200ms p95~~ dropped\n", "p.md", "performance_spec").limits == ()


@pytest.mark.requirement("C76")
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("- NO NoSQL databases (MongoDB, Redis, etc.)", ["redis"]),
        ("- No file persistence or caching", ["caching"]),
        ("Redis is not allowed.", ["redis"]),
        ("You must not use any caching.", ["caching"]),
        ("- Never cache passwords or tokens", []),
        ("- Redis is used for sessions", []),
        ("- Caching must be invalidated on writes", []),
        ("- Do not serve stale cache entries", []),
    ],
)
def test_what_a_constitution_forbids(line, what):
    found = understood(f"# Rules\n## Phase I\n{line}\n", "constitution.md", "constitution").prohibitions
    assert [one.what for one in found] == what
    assert all("Phase I" in one.quote and one.source == "constitution.md:3" for one in found)


@pytest.mark.requirement("#366", "C60")
@pytest.mark.parametrize(
    "config",
    [
        "name: todo\nversion: '1.0'\nstructure: {specs_dir: docs, api_dir: docs/api}\nphases: [{name: one, features: []}]\n",
        "structure: {specs_dir: docs}\nfeatures: [{name: a, path: b}]\nstack: {backend: FastAPI}\nconventions: []\n",
        "project: {name: a}\ndirectories: {specs: docs}\nphases: [{phase1: text}]\n",
        "specs_root: docs\ndefaults: {api_folder: docs/api}\nreferences: {prefix: '@specs'}\n",
    ],
)
def test_the_configuration_tells_where_files_are_in_four_shapes(tmp_path, config):
    found = project(tmp_path, **{".spec-kit/config.yaml": config, "docs/api/rest.md": "### GET /tasks\n"})
    assert [one.subject for one in found.endpoints] == ["GET /tasks"]
    assert found.sources == (".spec-kit/config.yaml", "docs/api/rest.md")


@pytest.mark.requirement("#365", "#366", "#368", "C60")
def test_nothing_fails_where_there_is_nothing(tmp_path):
    found = project(tmp_path)
    assert (found.endpoints, found.tables, found.warnings) == ((), (), ())


@pytest.mark.requirement("#367", "#368", "#371")
@pytest.mark.parametrize(
    "name", ["specs/architecture.md", "specs/architecture/system.md", "specs/performance/goals.md"]
)
def test_specifications_of_architecture_and_performance_are_found_and_read(tmp_path, name):
    found = project(tmp_path, **{name: "# System\nAPI response time: <200ms p95\n"})
    assert [(limit.milliseconds, limit.source) for limit in found.limits] == [(200, f"{name}:2")]
    assert found.sources == (name,)


@pytest.mark.requirement("#365", "#366", "C60")
@pytest.mark.parametrize("name", ["specs/.spec-kit/schema.md", "specs/.spec-kit/config.md"])
def test_schema_and_configuration_in_markdown_tell_where_files_are(tmp_path, name):
    text = "# Where things are\n```yaml\nstructure: {specs_dir: docs}\n```\n"
    found = project(tmp_path, **{name: text, "docs/api/rest.md": "### GET /tasks\n"})
    assert [one.subject for one in found.endpoints] == ["GET /tasks"]
    assert found.sources == (name, "docs/api/rest.md")


def test_a_broken_configuration_fails_nothing(tmp_path):
    found = project(tmp_path, **{".spec-kit/config.yaml": "a: [", "specs/api/rest.md": "### GET /tasks\n"})
    assert [one.subject for one in found.endpoints] == ["GET /tasks"]


@pytest.mark.requirement("#384", "C61")
@pytest.mark.parametrize(
    "name",
    ["specs/performance/p.md", "/specs/performance/p.md", "performance/p.md", "@specs/performance/p.md"],
)
def test_a_document_is_found_by_any_spelling_of_its_path(tmp_path, name):
    path = tmp_path / "specs/performance/p.md"
    path.parent.mkdir(parents=True)
    path.write_text("p95 < 200ms\n")
    found = said(tmp_path, performance_spec=name)
    assert found.sources == ("specs/performance/p.md",)


@pytest.mark.requirement("C61")
def test_no_document_outside_of_the_project_is_read(tmp_path):
    inside = tmp_path / "project"
    inside.mkdir()
    (tmp_path / "secret.md").write_text("p95 < 200ms\n")
    (inside / "link.md").symlink_to(tmp_path / "secret.md")
    for name in ("../secret.md", str(tmp_path / "secret.md"), "link.md"):
        found = said(inside, performance_spec=name)
        assert found.limits == ()
        assert found.warnings


def test_the_first_document_counts_and_the_stricter_word_on_security(tmp_path):
    open_ = understood("### GET /tasks\nno auth\n", "a.md", "api")
    shut = understood("### GET /tasks?page=1\nauth required\n", "b.md", "api")
    (endpoint,) = joined([open_, shut]).endpoints
    assert endpoint.secured is True
    assert [one.name for one in endpoint.parameters] == ["page"]
    assert endpoint.source == "a.md"


def test_words_in_the_description_of_a_parameter_are_no_heading():
    text = """\
# API
All endpoints (except login) require a valid JWT token.

**GET** `/api/{user_id}/tasks`

**Query Parameters:**
- `status` (string, optional) - Filter by status: `"all"`, `"pending"`
- `filter` (string, optional) - Query parameters of a search
- `sort` (string)

**Response (200 OK):**
- `id`: integer
"""
    (endpoint,) = understood(text, "api.md", "backend_spec").endpoints
    assert [one.name for one in endpoint.parameters if one.where == "query"] == ["status", "filter", "sort"]
    assert endpoint.secured is True
