"""Transport to and from a model hub: whole folders at pinned commits, nothing that runs.

`wire` says the hub's errors in sentences and asks again where that helps, `references` reads what
people write, `listing` looks (commit, files, search), `pull` and `push` move a folder, `encoders`
fetches an encoder's files."""

from __future__ import annotations

from adapters_xitt.hub.encoders import ENCODER_FILES, fetch_encoder, parse_reference
from adapters_xitt.hub.listing import Found, Remote, commit_of, search, tree
from adapters_xitt.hub.pull import Pulled, pull
from adapters_xitt.hub.push import Pushed, push_folder
from adapters_xitt.hub.references import PREFIX, Reference, is_commit, reference
from adapters_xitt.hub.wire import again, plain, spoken

__all__ = [
    "ENCODER_FILES",
    "PREFIX",
    "Found",
    "Pulled",
    "Pushed",
    "Reference",
    "Remote",
    "again",
    "commit_of",
    "fetch_encoder",
    "is_commit",
    "parse_reference",
    "plain",
    "pull",
    "push_folder",
    "reference",
    "search",
    "spoken",
    "tree",
]
