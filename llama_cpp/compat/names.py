"""Names that scripts import from llama-cpp-python's modules, by accident or from older versions.

Modules ask here for what they do not have; none of it is in their ``__all__`` or ``dir()``. Names
of the C API that have left ``llama.h`` are in :mod:`llama_cpp.native.legacy`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

_CTYPES = {
    name: f"llama_cpp._ctypes_extensions:{name}"
    for name in (
        "CtypesArray", "CtypesCData", "CtypesFuncPointer", "CtypesPointer", "CtypesPointerOrRef",
        "CtypesRef", "CtypesVoidPointer", "byref",
    )
}  # fmt: skip
_RAW = {
    **_CTYPES,
    "gguf_context_p_ctypes": "ctypes:c_void_p",
    "llama_batch_ext_p_ctypes": "ctypes:c_void_p",
    "llama_memory_t_ctypes": "ctypes:c_void_p",
}
_TYPING = {
    name: f"typing:{name}"
    for name in (
        "Any", "Callable", "Deque", "Dict", "Generator", "Iterator", "List", "Literal", "Optional",
        "Sequence", "Tuple", "Union",
    )
}  # fmt: skip
_PROXY_ROUTES = "llama_cpp.server.proxy_routes"
_FIELDS = (
    "frequency_penalty_field", "grammar", "max_tokens_field", "min_p_field", "min_tokens_field",
    "mirostat_eta_field", "mirostat_mode_field", "mirostat_tau_field", "model_field",
    "presence_penalty_field", "repeat_penalty_field", "stop_field", "stream_field",
    "temperature_field", "top_k_field", "top_p_field",
)  # fmt: skip

NAMES: dict[str, dict[str, str]] = {
    "llama_cpp": {
        **_RAW, **_TYPING, "ctypes": "ctypes", "np": "numpy", "npt": "numpy.typing",
    },
    "llama_cpp.llama": {
        "BaseLlamaTokenizer": "llama_cpp.llama_tokenizer:BaseLlamaTokenizer",
        "LlamaDraftModel": "llama_cpp.llama_speculative:LlamaDraftModel",
        "LlamaGrammar": "llama_cpp.llama_grammar:LlamaGrammar",
        "suppress_stdout_stderr": "llama_cpp._utils:suppress_stdout_stderr",
        **{
            name: f"llama_cpp.llama_cache:{name}"
            for name in (
                "BaseLlamaCache", "LlamaCache", "LlamaDiskCache", "LlamaRAMCache", "LlamaState",
            )
        },
        **{
            name: f"llama_cpp.sampling.hooks:{name}"
            for name in (
                "LogitsProcessor", "LogitsProcessorList", "MinTokensLogitsProcessor",
                "StoppingCriteria", "StoppingCriteriaList",
            )
        },
    },
    "llama_cpp.llama_cpp": _RAW,
    "llama_cpp.mtmd_cpp": {
        "CtypesArray": _CTYPES["CtypesArray"],
        **{
            f"mtmd_{name}_p_ctypes": "ctypes:c_void_p"
            for name in (
                "batch", "bitmap", "context", "helper_gen_audio", "helper_video", "image_tokens",
                "input_chunk", "input_chunks",
            )
        },
    },
    "llama_cpp._logger": {"llama_log_callback": "llama_cpp.native.logs:_native_callback"},
    "llama_cpp._internals": {
        f"_{name}": f"llama_cpp._internals:{name}"
        for name in (
            "LlamaBatch", "LlamaContext", "LlamaModel", "LlamaSamplingContext",
            "LlamaSamplingParams", "LlamaTokenDataArray",
        )
    },
    "llama_cpp.llama_chat_format": {
        "logger": "llama_cpp.native.logs:logger",
        **{
            name: f"llama_cpp.chat.formats.helpers:{name}"
            for name in (
                "_convert_completion_to_chat", "_convert_completion_to_chat_function",
                "_convert_text_completion_to_chat", "_format_add_colon_single",
                "_format_add_colon_two", "_format_chatml", "_format_llama2",
                "_format_no_colon_single", "_get_system_message", "_grammar_for_json",
                "_grammar_for_json_schema", "_grammar_for_response_format", "_map_roles",
            )
        },
    },
    "llama_cpp.llama_grammar": {
        name: f"llama_cpp.constraints.json_schema.rules:{name}"
        for name in ("GRAMMAR_LITERAL_ESCAPE_RE", "INVALID_RULE_CHARS_RE")
    },
    "llama_cpp.llama_types": {
        **{name: _TYPING[name] for name in ("Dict", "List", "Optional", "Union")},
    },
    "llama_cpp.server.app": {
        "bearer_scheme": f"{_PROXY_ROUTES}:bearer_scheme",
        "llama_inner_lock": f"{_PROXY_ROUTES}:llama_inner_lock",
        "llama_outer_lock": f"{_PROXY_ROUTES}:llama_outer_lock",
        "router": f"{_PROXY_ROUTES}:router",
    },
    "llama_cpp.server.types": {
        name: f"llama_cpp.server.request_fields:{name}" for name in _FIELDS
    },
}  # fmt: skip
"""By module and name: where the value is, as ``module:attribute``, or a module."""


def find(module: str, name: str) -> Any:
    """Return the value of a name.

    Args:
        module: Where a script looks for it.
        name: What it looks for.

    Raises:
        AttributeError: It is none of these.
    """
    place = NAMES.get(module, {}).get(name)
    if place is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    owner, _, attribute = place.partition(":")
    value = importlib.import_module(owner)
    return getattr(value, attribute) if attribute else value


def lookup(module: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a module."""
    return lambda name: find(module, name)
