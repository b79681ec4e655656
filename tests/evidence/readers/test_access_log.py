"""Access logs: each format, real lines, and lines that are broken."""

import gzip
import json

import cramjam
import pytest

from cachewright.errors import EvidenceError
from cachewright.evidence.readers.access_log import FORMATS, format_of, visits
from cachewright.evidence.readers.files import lines
from cachewright.evidence.readers.sources import visits_of
from cachewright.evidence.readers.visits import Skipped

COMBINED = '203.0.113.9 - ann [17/May/2015:10:05:03 +0200] "GET /a/b?x=1 HTTP/1.1" 200 2326 "https://x/" "Mozilla \\"5\\""'
COMMON = '203.0.113.9 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.0" 304 -'
UVICORN = 'INFO:     127.0.0.1:54321 - "GET /api/tasks?done=1 HTTP/1.1" 200 OK'
TIMED_UVICORN = (
    '2026-01-31 12:00:00,500 INFO [uvicorn.access] 10.0.0.1:54321 - "POST /api/tasks HTTP/1.1" 201'
)
EVENTLET = (
    "nova-api.log 2017-05-16 00:00:00.500 25746 INFO nova.wsgi [req-38101a0b-2096 u1 t1 - - -] 10.11.10.1 "
    '"GET /v2/t1/servers HTTP/1.1" status: 200 len: 1893 time: 0.25'
)
NGINX = json.dumps({
    "time_iso8601": "2026-01-31T12:00:01+00:00", "remote_addr": "10.0.0.1", "request": "GET /a?x=1 HTTP/2.0",
    "status": "200", "body_bytes_sent": "512", "request_time": "0.250", "http_user_agent": "curl",
})  # fmt: skip
CADDY = json.dumps({
    "level": "info", "ts": 1646861401.5, "logger": "http.log.access", "msg": "handled request",
    "request": {"remote_ip": "10.0.0.1", "method": "GET", "host": "x", "uri": "/a", "headers": {"Cookie": ["REDACTED"], "User-Agent": ["curl"]}},
    "duration": 0.5, "size": 100, "status": 200, "resp_headers": {"Cache-Control": ["private, max-age=3"], "Set-Cookie": ["REDACTED"]},
})  # fmt: skip


def read(name, line):
    return FORMATS[name](line)


def test_the_combined_format():
    visit = read("combined", COMBINED)
    assert (visit.method, visit.target, visit.status, visit.size) == ("GET", "/a/b?x=1", 200, 2326)
    assert visit.at == 1431849903
    assert (visit.who, visit.certain) == ("ann", True)
    assert visit.seconds is None


def test_the_common_format_tells_clients_by_their_address():
    visit = read("combined", COMMON)
    assert (visit.status, visit.size, visit.certain) == (304, 0, False)
    assert "203.0.113.9" in visit.who


def test_uvicorn_tells_no_time_unless_it_was_told_to():
    assert read("uvicorn", UVICORN).at is None
    assert read("uvicorn", TIMED_UVICORN).at == 1769860800.5


def test_eventlet_names_the_user_and_writes_when_the_request_is_over():
    visit = read("eventlet", EVENTLET)
    assert visit.at == pytest.approx(1494892800.25)
    assert (visit.seconds, visit.size, visit.who) == (0.25, 1893, "u1 t1")


def test_nginx_writes_when_the_request_is_over():
    visit = read("nginx-json", NGINX)
    assert (visit.target, visit.status, visit.size, visit.seconds) == ("/a?x=1", 200, 512, 0.25)
    assert visit.at == pytest.approx(1769860800.75)


def test_caddy_a_redacted_credential_is_none():
    visit = read("caddy-json", CADDY)
    assert (visit.certain, visit.set_cookie) == (False, True)
    assert visit.cache_control == {"private", "max-age"}
    assert visit.at == pytest.approx(1646861401.0)


@pytest.mark.parametrize(
    ("name", "line"),
    [("combined", COMBINED), ("combined", COMMON), ("uvicorn", UVICORN), ("eventlet", EVENTLET), ("nginx-json", NGINX), ("caddy-json", CADDY)],
)  # fmt: skip
def test_the_format_is_found_although_lines_are_broken(tmp_path, name, line):
    path = tmp_path / "log"
    path.write_text(f"garbage\n{line}\n\x16\x03\x01\n{line}\n")
    assert format_of(path) == name


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: bytes(cramjam.zstd.compress(data))])
def test_broken_lines_are_skipped_and_told_by_number_whatever_a_log_is_packed_in(tmp_path, pack):
    broken = [
        "garbage",
        COMBINED.replace("17/May/2015", "99/May/2015"),
        COMBINED.replace('"GET /a/b?x=1 HTTP/1.1"', '"\\x16\\x03\\x01"'),
        "x" * 100_000,
        '{"status": "200"',
    ]
    path = tmp_path / "log"
    path.write_bytes(pack("\n".join([COMBINED, *broken, "", COMMON]).encode()))
    skipped = Skipped()
    assert len(list(visits([path], None, skipped))) == 2
    assert skipped.count == 5
    assert [place.partition(": ")[0] for place in skipped.first] == [
        f"{path}:{number}" for number in range(2, 7)
    ]
    assert "garbage" not in "".join(skipped.first), "what is broken may be a secret"


@pytest.mark.parametrize(
    "line", ["[1]", '{"status": 200, "request": 3}', '{"request": {"uri": 5}, "status": []}', "{}", "null"]
)
@pytest.mark.parametrize("name", list(FORMATS))
def test_odd_json_never_raises(tmp_path, name, line):
    path = tmp_path / "log"
    path.write_text(f"{line}\n")
    skipped = Skipped()
    assert list(visits([path], name, skipped)) == []
    assert skipped.count == 1


def test_what_is_no_log_says_which_formats_there_are(tmp_path):
    path = tmp_path / "log"
    path.write_text("nothing\n")
    with pytest.raises(EvidenceError, match="--format combined"):
        list(visits_of([path], None, Skipped()))
    path.write_bytes(gzip.compress(b"x" * 10_000)[:30])
    with pytest.raises(EvidenceError, match="cannot be read"):
        list(visits_of([path], None, Skipped()))


def test_a_bomb_of_zstandard_ends_with_words_at_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("cachewright.evidence.readers.files.MOST_UNPACKED", 1 << 20)
    (tmp_path / "log").write_bytes(bytes(cramjam.zstd.compress(b"x" * (1 << 24))))
    with pytest.raises(EvidenceError, match="more than 1 MB"):
        list(lines(tmp_path / "log"))


def test_a_line_without_an_end_is_one_that_is_too_long(tmp_path):
    (tmp_path / "log").write_bytes(gzip.compress(b"x" * (1 << 24) + b"\nshort\n"))
    assert list(lines(tmp_path / "log")) == [(1, None), (2, "short")]
