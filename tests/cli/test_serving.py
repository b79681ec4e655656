import socket

import pytest
import typer

from cachewright.cli.serving import listening
from cachewright.cli.uvicorn_options import scheme_of, uvicorn_options
from cachewright.errors import SurroundingsError


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = listening("127.0.0.1", port)
        with pytest.raises(SurroundingsError, match=f"port {port} on 127.0.0.1 is in use"), refused:
            pass


def test_port_zero_takes_a_free_one_and_the_url_tells_which():
    with listening("127.0.0.1", 0) as bound:
        assert bound.url == f"http://127.0.0.1:{bound.socket.getsockname()[1]}"
    assert bound.socket.fileno() == -1


def test_a_host_that_is_not_ours_is_named():
    refused = listening("192.0.2.1", 8000)
    with pytest.raises(SurroundingsError, match=r"cannot listen on 192\.0\.2\.1:8000"), refused:
        pass


def test_uvicorn_reads_its_own_arguments():
    options = uvicorn_options(["--log-level", "warning", "--no-access-log", "--header", "x-a:b:c"])
    assert options["log_level"] == "warning"
    assert options["access_log"] is False
    assert options["headers"] == [("x-a", "b:c")]
    assert "port" not in options


def test_the_access_log_does_not_go_to_stdout():
    handlers = uvicorn_options(None)["log_config"]["handlers"]
    assert {handler["stream"] for handler in handlers.values()} == {"ext://sys.stderr"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "1"], "before --"),
        (["--workers", "2"], "before --"),
        (["--reload"], "not reloaded"),
        (["--no-such"], "no such option"),
        (["stray"], "unexpected extra argument"),
    ],
)
def test_what_uvicorn_may_not_decide_here_is_refused(arguments, says):
    with pytest.raises(typer.BadParameter, match=f"(?i){says}"):
        uvicorn_options(arguments)


def test_a_certificate_means_https():
    assert scheme_of({"ssl_certfile": "cert.pem"}) == "https"
    assert scheme_of({}) == "http"
