"""A hub of the tests' own on the loopback: the endpoints that huggingface_hub asks of a data set."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


class Loopback:
    """A server on this machine alone; subclasses say what it answers to a request."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                self._answer(handler)

            do_HEAD = do_GET

            def log_message(handler, *words: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=partial(self.server.serve_forever, poll_interval=0.01), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        raise NotImplementedError


class Shop(Loopback):
    """`repos`: repository -> branch -> path -> content. A commit is the SHA-1 of a branch's files, and stays.

    `cut`: how many more answers with content are broken off half-way; `sizes`: sizes to be listed instead."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        self.cut, self.sizes, self.swap = 0, {}, {}
        super().__init__()

    def put(self, repo: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """Adds files to a branch; its new commit."""
        own = self.repos.setdefault(repo, {})
        own[branch] = {**own.get(branch, {}), **files}
        return self.head(repo, branch)

    def head(self, repo: str, branch: str = "main") -> str:
        files = self.repos[repo][branch]
        sha = hashlib.sha1(repr(sorted((path, hashlib.sha1(body).hexdigest())
                                       for path, body in files.items())).encode()).hexdigest()
        self.commits[repo, sha] = dict(files)
        return sha

    def downloads(self) -> list[str]:
        return [path for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.asked.append((handler.command, path, handler.headers.get("Range", "")))
        status, headers, body = self._found(path)
        whole = len(body)
        asked = handler.headers.get("Range", "")
        if status == 200 and "ETag" in headers and asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").split("-")[0])
            status, body = 206, body[start:]
            headers |= {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"}
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            if "ETag" in headers and self.cut and len(body) > 1:
                self.cut -= 1
                handler.wfile.write(body[: len(body) // 2])
                handler.wfile.flush()
                handler.connection.close()
            else:
                handler.wfile.write(body)

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        api, resolve = path.startswith("/api/datasets/"), path.startswith("/datasets/")
        words = path.removeprefix("/api/datasets/" if api else "/datasets/").split("/")
        repo, what, rest = "/".join(words[:2]), words[2] if len(words) > 2 else "", "/".join(words[3:])
        if repo not in self.repos or not (api or resolve):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if what == "resolve":
            sha, _, name = rest.partition("/")
            body = self.swap.get(name) or self.commits.get((repo, sha), {}).get(name)
            if body is None:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": sha,
                         "Accept-Ranges": "bytes"}, body
        sha = self.head(repo, rest) if rest in self.repos[repo] else rest
        if (repo, sha) not in self.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.commits[repo, sha]
        if what == "revision":
            return 200, {}, json.dumps({"id": repo, "sha": sha, "private": False, "tags": [],
                                        "siblings": [{"rfilename": name} for name in files]}).encode()
        listed = [{"type": "file", "path": name, "oid": "0" * 40, "size": self.sizes.get(name, len(body)),
                   "lfs": {"oid": hashlib.sha256(body).hexdigest(), "size": self.sizes.get(name, len(body)),
                           "pointerSize": 130}} for name, body in files.items()]
        return 200, {}, json.dumps([{"type": "directory", "path": "x", "oid": "0" * 40}, *listed]).encode()

    def environment(self, home: Path) -> dict[str, str]:
        """For a process of its own: the endpoint is read when the library is imported."""
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("HF_", "HUGGING")) and not name.lower().endswith("_proxy")}
        return {**kept, "HF_ENDPOINT": self.endpoint, "HF_HOME": str(home),
                "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}

    def xitt(self, *words: Any, home: Path) -> subprocess.CompletedProcess[str]:
        """The console script."""
        return subprocess.run([sys.executable, "-m", "adapters_xitt.cli", *map(str, words)], capture_output=True,
                              text=True, timeout=120, env=self.environment(home))
