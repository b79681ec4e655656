import socket

import pytest
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


def test_a_port_in_use_ends_with_three_and_no_traceback(shell, spec):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("record", "serve", "verify"):
            more = () if command == "record" else ("--spec", spec)
            twin = ("--twin",) if command == "verify" else ()
            refused = shell.run(command, "shop:app", *more, *twin, "--port", port)
            assert refused.returncode == 3
            assert f"port {port} on 127.0.0.1 is in use" in refused.stderr
            assert "Traceback" not in refused.stderr


def test_a_missing_module_or_attribute_ends_with_three_and_says_where_it_looked(shell):
    missing = shell.run("record", "nowhere.main:app", "--port", "0")
    assert missing.returncode == 3
    assert f"there is no module 'nowhere' (looked from {shell.directory}" in missing.stderr
    attribute = shell.run("record", "shop:application", "--port", "0")
    assert attribute.returncode == 3
    assert "has no attribute 'application'" in attribute.stderr
    assert "It has app" in attribute.stderr


def test_output_that_nobody_reads_any_more_is_no_error(shell):
    import subprocess

    from tests.cli.conftest import CACHEWRIGHT

    piped = subprocess.run(
        f"{' '.join(CACHEWRIGHT)} schema | head -n 1",
        shell=True,  # noqa: S602 - a pipe is what this is about
        capture_output=True,
        text=True,
        env=shell.environment,
        check=False,
    )
    assert piped.stdout == "{\n"
    assert piped.stderr == ""
