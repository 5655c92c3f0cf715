"""Models from the Hugging Face Hub."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import LlamaError, ModelNotFoundError

_TIMEOUT_SECONDS = 10

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
        ModelNotFoundError: No file, or more than one model, fits; or the Hub cannot be reached and
            the cache has none.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise LlamaError(
            "the huggingface-hub package is needed for this: pip install huggingface-hub"
        ) from None
    available, folder = _available(repo_id, local_dir, cache_dir)
    files = model_files(available, filename or "*.gguf", repo_id)
    for pattern in additional_files:
        files += _matching(available, pattern, repo_id)
    if folder is not None:
        return str(folder / files[0])
    places: dict[str, Any] = {"cache_dir": cache_dir}
    if local_dir is not None:
        places = {"local_dir": local_dir}
    paths = [hf_hub_download(repo_id=repo_id, filename=name, **places) for name in files]
    return str(paths[0])


def _available(repo_id: str, local_dir: Any, cache_dir: Any) -> tuple[list[str], Path | None]:
    """The files of a repository; where the Hub cannot be asked, those that are here, and where."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return _downloaded(repo_id, local_dir, cache_dir, "HF_HUB_OFFLINE is set")
    try:
        siblings = HfApi().model_info(repo_id, timeout=_TIMEOUT_SECONDS).siblings
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        hint = "is it gated or private? Set HF_TOKEN" if status in (401, 403) else "check the name"
        raise ModelNotFoundError(
            f"the Hub does not give {repo_id!r} (status {status}): {hint}"
        ) from None
    except ValueError:
        raise
    except Exception as error:  # each version of huggingface-hub asks with another library
        reason = f"the Hub cannot be reached ({type(error).__name__})"
        return _downloaded(repo_id, local_dir, cache_dir, reason)
    return [each.rfilename for each in siblings or ()], None


def _downloaded(
    repo_id: str, local_dir: Any, cache_dir: Any, reason: str
) -> tuple[list[str], Path]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if local_dir is not None:
        folder = Path(local_dir)
    else:
        try:
            found = snapshot_download(repo_id, cache_dir=cache_dir, local_files_only=True)
        except LocalEntryNotFoundError:
            found = ""
        folder = Path(found or os.devnull)
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if not files:
        raise ModelNotFoundError(
            f"{reason}, and nothing of {repo_id!r} was downloaded before. Connect and try again; "
            "offline mode (HF_HUB_OFFLINE=1) takes what is in the cache without asking"
        )
    return files, folder


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
