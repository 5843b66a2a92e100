"""The network: only `hf:` ever opens a socket, and whatever the server does there, time and size are bounded.

A hub and another host on this machine: the hub misbehaves by the repository's name, the other host writes down what
it is sent. One process asks for all of them at once, with every library's log on stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from kvcalc.cli.app import COMMANDS
from kvcalc.readers.text import MAX_BYTES
from refusals import LLAMA, NATIVE
from screens import environment, write

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = json.dumps(LLAMA).encode()
SECRET = "hf_SeCrEtToKeN"  # noqa: S105  # no token of anybody
DEADLINE_SECONDS = 6
BOMB_BYTES = 1 << 30


class Hub(BaseHTTPRequestHandler):
    """A hub of bad habits, and the host beside it."""

    elsewhere: ClassVar[str] = ""
    sent: ClassVar[list[tuple[str, str]]] = []  # the host that was asked, and everything that it was sent
    written: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.sent.append((str(self.headers["Host"]), f"{self.path}\n{self.headers}"))
        repo = self.path.split("/")[2] if self.path.count("/") > 2 else self.path
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"do_{repo}", self.do_missing)(body)

    def say(self, status: int, length: int | None = len(CONFIG), **headers: str) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"1"', "X-Repo-Commit": "0" * 40, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def do_missing(self, body: bool) -> None:
        self.say(404, 0, X_Error_Code="RepoNotFound")

    def do_fine(self, body: bool) -> None:
        self.say(200)
        self.wfile.write(CONFIG if body else b"")

    def do_slow(self, body: bool) -> None:
        time.sleep(DEADLINE_SECONDS + 2)

    def do_drip(self, body: bool) -> None:
        self.say(200)
        for _ in range(100 if body else 0):
            self.wfile.write(b" ")
            time.sleep(0.2)

    def do_cut(self, body: bool) -> None:
        self.say(200)
        self.wfile.write(CONFIG[:20] if body else b"")
        self.close_connection = True

    def do_longer(self, body: bool) -> None:
        self.say(200, len(CONFIG) - 7)
        self.wfile.write(CONFIG if body else b"")

    def do_other(self, body: bool) -> None:
        self.say(200, len(CONFIG) + (9 if body else 0))
        self.wfile.write(CONFIG + b" " * 9 if body else b"")

    def do_huge(self, body: bool) -> None:
        self.say(200, 5_000_000_000)

    def do_endless(self, body: bool) -> None:
        self.say(200, None if body else len(CONFIG))
        while body:
            self.wfile.write(bytes(1 << 16))
            Hub.written += 1 << 16

    def do_bomb(self, body: bool) -> None:
        if not body:
            self.say(200)
            return
        self.say(200, None, Content_Encoding="gzip")
        packer = zlib.compressobj(9, wbits=31)
        for _ in range(BOMB_BYTES >> 20):
            self.wfile.write(packer.compress(bytes(1 << 20)))
        self.wfile.write(packer.flush())

    def do_away(self, body: bool) -> None:
        self.say(302, 0, Location=f"{Hub.elsewhere}/org/fine/resolve/main/config.json", X_Linked_Size=str(len(CONFIG)))

    def do_file(self, body: bool) -> None:
        self.say(302, 0, Location="file:///etc/passwd")

    def do_circle(self, body: bool) -> None:
        self.say(302, 0, Location=self.path)

    def do_xet(self, body: bool) -> None:
        link = f'<{Hub.elsewhere}/org/missing>; rel="xet-auth"'
        self.say(200, X_Xet_Hash="0" * 64, Link=link, X_Linked_Size=str(len(CONFIG)))
        self.wfile.write(CONFIG if body else b"")

    def do_refused(self, body: bool) -> None:
        self.say(401, 0)

    def do_forbidden(self, body: bool) -> None:
        self.say(403, 0)

    def do_busy(self, body: bool) -> None:
        self.say(429, 0, Retry_After="3600")

    def do_busily(self, body: bool) -> None:
        self.say(429 if body else 200, 0 if body else len(CONFIG), Retry_After="3600")

    def do_failing(self, body: bool) -> None:
        self.say(503, 0)

    def do_fails(self, body: bool) -> None:
        self.say(500 if body else 200, 0 if body else len(CONFIG))

    def do_echo(self, body: bool) -> None:
        """What it was sent comes back in every place that an error may quote."""
        told = str(self.headers.get("Authorization"))
        self.say(400, 0, X_Error_Message=told, X_Request_Id=told, X_Error_Code=told)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


REFUSED = {  # by the repository's name: what is said
    "missing": "no such repository",
    "slow": "did not answer in time",
    "drip": f"no answer within {DEADLINE_SECONDS} seconds",
    "cut": "",  # as many tries as the library has time for
    "longer": "not JSON",
    "other": "not as long as it announced",
    "huge": "5,000,000,000 bytes: not a model config",
    "endless": f"larger than {MAX_BYTES:,} bytes",
    "bomb": "",  # of a slow machine the time is over before
    "file": "",
    "circle": "redirects without end",
    "refused": "access is refused (HTTP 401)",
    "forbidden": "access is refused (HTTP 403)",
    "busy": "too many requests (HTTP 429)\n  try again in 3600 seconds",
    "busily": f"no answer within {DEADLINE_SECONDS} seconds",
    "failing": "failed (HTTP 503)",
    "fails": "failed (HTTP 500)",
    "echo": "the server refused it (HTTP 400)",
}
READ = ("fine", "away", "xet")  # elsewhere, as the hub itself sends large files, but without the token
ASK = f"""
import json, logging, os, sys, time
from concurrent.futures import ThreadPoolExecutor
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
import huggingface_hub
import kvcalc
from kvcalc.readers import hub
hub.DEADLINE_SECONDS, hub.TIMEOUT_SECONDS = {DEADLINE_SECONDS}, 3.0
def ask(name):
    start = time.monotonic()
    try:
        told = kvcalc.load(f"hf:org/{{name}}").name
    except kvcalc.KvcalcError as error:
        told = str(error)
    return told, time.monotonic() - start
