import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.servers import ServedProcess, free_port, serve_process

TODO = Path(__file__).parents[2] / "examples" / "todo"
SMALL = 0.05


@pytest.fixture(scope="session")
def todo_folder() -> Path:
    return TODO


@pytest.fixture(scope="session")
def todo_scale() -> float:
    """The scale of the database that the served example has."""
    return SMALL


@pytest.fixture(scope="session")
def todo_modules() -> Iterator[dict[str, ModuleType]]:
    """The example's plain modules, imported as a user in that folder imports them, and forgotten afterwards."""
    sys.path.insert(0, str(TODO))
    before = set(sys.modules)
    try:
        import dataset
        import load
        import seed
        import visitors

        yield {"dataset": dataset, "load": load, "seed": seed, "visitors": visitors}
    finally:
        sys.path.remove(str(TODO))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"app", "dataset", "load", "seed", "visitors"}:
                del sys.modules[name]


@pytest.fixture(scope="session")
def todo_database(todo_modules, tmp_path_factory) -> str:
    """The URL of a small seeded database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('todo') / 'todo.db'}"
    todo_modules["seed"].seed(url, scale=SMALL)
    return url


@pytest.fixture(scope="session")
def todo_server(todo_database) -> Iterator[str]:
    """The base URL of the example, served by uvicorn in a process of its own."""
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    with serve_process(
        argv, {"TODO_DATABASE_URL": todo_database}, r"Uvicorn running on (http://\S+)", cwd=TODO
    ) as served:
        yield base_url(served)


def base_url(served: ServedProcess) -> str:
    assert served.ready is not None
    return served.ready.group(1)
