"""A dataset's repository on a Hugging Face hub, through huggingface_hub: resumed, cached tokens and all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tlbench.tasks.datasets.dataset import Mirror
from tlbench.tasks.datasets.download import Refused
from tlbench.tasks.datasets.manifest import is_safe, mismatch


def snapshot(mirror: Mirror, wanted: dict[str, str], stage: Path, jobs: int) -> dict[str, str]:
    """Bring the files that match the mirror's patterns into `stage`; what lies there half done is resumed.

    The hub asked is that of HF_ENDPOINT where it is set, else the one in the mirror's address.

    Args:
        wanted: path in the repository -> digest, where we know better than the hub.

    Returns:
        path in the repository -> what is wrong with it, empty for a file that lies in `stage` as wanted.

    Raises:
        Refused: the hub does not answer, has no such revision or files, is switched off by HF_HUB_OFFLINE, or
            sends other bytes than it publishes for the revision.
        OSError: the disk is full, the folder not writable.
    """
    from huggingface_hub import HfApi, snapshot_download  # a second of imports, for few pulls
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Silent(tqdm):  # type: ignore[misc]
        """No bars beside that of the pull."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{k: v for k, v in options.items() if k != "name"} | {"disable": True})

    home, _, name = mirror.url.partition("/datasets/")
    endpoint = os.environ.get("HF_ENDPOINT") or home
    at: dict[str, Any] = {"repo_type": "dataset", "revision": mirror.revision}
    to: dict[str, Any] = {"local_dir": stage, "max_workers": jobs, "tqdm_class": Silent, "endpoint": endpoint}
    try:
        # Asked for by us too: where snapshot_download cannot reach the hub, it returns what happens to lie there.
        published = _published(HfApi(endpoint).list_repo_tree(name, recursive=True, **at), mirror.patterns)
        if published:
            snapshot_download(name, allow_patterns=mirror.patterns or None, **at, **to)
    except Exception as error:  # which library's errors these are changes with huggingface_hub's version
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
            raise
        raise Refused(_said(error), dead=True) from None
    lost = [path for path in published if not (stage / path).is_file()]
    if lost or not published:
        raise Refused(f"did not deliver {lost[0]}" if lost else "has no such files")
    wrong = {path: mismatch(stage / path, wanted.get(path, digest)) for path, digest in published.items()}
    for path in filter(wrong.get, wrong):
        (stage / path).unlink()  # huggingface_hub would take it for finished
        if path not in wanted:
            raise Refused(f"{path}: {wrong[path]}")
    return wrong


def _published(tree: Iterable[Any], patterns: list[str]) -> dict[str, str]:
    """Path -> digest of the files in a listing: the hub knows large ones by SHA-256, small ones as git does."""
    files = [entry for entry in tree if hasattr(entry, "blob_id") and is_safe(entry.path)]
    kept = [file for file in files if not patterns or any(fnmatch(file.path, pattern) for pattern in patterns)]
    return {file.path: f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}" for file in kept}


def _said(error: Exception) -> str:
    """A hub's error in a few words: its first line, without the addresses."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].partition(" for url")[0].partition(" (Request ID")[0][:120]