names = sys.argv[1:]
with ThreadPoolExecutor(len(names)) as pool:
    print(json.dumps(dict(zip(names, pool.map(ask, names)))))
sys.stdout.flush()
status = "/proc/self/status"  # ru_maxrss would be that of the process that started this one
print(open(status).read().partition("VmHWM:")[2].split()[0] if os.path.exists(status) else 0)
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every repository once; what was said, how long it took, what the libraries logged and what the cache holds."""
    pytest.importorskip("huggingface_hub")
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Hub) for _ in range(2)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    hub, Hub.elsewhere = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    home = tmp_path_factory.mktemp("home")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_ENDPOINT": hub, "HF_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *REFUSED, *READ],
        capture_output=True,
        text=True,
        env={**kept, "HF_TOKEN": SECRET},
        check=True,
        timeout=120,
    )
    for server in servers:
        server.shutdown()
        server.server_close()
    told, peak = done.stdout.splitlines()
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, files in os.walk(home) for name in files)
    return {
        "told": json.loads(told),
        "peak": int(peak),
        "log": done.stderr,
        "out": done.stdout,
        "size": size,
        "hub": hub,
    }


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_a_server_does_is_one_error_in_bounded_time(name: str, asked: dict[str, Any]) -> None:
    told, seconds = asked["told"][name]
    assert told.startswith(f"hf:org/{name}")
    assert REFUSED[name] in told
    assert seconds < DEADLINE_SECONDS + 3


@pytest.mark.parametrize("name", READ)
def test_what_is_sent_as_it_should_be_is_read(name: str, asked: dict[str, Any]) -> None:
    assert asked["told"][name][0] == name


def test_a_bomb_is_seen_by_what_it_unpacks_to(asked: dict[str, Any]) -> None:
    told, _ = asked["told"]["bomb"]
    assert f"larger than {MAX_BYTES:,} bytes" in told or "no answer within" in told


def test_size_is_bounded_in_memory_and_on_the_disk(asked: dict[str, Any]) -> None:
    """Though the process lives on: not the gigabyte of a bomb, nor what an endless answer sends in its seconds."""
    assert asked["peak"] < 400_000, "KiB, of some twenty downloads at once"
    assert asked["size"] < BOMB_BYTES // 8


def test_a_token_goes_to_the_hub_alone_and_into_no_log(asked: dict[str, Any]) -> None:
    hub = asked["hub"].removeprefix("http://")
    assert any(SECRET in sent for host, sent in Hub.sent if host == hub), "or else this proves nothing"
    assert [sent for host, sent in Hub.sent if host != hub], "the other host was asked"
    assert not [sent for host, sent in Hub.sent if host != hub and SECRET in sent]
    assert SECRET not in asked["out"]
    assert SECRET not in asked["log"]


# ---------- nothing else

WATCHED = """
import sys
def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "ssl.")):
        sys.stderr.write(f"opened: {event} {arguments}\\n")
        sys.stderr.flush()
        __import__("os")._exit(77)
