import socket
import subprocess

import pytest
from tests.cli.conftest import CACHEWRIGHT

from cachewright.cli.main import ENVIRONMENT, USAGE, exit_code, run
from cachewright.errors import ApplicationError, EvidenceError, SpecError, SurroundingsError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("x"), USAGE),
        (EvidenceError("x"), USAGE),
        (ApplicationError("x"), ENVIRONMENT),
        (SurroundingsError("x"), ENVIRONMENT),
    ],
)
def test_input_is_usage_and_surroundings_are_environment(error, code):
    assert exit_code(error) == code


def test_a_missing_package_names_the_command_that_brings_it(capsys, monkeypatch):
    def missing(**_options):
        raise ModuleNotFoundError("No module named 'sqlglot'", name="sqlglot")

    monkeypatch.setattr("cachewright.cli.commands.app", missing)
    with pytest.raises(SystemExit) as exited:
        run([])
    assert exited.value.code == 3
    assert "pip install 'cachewright[sqlalchemy]'" in capsys.readouterr().err


def test_a_module_that_no_extra_brings_is_not_explained_away(monkeypatch):
    def missing(**_options):
        raise ModuleNotFoundError("No module named 'zzz'", name="zzz")

    monkeypatch.setattr("cachewright.cli.commands.app", missing)
    with pytest.raises(ModuleNotFoundError):
        run([])


def test_a_directory_that_cannot_be_written_is_named(capsys, monkeypatch):
    def refused(**_options):
        raise PermissionError(13, "Permission denied", "/nowhere/caching.yaml")

    monkeypatch.setattr("cachewright.cli.commands.app", refused)
    with pytest.raises(SystemExit) as exited:
        run([])
    assert exited.value.code == 3
    assert "/nowhere/caching.yaml: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["record", "serve", "verify"])
def test_a_port_in_use_ends_with_three_and_one_message(command, spec, name):
    more = {"record": (), "serve": ("--spec", spec), "verify": ("--spec", spec, "--twin")}[name]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = command(name, "shop:app", *more, "--port", str(port))
    assert (code, out) == (3, "")
    assert err.startswith(f"error: port {port} on 127.0.0.1 is in use [CWE301]\n")


def test_a_missing_module_says_where_it_was_looked_for(command, tmp_path):
    code, out, err = command("record", "nowhere.main:app", "--port", "0")
    assert (code, out) == (3, "")
    assert f"there is no module 'nowhere' (looked from {tmp_path}" in err


def test_a_missing_attribute_says_what_there_is(command, tmp_path):
    (tmp_path / "small_application.py").write_text("def app(scope, receive, send): ...\n")
    code, out, err = command("record", "small_application:application", "--port", "0")
    assert (code, out) == (3, "")
    assert "has no attribute 'application'" in err
    assert "It has app." in err


def test_output_that_nobody_reads_any_more_is_no_error(shell):
    writer = subprocess.Popen(
        [*CACHEWRIGHT, "schema"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.close()
        assert writer.stderr.read() == ""
    assert writer.returncode == 1
