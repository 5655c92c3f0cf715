"""Models from the Hugging Face Hub."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
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

    Args:
        repo_id: Like "owner/name".
        filename: The file, or a pattern that fits the files of one model; None takes any GGUF.
        additional_files: Other files, or patterns.
        local_dir: Where to put the files, in place of the cache.
        cache_dir: The folder of the cache.

    Raises:
        LlamaError: The huggingface-hub package is not installed.
        ModelNotFoundError: No file, or more than one model, fits.
    """
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError:
        raise LlamaError(
            "the huggingface-hub package is needed for this: pip install llama-cpp-python[hf]"
        ) from None
    available = HfApi().list_repo_files(repo_id)
    files = model_files(available, filename or "*.gguf", repo_id)
    for pattern in additional_files:
        files += _matching(available, pattern, repo_id)
    places: dict[str, Any] = {"cache_dir": cache_dir}
    if local_dir is not None:
        places = {"local_dir": local_dir}
    paths = [hf_hub_download(repo_id=repo_id, filename=name, **places) for name in files]
    return str(paths[0])


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
