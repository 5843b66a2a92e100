"""A config.json from the Hugging Face hub: `hf:org/name` or `hf:org/name@revision`. Nothing else is ever fetched.

huggingface_hub does it, so its cache, HF_HUB_OFFLINE, HF_ENDPOINT and log-in are honoured as everywhere: kvcalc reads
no token itself. Where the hub cannot be reached, what is cached is used.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from kvcalc.errors import FileError, KvcalcError
from kvcalc.readers.text import MAX_BYTES, parse_documents, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from kvcalc.readers.text import Document

PREFIX = "hf:"
DEADLINE_SECONDS = 30.0  # of everything together: a server may answer a byte at a time
TIMEOUT_SECONDS = 5.0  # of the first answer
LOOK_SECONDS = 0.05  # how often the size of what comes is looked at: a server may announce little and send much
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_SOURCE = re.compile(rf"hf:({_PART}(?:/{_PART})?)(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")


def read_hub(source: str) -> list[Document]:
    """Fetch and read the config of a repository.

    Raises FileError, which says what happened and what to do; ConfigError for a config that is none; KvcalcError where
    huggingface_hub is absent or the source names no repository.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise KvcalcError(f"{source!r} names no repository of the hub", "hf:org/name or hf:org/name@revision")
    repo, revision = match[1], match[2]
    try:
        import huggingface_hub  # noqa: F401  # what it is needed for is imported where it is used
    except ImportError:
        raise KvcalcError(f"reading {source} needs huggingface_hub", "pip install 'kvcalc[hub]'") from None
    path = _within(DEADLINE_SECONDS, source, lambda: _fetch(source, repo, revision), lambda: _coming_bytes(repo))
    shown = f"{source}/config.json"
    text = read_text(path)
    if text.lstrip()[:1] == "<":
        raise FileError(shown, "the server sent a web page, not JSON", hint="a log-in page or a proxy? See HF_ENDPOINT")
    return parse_documents(shown, text)


def _within(seconds: float, source: str, work: Callable[[], str], coming: Callable[[], int]) -> str:
    """Do it in a thread, and give up when the time is over or too much comes: the thread is stopped."""
    from threading import Thread
    from time import monotonic

    done: list[str] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # raised again where somebody waits for it
            failed.append(error)

    thread = Thread(target=run, daemon=True)
    until = monotonic() + seconds
    thread.start()
    while thread.is_alive() and monotonic() < until:
        thread.join(LOOK_SECONDS)
        if thread.is_alive() and coming() > MAX_BYTES:
            _stop(thread)
            raise FileError(f"{source}/config.json", f"larger than {MAX_BYTES:,} bytes: not a model config")
    if failed:
        raise failed[0]
    if not done:
        _stop(thread)
        raise FileError(source, f"no answer within {seconds:g} seconds", hint="try again, or see HF_ENDPOINT")
    return done[0]


def _stop(thread: Thread) -> None:
    """End a thread at its next step, or it would go on writing as long as the process lives."""
    import ctypes

    if thread.ident is not None and hasattr(ctypes, "pythonapi"):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def _coming_bytes(repo: str) -> int:
    """Of what is being written into the cache for this repository, unpacked: the largest file."""
    if "huggingface_hub.constants" not in sys.modules:  # the thread is about to import it
        return 0
    from huggingface_hub import constants

    folder = os.path.join(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}", "blobs")
    try:
        return max(
            (entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".incomplete")), default=0
        )
    except OSError:  # not there yet, or no longer
        return 0


def _fetch(source: str, repo: str, revision: str | None) -> str:
    """The path of the cached config.json, fetched where it is not the newest."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import disable_progress_bars, logging

    disable_progress_bars()
    logging.set_verbosity_error()
    wanted: dict[str, Any] = {"repo_id": repo, "filename": "config.json", "revision": revision}
    if constants.HF_HUB_OFFLINE:
        return _cached(source, wanted, "HF_HUB_OFFLINE is set")
    timeout = min(TIMEOUT_SECONDS, float(constants.HF_HUB_ETAG_TIMEOUT))
    xet, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True  # it sends the token where an answer says
    try:
        told = get_hf_file_metadata(hf_hub_url(**wanted), token=None, timeout=timeout)
        if told.size is not None and told.size > MAX_BYTES:
            raise FileError(f"{source}/config.json", f"{told.size:,} bytes: not a model config")
        return str(hf_hub_download(**wanted, etag_timeout=timeout))
    except KvcalcError:
        raise
    except Exception as error:  # of huggingface_hub, and of whatever it speaks HTTP with, by version
        refused = _refused(source, repo, revision, error)
        if refused is None:
            return _cached(source, wanted, _unreached(error))
        raise refused from None
    finally:
        constants.HF_HUB_DISABLE_XET = xet


def _cached(source: str, wanted: dict[str, Any], why: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return str(hf_hub_download(**wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        raise FileError(source, f"{why}, and its config.json is not in the cache") from None


def _refused(source: str, repo: str, revision: str | None, error: Exception) -> FileError | None:
    """What the server said, where it said something; None where it did not answer."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repo}"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    login = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return FileError(source, "a gated repository", hint=f"accept its licence at {page} and {login}")
    if isinstance(error, errors.RevisionNotFoundError):
        return FileError(source, f"there is no revision {revision!r}", hint=f"see {page}/tree/main")
    if isinstance(error, errors.RepositoryNotFoundError):
        if status == 401:
            return FileError(source, "no such repository, or a private one", hint=f"if it is yours, {login}")
        return FileError(source, "no such repository", hint=f"see {page}")
    if isinstance(error, errors.EntryNotFoundError) and status:
        return FileError(source, "the repository has no config.json", hint="a GGUF file can be read where it lies")
    if status == 401 or status == 403:
        return FileError(source, f"access is refused (HTTP {status})", hint=f"{login}, with access to {page}")
    if 300 <= status < 400 or "Redirect" in type(error).__name__:
        return FileError(source, "the server redirects without end", hint="see HF_ENDPOINT")
    if status == 429:
        headers = getattr(getattr(error, "response", None), "headers", {})
        wait = str(headers.get("Retry-After", "")).strip()
        when = (
            f"try again in {wait} seconds" if wait.isascii() and wait.isdigit() and len(wait) < 9 else "try again later"
        )
        return FileError(source, "too many requests (HTTP 429)", hint=f"{when}, or {login}")
    if 400 <= status < 500:
        return FileError(source, f"the server refused it (HTTP {status})", hint=f"see {page}")
    return None


def _unreached(error: Exception) -> str:
    """Say why there was no answer to use."""
    from huggingface_hub import constants

    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status:
        return f"the server at {constants.ENDPOINT} failed (HTTP {status})"
    if "Timeout" in type(error).__name__:
        return f"the server at {constants.ENDPOINT} did not answer in time"
    if "Consistency" in str(error) or "RemoteProtocol" in type(error).__name__ or "Chunked" in type(error).__name__:
        return f"what the server at {constants.ENDPOINT} sent is not as long as it announced"
    return f"the server at {constants.ENDPOINT} cannot be reached ({type(error).__name__})"
