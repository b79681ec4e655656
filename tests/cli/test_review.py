"""`cachewright review` on what a shadow run wrote."""

import json
import subprocess
import sys

import httpx
import pytest
from tests.apps import blog
from tests.design.test_review import SPEC
from tests.end_to_end.test_main_job import READY, ROOT
from tests.servers import serve_process

CACHEWRIGHT = (sys.executable, "-m", "cachewright")


def run(*arguments):
    return subprocess.run([*CACHEWRIGHT, "review", *arguments], capture_output=True, text=True, check=False)


def test_without_anything_to_look_at_it_says_what_to_give(tmp_path):
    path = tmp_path / "caching.yaml"
    path.write_text(SPEC)
    done = run(str(path))
    assert done.returncode == 2
    assert "--findings" in done.stderr


@pytest.mark.requirement("#378", "#405")
def test_a_shadow_run_of_a_server_is_reviewed(tmp_path):
    url = f"sqlite:///{tmp_path}/blog.db"
    blog.seed(url)
    spec, findings, figures = tmp_path / "caching.yaml", tmp_path / "findings.jsonl", tmp_path / "figures"
    figures.mkdir()
    spec.write_text(
        """caching_specification:
  namespace: blog
  cache_targets:
  - endpoint: GET /articles/{slug}   # the front page
    cache_key_pattern: "article:{slug}"
    scope: public
    depends_on: ["articles(slug={slug})", "comments(article_id={*})"]
    """
    )
    command = [*CACHEWRIGHT, "serve", "tests.apps.blog:app", "--spec", str(spec), "--port", "0", "--shadow"]
    environment = {"APP_DATABASE_URL": url, "CACHEWRIGHT_STATS_DIR": str(figures)}
    with (
        serve_process([*command, "--findings", str(findings)], environment, READY, cwd=ROOT) as process,
        httpx.Client(base_url=process.ready[1], timeout=30) as client,
    ):
        before = client.get("/articles/article-1").json()
        engine = blog.create_engine(url)
        with engine.begin() as connection:  # of another process
            connection.exec_driver_sql("UPDATE comments SET text = 'other' WHERE article_id = 1")
        engine.dispose()
        assert client.get("/articles/article-1").json() != before
    done = run(str(spec), "--findings", str(findings), "--stats", str(figures), "--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert [remark["kind"] for remark in answer["remarks"]] == ["stale"]
    assert "+    mode: shadow" in answer["diff"]
