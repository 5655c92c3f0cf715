"""Models from the Hugging Face Hub."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import LlamaError, ModelNotFoundError

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def download(
    repo_id: str,
    filename: str | None,
    additional_files: Sequence[str],
    local_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
) -> str:
    """Download a model and return the path of its first file.

    Without a network, or with ``HF_HUB_OFFLINE=1``, it is what was downloaded before.

    Args:
        repo_id: Like "owner/name".
        filename: The file, or a pattern that fits the files of one model; None takes any GGUF.
        additional_files: Other files, or patterns.
        local_dir: Where to put the files, in place of the cache.
        cache_dir: The folder of the cache.

    Raises:
        LlamaError: The huggingface-hub package is not installed, or a download failed.
        ModelNotFoundError: No file, or more than one model, fits; or the Hub cannot be asked, and
            nothing that fits was downloaded before.
    """
    try:
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import RepositoryNotFoundError
    except ImportError:
        raise LlamaError(
            "the huggingface-hub package is needed for this: pip install huggingface-hub"
        ) from None
    patterns = (filename or "*.gguf", *additional_files)
    try:
        # Other ways to list the files try again and again for half a minute, and say so.
        siblings = HfApi().model_info(repo_id, timeout=_TIMEOUT).siblings
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"the Hugging Face Hub has no model {repo_id!r}, or does not show it to everybody: "
            "check the name, or log in by `hf auth login`"
        ) from error
    except Exception as error:  # it depends on huggingface-hub's version which ones there are
        return _downloaded_before(repo_id, patterns, local_dir, cache_dir, error)
    files = _chosen([each.rfilename for each in siblings or ()], patterns, repo_id)
    places: dict[str, Any] = {"cache_dir": cache_dir}
    if local_dir is not None:
        places = {"local_dir": local_dir}
    try:
        paths = [hf_hub_download(repo_id=repo_id, filename=name, **places) for name in files]
    except Exception as error:
        raise LlamaError(f"{files} of {repo_id!r} cannot be downloaded: {_line(error)}") from error
    return str(paths[0])


_TIMEOUT = 10.0


def _downloaded_before(
    repo_id: str,
    patterns: Sequence[str],
    local_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    reason: Exception,
) -> str:
    """Return the path of a model that is there already.

    Raises:
        ModelNotFoundError: It is not.
    """
    folder = local_dir if local_dir is not None else _snapshot(repo_id, cache_dir)
    try:
        if folder is None or not os.path.isdir(folder):
            raise ModelNotFoundError(f"nothing of {repo_id} was downloaded before")
        paths = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
        files = _chosen([path.as_posix() for path in paths], patterns, repo_id)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"the Hugging Face Hub cannot be asked for {repo_id} ({_line(reason)}). So only files "
            f"that are there already can be used, as in offline mode (HF_HUB_OFFLINE=1): {error}. "
            "Download the model once with a network, or give the path of a file to Llama"
        ) from reason
    return os.path.join(folder, files[0])


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _snapshot(repo_id: str, cache_dir: str | os.PathLike[str] | None) -> str | None:
    """The folder in the Hub's cache with the files of a repository's last download."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return snapshot_download(
            repo_id, cache_dir=None if cache_dir is None else str(cache_dir), local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None


def _chosen(available: Sequence[str], patterns: Sequence[str], repo_id: str) -> list[str]:
    """The files of a model, which the first pattern fits, and those that the others fit."""
    files = model_files(available, patterns[0], repo_id)
    for pattern in patterns[1:]:
        files += _matching(available, pattern, repo_id)
    return files


def model_files(available: Sequence[str], pattern: str, repo_id: str) -> list[str]:
    """The files of the one model that a pattern fits, the first one first.

    Raises:
        ModelNotFoundError: None fits, or those of more than one model.
    """
    found = _matching(available, pattern, repo_id)
    models = {_SHARD.sub("", name) for name in found}
    if len(models) > 1:
        raise ModelNotFoundError(
            f"{pattern!r} fits more than one model of {repo_id}: {', '.join(found)}"
        )
    shard = _SHARD.search(found[0])
    if shard is None:
        return found
    stem, total = _SHARD.sub("", found[0]), shard[2]
    wanted = [f"{stem}-{number:05}-of-{total}.gguf" for number in range(1, int(total) + 1)]
    if missing := set(wanted) - set(available):
        raise ModelNotFoundError(f"{repo_id} lacks parts of the model: {sorted(missing)}")
    return wanted


def _matching(available: Sequence[str], pattern: str, repo_id: str) -> list[str]:
    found = sorted(
        name
        for name in available
        if name == pattern
        or fnmatch.fnmatch(name, pattern)
        or fnmatch.fnmatch(os.path.basename(name), pattern)
    )
    if not found:
        raise ModelNotFoundError(
            f"{repo_id} has no file like {pattern!r}; it has {', '.join(sorted(available))}"
        )
    return found
