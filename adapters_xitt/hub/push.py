"""Puts a folder up as one commit: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters_xitt.errors import XittError
from adapters_xitt.hub.references import Reference, is_commit
from adapters_xitt.hub.wire import again, readable_errors

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """What a push made on the hub."""

    repo: str
    commit: str
    url: str
    request: str = ""  # the address of the pull request, where one was made


def push_folder(
    folder: Path,
    to: Reference,
    *,
    message: str,
    private: bool | None = None,
    create_pr: bool = False,
    owned: Sequence[str] = (),
    tell: Tell = lambda line: None,
) -> Pushed:
    """Uploads a folder's files and commits them at once; the repository is made where there is
    none.

    The revision of `to` is a branch, made where there is none; with `create_pr` the commit becomes
    a pull request, which needs no right to write. `owned` are patterns of names that an earlier
    push of ours may have left: those that the folder lacks now go in the same commit; nothing else
    is touched. The token is the hub's own tools'. What was uploaded before a break is not uploaded
    again."""
    from huggingface_hub import HfApi, get_token

    repo, revision = to.repo, to.revision
    if is_commit(revision):
        raise XittError(f"{repo}@{revision}: a commit stays what it is; name a branch to push to")
    if not any(path.is_file() for path in folder.rglob("*")):
        raise XittError(f"{folder}: nothing to push")
    if get_token() is None:
        raise XittError(
            f"{repo}: pushing needs a token; log in with `hf auth login`, or set HF_TOKEN"
        )
    api = HfApi()
    with readable_errors(repo, revision):
        if not create_pr:
            again(lambda: api.create_repo(repo, private=private, exist_ok=True))
        there = again(lambda: api.model_info(repo))
        if private and there.private is False:
            raise XittError(
                f"{repo}: it exists and is public, so what is pushed would be public; change it on"
                " the hub's page, or push to another name"
            )
        if revision and not create_pr:
            again(lambda: api.create_branch(repo, branch=revision, exist_ok=True))
            there = again(lambda: api.model_info(repo, revision=revision))
        # A second try finds what the first one has committed and adds nothing to it; a pull request
        # would be made twice, so it is asked for again only where the hub says that it took
        # nothing.
        once: dict[str, Any] = {"statuses": (429,), "breaks": ()} if create_pr else {}
        commit = again(
            lambda: api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                commit_message=message,
                revision=revision,
                create_pr=create_pr,
                delete_patterns=list(owned) or None,
            ),
            **once,
        )
    if commit.oid == there.sha:
        tell(f"{repo}: has all of it already, nothing to commit")
    return Pushed(repo, commit.oid, commit.commit_url, commit.pr_url or "")
