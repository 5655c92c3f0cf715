"""Over HTTP no error advises a Python programmer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_cpp
from llama_cpp import errors
from llama_cpp.server.advice import for_client
from llama_cpp.server.errors import described

PACKAGE = Path(llama_cpp.__file__).parent
# Where the work of requests is done.
FOLDERS = ("chat", "constraints", "embeddings", "engine", "generation", "handles", "models",
           "sampling", "text", "validation")  # fmt: skip
OF_PYTHON = re.compile(
    r"\bLlama\b|\bLlama[A-Z]|\w\(|=(True|False|None)\b|\b[Cc]reate (it|the|a)\b|: use [a-z_]+$"
    r"|\bcall(ing)?\b (with|\w+_)|\bpass\b|native log|\bparams\.|_seq\b|allow_(files|remote)"
)
# What no request can come to.
ONLY_IN_PYTHON = (
    "chat/asking.py", "chat/chats.py", "chat/formats", "chat/openai_objects.py",
    "constraints/gbnf.py", "constraints/json_schema/converter.py", "engine/speculative",
    "generation/manual_sequence.py", "generation/choosing.py", "generation/measures.py",
    "generation/scoring.py", "generation/states.py", "handles/adapter.py",
    "handles/batch.py", "handles/candidates.py", "handles/context_params.py", "handles/memory.py",
    "handles/python_sampler.py", "handles/sampler.py", "handles/state.py", "handles/threadpool.py",
    "handles/token_sampler.py", "models/fit.py", "models/loading.py", "models/params.py",
    "models/hub.py", "sampling/hooks.py", "handles/mtp.py", "handles/footprint.py",
)  # fmt: skip

# What requests do not do.
ONLY_BY_HAND = (
    "has no encoder: use decode", "this context pools", "cannot be decoded: this context takes",
    "belongs to several sequences", "unload_lora(", "load it by load_lora",
)  # fmt: skip


def raised() -> Iterator[tuple[str, errors.LlamaError]]:
    """Every error of a request that is written out, with numbers for what is filled in."""
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            name = path.relative_to(PACKAGE).as_posix()
            if name.startswith(ONLY_IN_PYTHON):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                    kind = getattr(errors, node.func.id, None)
                    text = written(node.args[0])
                    if isinstance(kind, type) and issubclass(kind, errors.LlamaError) and text:
                        yield f"{name}:{node.lineno}", kind(text)


def written(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "7" for part in node.values)
        return "".join(map(str, parts))
    return ""


def test_no_error_of_a_request_is_for_python() -> None:
    told = [(place, *described(error)[:2]) for place, error in raised()]
    assert len(told) > 100
    wrong = [
        f"{place}: {body['message']}"
        for place, status, body in told
        if status in (400, 503)
        and OF_PYTHON.search(body["message"])
        and not any(text in body["message"] for text in ONLY_BY_HAND)
    ]
    assert not wrong, "add what a client can do to server/advice.py"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            errors.ContextWindowError(
                "Requested tokens (9) exceed context window of 8: shorten the prompt, or create "
                "the model with a larger n_ctx"
            ),
            (
                "Requested tokens (9) exceed context window of 8: shorten the prompt, or start the "
                "server with a larger n_ctx"
            ),
        ),
        (
            errors.VocabularyOnlyError("engine"),
            "this model is loaded as a vocabulary only: it can tokenize and nothing else",
        ),
        (errors.MediaError("/srv/a b.gguf takes images only, and this is an audio file"),
         "the model takes images only, and this is an audio file"),
        (errors.MediaError("the file 'x' is not opened: send it as a data URI (data:image/png;"
                           "base64,...), or create the handler with allow_files=True"),
         "the file 'x' is not opened: send it as a data URI (data:image/png;base64,...)"),
        (errors.GrammarError("the grammar does not parse", ["parse: at 0x7f", "failed"]),
         "the grammar does not parse"),
        (errors.ClosedError("the model is closed: create a new Llama"),
         "the model was unloaded: try again"),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_advice_is_for_clients(error: errors.LlamaError, told: str) -> None:
    assert for_client(error) == told
