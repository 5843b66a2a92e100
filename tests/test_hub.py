"""Hub ids against a server of the test's own: what it answers, kvcalc says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

import kvcalc
from refusals import LLAMA, Result, assert_refused, quickly

pytest.importorskip("huggingface_hub")
CONFIG = json.dumps(LLAMA).encode()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Answers by the repository's name, and remembers what it was asked for."""

    asked: ClassVar[list[str]] = []
    agents: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        self.agents.append(self.headers.get("Authorization", ""))
        repo = self.path.split("/")[2] if self.path.count("/") > 2 else ""
        if repo in ("fine", "Llama-3.1-8B") and "/gone/" not in self.path:
            self.send(200, CONFIG, body=body)
        elif repo == "fine":
            self.send(404, b"", body=body, code="RevisionNotFound")
        elif repo == "huge":
            self.send(200, b"{}", body=body, length=5_000_000_000)
        elif repo == "html":
            self.send(200, b"<!DOCTYPE html><title>Sign in</title>", body=body)
        elif repo == "broken":
            self.send(200, b'{"model_type": ', body=body)
        elif repo == "gated":
            self.send(401, b"", body=body, code="GatedRepo")
        elif repo == "private":
            self.send(401, b"", body=body, code="RepoNotFound")
        elif repo == "empty":
            self.send(404, b"", body=body, code="EntryNotFound")
        elif repo == "failing":
            self.send(503, b"", body=body)
        elif repo == "slow":
            time.sleep(3)
            self.send(200, CONFIG, body=body)
        elif repo == "drip":
            self.send(200, b"", body=body, length=400)
            for _ in range(100 if body else 0):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        elif repo == "circle":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send(404, b"", body=body, code="RepoNotFound")

    def send(self, status: int, data: bytes, *, body: bool, code: str = "", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("ETag", f'"{abs(hash(data)):x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def run(endpoint: str, home: Path, *arguments: str, deadline: float = 20, **more: str) -> Result:
    """The command line in a process of its own, whose hub is the test's: the library reads its settings once."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    proxies = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    program = (
        f"from kvcalc.readers import hub; hub.DEADLINE_SECONDS = {deadline}; hub.TIMEOUT_SECONDS = 1.0\n"
        "from kvcalc.cli.start import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={**kept, **proxies, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), **more},
        check=False,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_config_is_fetched_and_nothing_else(endpoint: str, tmp_path: Path) -> None:
    Hub.asked.clear()
    (tmp_path / "config.json").write_bytes(CONFIG)
    done = run(endpoint, tmp_path / "home", "compare", "hf:org/fine", "--format", "csv", "--variants", "none")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].startswith("fine,configured,MHA,4,")
    assert {path for path in Hub.asked if "agent-harnesses" not in path} == {"/org/fine/resolve/main/config.json"}


def test_a_revision_is_asked_for_and_a_name_keeps_its_dots(endpoint: str, tmp_path: Path) -> None:
    Hub.asked.clear()
    done = run(endpoint, tmp_path, "compare", "hf:org/Llama-3.1-8B@v2.0", "--format", "csv", "--variants", "none")
    assert done.out.splitlines()[1].startswith("Llama-3.1-8B,configured")
    assert any(path == "/org/Llama-3.1-8B/resolve/v2.0/config.json" for path in Hub.asked)


def test_what_is_cached_serves_offline_and_where_the_hub_is_down(endpoint: str, tmp_path: Path) -> None:
    first = run(endpoint, tmp_path, "compare", "hf:org/fine", "--format", "csv")
    Hub.asked.clear()
    offline = run(endpoint, tmp_path, "compare", "hf:org/fine", "--format", "csv", HF_HUB_OFFLINE="1")
    assert Hub.asked == []
    down = run("http://127.0.0.1:9", tmp_path, "compare", "hf:org/fine", "--format", "csv")
    assert first.out == offline.out == down.out
    assert first.out
    refused = run(endpoint, tmp_path, "compare", "hf:org/other", HF_HUB_OFFLINE="1")
    assert_refused(refused, "hf:org/other: HF_HUB_OFFLINE is set", "not in the cache")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf:org/nothing", ["hf:org/nothing: no such repository"]),
        ("hf:org/private", ["no such repository, or a private one", "hf auth login"]),
        ("hf:org/gated", ["a gated repository", "accept its licence at http://127.0.0.1", "hf auth login"]),
        ("hf:org/fine@gone", ["there is no revision 'gone'"]),
        ("hf:org/empty", ["has no config.json"]),
        ("hf:org/failing", ["failed (HTTP 503)", "not in the cache"]),
        ("hf:org/slow", ["did not answer in time"]),
        ("hf:org/circle", ["redirects without end"]),
        ("hf:org/html", ["a web page, not JSON"]),
        ("hf:org/broken", ["hf:org/broken/config.json:1:16: not JSON"]),
        ("hf:org/huge", ["5,000,000,000 bytes: not a model config"]),
    ],
)
def test_what_went_wrong_is_said_with_the_repository(
    source: str, parts: list[str], endpoint: str, tmp_path: Path
) -> None:
    assert_refused(run(endpoint, tmp_path, "compare", source), source.partition("@")[0], *parts)


def test_a_server_that_sends_a_byte_at_a_time_is_given_up(endpoint: str, tmp_path: Path) -> None:
    start = time.monotonic()
    done = run(endpoint, tmp_path, "compare", "hf:org/drip", deadline=2)
    assert_refused(done, "hf:org/drip: no answer within 2 seconds")
    assert time.monotonic() - start < 15


def test_a_hub_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert_refused(
        run("http://127.0.0.1:9", tmp_path, "compare", "hf:org/fine"), "http://127.0.0.1:9 cannot be reached"
    )


def test_a_token_is_the_librarys_business(endpoint: str, tmp_path: Path) -> None:
    """huggingface_hub sends HF_TOKEN where it is set; kvcalc never prints it."""
    Hub.agents.clear()
    done = run(endpoint, tmp_path, "compare", "hf:org/gated", HF_TOKEN="hf_secret")  # noqa: S106  # no token
    assert any("hf_secret" in sent for sent in Hub.agents)
    assert "hf_secret" not in done.out + done.err


@pytest.mark.parametrize(
    "source", ["hf:", "hf:a/b/c", "hf:../x", "hf:org/name@", "hf:org/na me", "hf:org/name@-x", "hf:http://x/y"]
)
def test_what_names_no_repository_is_refused_without_asking(source: str) -> None:
    assert_refused(quickly("compare", source), "names no repository")


def test_only_what_is_called_so_touches_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.chdir(tmp_path)
    assert kvcalc.load("deepseek-ai/DeepSeek-V2").name == "deepseek-v2"
    for source in ("org/fine", "HF:org/fine"):
        with pytest.raises(kvcalc.KvcalcError):
            kvcalc.load(source)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert_refused(quickly("compare", "hf:org/fine"), "needs huggingface_hub", "pip install 'kvcalc[hub]'")