sys.addaudithook(refuse)
sys.argv[0] = "kvcalc"
from kvcalc.cli.start import main
main()
"""
LINES = {
    "compare": "compare gpt2 {config} --on H100 -o {out}.parquet",
    "show": "show {config} --provenance -o {out}.xlsx",
    "explain": "explain gpt2",
    "fit": "fit gpt2 --on 8xH100",
    "diff": "diff {config} gpt2 -f github",
    "check": "check {config} -f sarif",
    "sweep": "sweep gpt2 --context 1:3000:1 -o {out}.csv",
    "plot": "plot gpt2 -o {out}.svg",
    "verify": "verify {hf}",
    "list": "list hardware",
    "report": "report gpt2 -o {out}.html",
    "rope": "rope --base 10000",
    "convert": "convert {hf}",
    "schema": "schema",
}


@pytest.mark.parametrize("command", LINES)
def test_no_command_opens_a_socket(command: str, tmp_path: Path) -> None:
    """By the interpreter's own audit events; a source of the web is another file that is not there."""
    names = {
        "config": write(tmp_path, "mine.yaml", f"{NATIVE}source: https://example.org/x\n"),
        "hf": write(tmp_path, "config.json", json.dumps(LLAMA)),
        "out": str(tmp_path / "out"),
    }
    words = [word.format(**names) for word in LINES[command].split()]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *words], capture_output=True, text=True, env=environment(), check=False
    )
    assert "opened: " not in done.stderr
    assert done.returncode in (0, 1, 2), done
    assert "Traceback" not in done.stderr


def test_every_command_is_watched() -> None:
    assert set(LINES) == set(COMMANDS)


def test_the_watch_sees_what_hf_does() -> None:
    pytest.importorskip("huggingface_hub")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "compare", "hf:org/fine"],
        capture_output=True,
        text=True,
        env=environment(HF_ENDPOINT="http://127.0.0.1:9"),
        check=False,
    )
    assert done.returncode == 77


@pytest.mark.parametrize("source", ["https://example.org/config.json", "http://example.org", "ftp://x/y.yaml", "//x/y"])
def test_an_address_is_no_source(source: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "compare", source],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2
    assert "opened: " not in done.stderr


def test_only_the_hubs_reader_imports_what_opens_sockets() -> None:
    """In the sources: what no test runs opens none either."""
    import kvcalc

    folder = os.path.dirname(str(kvcalc.__file__))
    modules = (
        "socket",
        "http",
        "urllib.request",
        "ssl",
        "ftplib",
        "smtplib",
        "requests",
        "httpx",
        "asyncio",
        "aiohttp",
    )
    words = tuple(f"{word} {module}" for word in ("import", "from") for module in (*modules, "huggingface_hub"))
    found = set()
    for at, _, files in os.walk(folder):
        for name in files:
            if name.endswith(".py"):
                with open(os.path.join(at, name), encoding="utf-8") as file:
                    lines = [line.strip() for line in file]
                if any(line == word or line.startswith((f"{word} ", f"{word}.")) for line in lines for word in words):
                    found.add(os.path.relpath(os.path.join(at, name), folder))
    assert found == {os.path.join("readers", "hub.py")}
