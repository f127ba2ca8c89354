"""Hubs of the tests' own on the loopback: the endpoints that huggingface_hub asks of a data set
(`Shop`), and those of models that are made, pushed to, pulled from and searched (`ModelHub`)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Loopback:
    """A server on this machine alone; subclasses say what it answers to a request."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                self._answer(handler)

            do_HEAD = do_POST = do_PUT = do_GET

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

    def environment(self, home: Path) -> dict[str, str]:
        """For a process of its own: the endpoint is read when the library is imported."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING")) and not name.lower().endswith("_proxy")
        }
        return {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
        }

    def xitt(self, *words: Any, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """The console script; `more` goes into its environment."""
        return subprocess.run(
            [sys.executable, "-m", "adapters_xitt.cli", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=300,
            env=self.environment(home) | more,
        )

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        raise NotImplementedError


class Shop(Loopback):
    """`repos`: repository -> branch -> path -> content. A commit is the SHA-1 of a branch's files,
    and stays.

    `cut`: how many more answers with content are broken off half-way; `sizes`: sizes to be listed
    instead."""

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
        sha = hashlib.sha1(
            repr(
                sorted((path, hashlib.sha1(body).hexdigest()) for path, body in files.items())
            ).encode()
        ).hexdigest()
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
        repo, what, rest = (
            "/".join(words[:2]),
            words[2] if len(words) > 2 else "",
            "/".join(words[3:]),
        )
        if repo not in self.repos or not (api or resolve):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if what == "resolve":
            sha, _, name = rest.partition("/")
            body = self.swap.get(name) or self.commits.get((repo, sha), {}).get(name)
            if body is None:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            return (
                200,
                {
                    "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
                    "X-Repo-Commit": sha,
                    "Accept-Ranges": "bytes",
                },
                body,
            )
        sha = self.head(repo, rest) if rest in self.repos[repo] else rest
        if (repo, sha) not in self.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.commits[repo, sha]
        if what == "revision":
            return (
                200,
                {},
                json.dumps(
                    {
                        "id": repo,
                        "sha": sha,
                        "private": False,
                        "tags": [],
                        "siblings": [{"rfilename": name} for name in files],
                    }
                ).encode(),
            )
        listed = [
            {
                "type": "file",
                "path": name,
                "oid": "0" * 40,
                "size": self.sizes.get(name, len(body)),
                "lfs": {
                    "oid": hashlib.sha256(body).hexdigest(),
                    "size": self.sizes.get(name, len(body)),
                    "pointerSize": 130,
                },
            }
            for name, body in files.items()
        ]
        return (
            200,
            {},
            json.dumps([{"type": "directory", "path": "x", "oid": "0" * 40}, *listed]).encode(),
        )


Headers, Body = dict[str, str], bytes
Answer = tuple[int, Headers, Body]
LARGE = (".safetensors", ".bin")  # what goes to the large-file store
LIKE = {
    403: "Forbidden",
    409: "Cannot commit: another conflicting operation is in progress",
    413: "Payload too large",
    429: "Too many requests",
    500: "Internal error",
    503: "Busy",
}


@dataclass
class Trouble:
    """What happens to requests in whose "METHOD path" `asked` is found: a status; `cut` (no answer
    at all), `lost` (done, but the answer never comes), `half` (half of the answer's body) or
    `html`."""

    asked: str
    how: int | str
    times: int = 1
    skip: int = 0  # so many are answered well before
    headers: Headers = field(default_factory=dict)


@dataclass
class Repo:
    """Branches are names of commits; a commit is the SHA-1 of its parent and its files."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Mapping[str, bytes], message: str) -> str:
        sha = hashlib.sha1(
            repr(
                (
                    self.branches.get(branch),
                    message,
                    sorted((path, hashlib.sha1(body).hexdigest()) for path, body in files.items()),
                )
            ).encode()
        ).hexdigest()
        self.commits[sha], self.messages[sha], self.branches[branch] = dict(files), message, sha
        return sha


class ModelHub(Loopback):
    """Models under a hub's own rules: who may write, what is large, one commit at a time. Xet is
    declined.

    `users`: token -> user; with none of them everybody may everything. `troubles` happen in order;
    `lies`: a file's path -> what is said of it in listings (size, oid, sha256); `swap`: a file's
    path -> what is sent instead."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.users: dict[str, str] = {"token-of-ana": "ana"}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []  # "METHOD path", ranges after them
        self.puts: list[str] = []  # digests of large files that were taken in
        self.troubles: list[Trouble] = []
        self.lies: dict[str, dict[str, Any]] = {}
        self.swap: dict[str, bytes] = {}
        self.extra: list[str] = []  # names that listings have on top
        super().__init__()

    # -- for tests

    def add(self, name: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        """A repository with a first commit that holds these files; the commit."""
        repo = self.repos.setdefault(name, Repo(private=private))
        return repo.commit(
            "main", {**repo.commits.get(repo.branches.get("main", ""), {}), **files}, "put there"
        )

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        repo = self.repos[name]
        return repo.commits[repo.branches[branch]]

    def trouble(self, asked: str, how: int | str, **more: Any) -> None:
        self.troubles.append(Trouble(asked, how, **more))

    def downloads(self) -> list[str]:
        return [
            one.split("/resolve/")[1].partition("/")[2]
            for one in self.asked
            if one.startswith("GET") and "/resolve/" in one
        ]

    def log_in(self, home: Path, token: str = "token-of-ana") -> None:
        """Where the hub's own tools keep a token."""
        home.mkdir(parents=True, exist_ok=True)
        (home / "token").write_text(token)

    # -- one request

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        line = f"{handler.command} {unquote(url.path)}"
        wanted = handler.headers.get("Range", "")
        self.asked.append(f"{line} {wanted}".strip())
        sent = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        trouble = self._trouble(line)
        if trouble and trouble.how == "cut":
            return handler.connection.close()
        if trouble and isinstance(trouble.how, int):
            status, headers, body = (
                trouble.how,
                dict(trouble.headers),
                json.dumps({"error": LIKE.get(trouble.how, "No")}).encode(),
            )
        elif trouble and trouble.how == "html":
            status, headers, body = 200, {"Content-Type": "text/html"}, b"<html>a portal</html>"
        else:
            query = {
                name: values[0] if name != "filter" else values
                for name, values in parse_qs(url.query).items()
            }
            user = self.users.get(handler.headers.get("Authorization", "").removeprefix("Bearer "))
            status, headers, body = self._found(
                handler.command, unquote(url.path), sent, query, user
            )
            if trouble and trouble.how == "lost":
                return handler.connection.close()
        whole = len(body)
        if status == 200 and wanted.startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            status, body = 206, body[start:]
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        handler.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            **headers,
            "Content-Length": str(len(body)),
        }.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(
                body[: len(body) // 2] if trouble and trouble.how == "half" else body
            )

    def _trouble(self, line: str) -> Trouble | None:
        for one in self.troubles:
            if one.times and re.search(one.asked, line):
                if one.skip:
                    one.skip -= 1
                    continue
                one.times -= 1
                return one
        return None

    def _found(
        self, method: str, path: str, sent: bytes, query: dict[str, Any], user: str | None
    ) -> Answer:
        if path == "/api/repos/create":
            return self._create(json.loads(sent), user)
        if path == "/api/validate-yaml":
            return self._validate(json.loads(sent)["content"])
        if path == "/api/models":
            return self._search(query, user)
        if path.startswith("/large/"):
            return self._put(path.removeprefix("/large/"), sent)
        for pattern, does in self._routes().items():
            if found := re.fullmatch(pattern, f"{method} {path}"):
                name = found["name"]
                repo = self.repos.get(name)
                if repo is None or (repo.private and user != name.split("/")[0]):
                    return self._error(404, "Repository not found", "RepoNotFound")
                if repo.gated and user != name.split("/")[0]:
                    return self._error(403, "Access to it is restricted", "GatedRepo")
                reads = method in ("GET", "HEAD")
                if not reads and (
                    user is None
                    or not (
                        user == name.split("/")[0]
                        or query.get("create_pr")
                        or path.endswith(("/batch", "/verify"))
                    )
                ):
                    return self._error(
                        403 if user else 401,
                        "You don't have the rights" if user else "Invalid username or password.",
                    )
                return does(repo, found, sent, query, user)
        return self._error(404, f"no such endpoint {path}", "EntryNotFound")

    def _routes(self) -> dict[str, Callable[..., Answer]]:
        name, rest = r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+|refs/pr/\d+)"
        return {
            rf"(GET|HEAD) /api/models/{name}": self._info,
            rf"GET /api/models/{name}/revision/{rest}": self._info,
            rf"GET /api/models/{name}/tree/{rest}": self._tree,
            rf"POST /api/models/{name}/branch/{rest}": self._branch,
            rf"POST /api/models/{name}/preupload/{rest}": self._preupload,
            rf"POST /{name}.git/info/lfs/objects/batch": self._batch,
            rf"POST /{name}/verify": self._verify,
            rf"POST /api/models/{name}/commit/{rest}": self._commit,
            rf"(GET|HEAD) /{name}/resolve/{rest}/(?P<file>.+)": self._resolve,
        }

    @staticmethod
    def _error(
        status: int, words: str, code: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        return (
            status,
            {
                **({"X-Error-Code": code} if code else {}),
                "X-Error-Message": words,
                **(headers or {}),
            },
            json.dumps({"error": words}).encode(),
        )

    @staticmethod
    def _json(value: Any, headers: Headers | None = None) -> Answer:
        return 200, headers or {}, json.dumps(value).encode()

    # -- what there is

    def _sha(self, repo: Repo, revision: str | None) -> str | None:
        revision = revision or "main"
        return revision if revision in repo.commits else repo.branches.get(revision)

    def _record(self, name: str, repo: Repo, sha: str) -> dict[str, Any]:
        card = repo.commits[sha].get("README.md", b"").decode()
        head = re.match(r"---\n(.*?)\n---", card, flags=re.S)
        tags = re.findall(r"^- (\S+)$", head[1], flags=re.M) if head else []
        return {
            "id": name,
            "modelId": name,
            "sha": sha,
            "private": repo.private,
            "tags": tags,
            "downloads": 3,
            "likes": 1,
            "lastModified": "2026-01-02T03:04:05.000Z",
            "siblings": [{"rfilename": path} for path in repo.commits[sha]],
        }

    def _info(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        sha = self._sha(repo, found.groupdict().get("revision"))
        if sha is None:
            return self._error(404, "Invalid rev id", "RevisionNotFound")
        return self._json(self._record(found["name"], repo, sha))

    def _search(self, query: dict[str, Any], user: str | None) -> Answer:
        rows = [
            self._record(name, repo, repo.branches["main"])
            for name, repo in self.repos.items()
            if not repo.private or user == name.split("/")[0]
        ]
        words = query.get("search", "").lower().split()
        rows = [
            row
            for row in rows
            if all(word in row["id"].lower() for word in words)
            and set(query.get("filter", [])) <= set(row["tags"])
        ]
        return self._json(rows[: int(query.get("limit", 100))])

    def _tree(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        sha = self._sha(repo, found["revision"])
        if sha is None:
            return self._error(404, "Invalid rev id", "RevisionNotFound")
        listed: list[dict[str, Any]] = [{"type": "directory", "path": "parts", "oid": "0" * 40}]
        for path, body in repo.commits[sha].items():
            said = {
                "size": len(body),
                "oid": git(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                **self.lies.get(path, {}),
            }
            row = {"type": "file", "path": path, "oid": said["oid"], "size": said["size"]}
            if path.endswith(LARGE):
                row |= {
                    "oid": "1" * 40,
                    "lfs": {"oid": said["sha256"], "size": said["size"], "pointerSize": 130},
                }
            listed.append(row)
        listed += [
            {"type": "file", "path": path, "oid": "2" * 40, "size": 1} for path in self.extra
        ]
        at, page = int(query.get("cursor", 0)), 1000
        more = (
            {
                "Link": (
                    f"<{self.endpoint}/api/models/{found['name']}/tree/{found['revision']}?recursive=True&cursor="
                    f'{at + page}>; rel="next"'
                )
            }
            if len(listed) > at + page
            else {}
        )
        return self._json(listed[at : at + page], more)

    def _resolve(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        sha = self._sha(repo, found["revision"])
        if sha is None:
            return self._error(404, "Invalid rev id", "RevisionNotFound")
        body = self.swap.get(found["file"], repo.commits[sha].get(found["file"]))
        if body is None:
            return self._error(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": sha})
        return (
            200,
            {
                "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
                "X-Repo-Commit": sha,
                "Accept-Ranges": "bytes",
                "Content-Type": "application/octet-stream",
            },
            body,
        )

    # -- what is made

    def _create(self, asked: dict[str, Any], user: str | None) -> Answer:
        if user is None:
            return self._error(401, "Invalid username or password.")
        name = f"{asked.get('organization') or user}/{asked['name']}"
        if name in self.repos:
            return (
                409,
                {},
                json.dumps(
                    {
                        "error": "You already created this model repo",
                        "url": f"{self.endpoint}/{name}",
                    }
                ).encode(),
            )
        if name.split("/")[0] != user:
            return self._error(
                403,
                "You don't have the rights to create a model under the namespace "
                f"{name.split('/')[0]}",
            )
        self.repos[name] = Repo(private=bool(asked.get("private")))
        self.repos[name].commit(
            "main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit"
        )
        return self._json({"url": f"{self.endpoint}/{name}", "name": name, "id": name})

    def _branch(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        if found["revision"] in repo.branches:
            return self._error(409, "Reference already exists")
        repo.branches[found["revision"]] = repo.branches["main"]
        return self._json({})

    def _validate(self, card: str) -> Answer:
        import yaml

        head = re.match(r"---\n(.*?)\n---\n", card, flags=re.S)
        try:
            read = yaml.safe_load(head[1]) if head else {}
        except yaml.YAMLError as error:
            return (
                400,
                {},
                json.dumps({"errors": [{"message": str(error)}], "warnings": []}).encode(),
            )
        if read.get("base_model") is not None and not re.fullmatch(
            r"[\w.-]+/[\w.-]+|[\w.-]+", read["base_model"]
        ):
            return (
                400,
                {},
                json.dumps({"errors": [{"message": '"base_model" must be a model id'}]}).encode(),
            )
        return self._json({"errors": [], "warnings": []})

    def _preupload(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        sha = self._sha(repo, found["revision"])
        if sha is None:
            return self._error(404, "Invalid rev id", "RevisionNotFound")
        here = repo.commits[sha]
        answer = []
        for one in json.loads(sent)["files"]:
            path, large = one["path"], one["path"].endswith(LARGE)
            has = (
                {}
                if path not in here
                else {"oid": hashlib.sha256(here[path]).hexdigest() if large else git(here[path])}
            )
            answer.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    **has,
                }
            )
        return self._json({"files": answer})

    def _batch(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        asked = json.loads(sent)
        objects = []
        for one in asked["objects"]:
            row = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.large:
                row["actions"] = {
                    "upload": {"href": f"{self.endpoint}/large/{one['oid']}"},
                    "verify": {"href": f"{self.endpoint}/{found['name']}/verify"},
                }
            objects.append(row)
        return self._json({"transfer": "basic", "objects": objects})

    def _put(self, oid: str, sent: bytes) -> Answer:
        if hashlib.sha256(sent).hexdigest() != oid:
            return self._error(400, "Checksum mismatch")
        self.large[oid] = sent
        self.puts.append(oid)
        return 200, {"ETag": f'"{oid}"'}, b""

    def _verify(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        asked = json.loads(sent)
        if len(self.large.get(asked["oid"], b"")) != asked["size"]:
            return self._error(422, "the object has another size")
        return self._json({})

    def _commit(
        self, repo: Repo, found: re.Match, sent: bytes, query: dict, user: str | None
    ) -> Answer:
        branch = found["revision"]
        sha = repo.branches.get(branch)
        if sha is None:
            return self._error(404, "Invalid rev id", "RevisionNotFound")
        files, message = dict(repo.commits[sha]), ""
        for row in map(json.loads, sent.splitlines()):
            value = row["value"]
            if row["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", sha) != sha:
                    return self._error(412, "A commit has happened since")
            elif row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                if value["oid"] not in self.large:
                    return self._error(
                        400, f"LFS pointer pointed to a file that does not exist: {value['path']}"
                    )
                files[value["path"]] = self.large[value["oid"]]
            elif row["key"] == "deletedFile":
                del files[value["path"]]
        request = ""
        if query.get("create_pr"):
            number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
            branch, request = (
                f"refs/pr/{number}",
                f"{self.endpoint}/{found['name']}/discussions/{number}",
            )
            repo.branches[branch] = sha
        made = repo.commit(branch, files, message)
        return self._json(
            {
                "success": True,
                "commitOid": made,
                "hookOutput": "",
                "commitUrl": f"{self.endpoint}/{found['name']}/commit/{made}",
                **({"pullRequestUrl": request} if request else {}),
            }
        )


def git(body: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
