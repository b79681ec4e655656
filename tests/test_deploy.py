"""What can be said of the files for deployment without a container engine: they parse, and name what there is."""

import configparser
import re
import shlex
from pathlib import Path

import typer
import yaml

from cachewright.cli.commands import app
from cachewright.integrations.admin import PREFIX, PROBES, routes

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
FILES = sorted(DEPLOY.iterdir())
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in FILES}


def documents(name: str) -> list:
    return list(yaml.safe_load_all(TEXTS[name]))


def test_every_variable_is_one_that_is_read():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = {name for text in TEXTS.values() for name in re.findall(r"CACHEWRIGHT_[A-Z_]+", text)}
    assert named
    assert [name for name in sorted(named) if f'"{name}"' not in source] == []


def test_every_path_of_the_door_is_one_that_is_answered():
    known = {f"{PREFIX}{route.path}" for route in (*PROBES, *routes())}
    named = {path for text in TEXTS.values() for path in re.findall(rf"{PREFIX}/\w+", text)}
    assert named
    assert named - known == set()


def test_every_command_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service = configparser.ConfigParser(strict=False, interpolation=None)
    service.optionxform = str
    service.read_string(TEXTS["cachewright.service"])
    words = shlex.split(service["Service"]["ExecStart"])
    entry = re.search(r"^ENTRYPOINT (.*)$", TEXTS["Containerfile"], re.MULTILINE)[1]
    arguments = re.search(r"^CMD (.*)$", TEXTS["Containerfile"], re.MULTILINE)[1]
    serve = typer.main.get_command(app).commands["serve"]
    (tmp_path / "caching.yaml").touch()
    for line in (words[1:], [*yaml.safe_load(entry)[1:], *yaml.safe_load(arguments)]):
        assert line[0] == "serve"
        serve.make_context("serve", [word.replace("/etc/cachewright/", "") for word in line[1:]])


def test_nothing_runs_as_root_and_no_secret_stands_in_a_file():
    assert re.search(r"^USER 10001$", TEXTS["Containerfile"], re.MULTILINE)
    _, deployment = documents("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    for variable in pod["containers"][0]["env"]:
        secret = variable["name"].endswith(("_SECRET", "_TOKEN"))
        assert ("valueFrom" in variable) is secret
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if name.endswith(("_SECRET", "_TOKEN", "_PASSWORD")):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?\}", value)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_what_is_copied_and_mounted_is_there():
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXTS["Containerfile"], re.MULTILINE):
        assert [name for name in source.split() if not (ROOT / name).exists()] == []
    (compose,) = documents("compose.yaml")
    mounted = [volume.partition(":")[0] for volume in compose["services"]["prometheus"]["volumes"]]
    assert all((DEPLOY / name).is_file() for name in mounted)
    (prometheus,) = documents("prometheus.yaml")
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["app:8000"]
