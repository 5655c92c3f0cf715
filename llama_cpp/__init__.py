"""Run any GGUF model in your own process: Python bindings for llama.cpp.

What there is:

* ``llama_cpp.Llama`` completes texts, chats and embeds; ``AsyncLlama`` does for asyncio.
* ``llama_cpp.quantize`` makes a model smaller; ``llama_cpp.gguf`` reads, splits and merges files.
* ``llama_cpp.llama_cpp``, ``llama_cpp.mtmd_cpp``: every C function, struct and constant. Their
  names are available here too: ``llama_cpp.llama_n_ctx``.
* ``llama_cpp.handles``: models, contexts and samplers that own their native memory and raise
  where C would crash. ``llama_cpp._internals`` has the same under llama-cpp-python's names.

Everything is imported on first use, so importing the package costs next to nothing.
"""

from __future__ import annotations

import functools
import importlib
import os

TYPE_CHECKING = False  # importing typing would be most of this module's import time

__version__ = "0.3.100"

if TYPE_CHECKING:
    from typing import Any

    from ._logger import set_verbose as set_verbose
    from ._utils import suppress_stdout_stderr as suppress_stdout_stderr
    from .async_llama import AsyncLlama as AsyncLlama
    from .gguf.quantization import QuantizeResult as QuantizeResult
    from .gguf.quantization import quantize as quantize
    from .llama import Llama as Llama
    from .llama_cache import BaseLlamaCache as BaseLlamaCache
    from .llama_cache import LlamaCache as LlamaCache
    from .llama_cache import LlamaDiskCache as LlamaDiskCache
    from .llama_cache import LlamaRAMCache as LlamaRAMCache
    from .llama_cache import LlamaState as LlamaState
    from .llama_cache import LlamaTrieCache as LlamaTrieCache
    from .llama_cpp import *
    from .llama_grammar import LlamaGrammar as LlamaGrammar
    from .llama_speculative import LlamaDraftModel as LlamaDraftModel
    from .llama_tokenizer import BaseLlamaTokenizer as BaseLlamaTokenizer
    from .llama_tokenizer import LlamaTokenizer as LlamaTokenizer
    from .llama_types import *
    from .native.build_info import build_info as build_info
    from .sampling.hooks import BatchLogitsProcessor as BatchLogitsProcessor
    from .sampling.hooks import LogitsProcessor as LogitsProcessor
    from .sampling.hooks import LogitsProcessorList as LogitsProcessorList
    from .sampling.hooks import MinTokensLogitsProcessor as MinTokensLogitsProcessor
    from .sampling.hooks import StoppingCriteria as StoppingCriteria
    from .sampling.hooks import StoppingCriteriaList as StoppingCriteriaList

# Public names that are not raw C API, and the module that each comes from.
_TYPES = """
    ChatCompletion ChatCompletionChoice ChatCompletionChunk ChatCompletionChunkChoice
    ChatCompletionChunkDelta ChatCompletionChunkDeltaEmpty ChatCompletionFunction
    ChatCompletionFunctionCall ChatCompletionFunctionCallOption ChatCompletionFunctionParameters
    ChatCompletionFunctions ChatCompletionLogprobToken ChatCompletionLogprobs
    ChatCompletionMessage ChatCompletionMessageToolCall ChatCompletionMessageToolCalls
    ChatCompletionMessageToolCallChunk
    ChatCompletionMessageToolCallChunkFunction ChatCompletionMessageToolCallFunction
    ChatCompletionNamedToolChoice ChatCompletionNamedToolChoiceFunction
    ChatCompletionRequestAssistantMessage ChatCompletionRequestAssistantMessageFunctionCall
    ChatCompletionRequestFunctionCall ChatCompletionRequestFunctionCallOption
    ChatCompletionRequestFunctionMessage ChatCompletionRequestMessage
    ChatCompletionRequestMessageContentPart ChatCompletionRequestMessageContentPartAudio
    ChatCompletionRequestMessageContentPartAudioInput
    ChatCompletionRequestMessageContentPartImage
    ChatCompletionRequestMessageContentPartImageImageUrl
    ChatCompletionRequestMessageContentPartText ChatCompletionRequestResponseFormat
    ChatCompletionRequestSystemMessage ChatCompletionRequestToolMessage
    ChatCompletionRequestUserMessage ChatCompletionResponseChoice ChatCompletionResponseFunction
    ChatCompletionResponseFunctionCall ChatCompletionResponseMessage
    ChatCompletionStreamResponse ChatCompletionStreamResponseChoice
    ChatCompletionStreamResponseDelta ChatCompletionStreamResponseDeltaEmpty
    ChatCompletionStreamResponseDeltaFunctionCall ChatCompletionTool
    ChatCompletionToolChoiceOption ChatCompletionToolFunction ChatCompletionTopLogprobToken
    Completion CompletionChoice CompletionChunk CompletionLogprobs CompletionUsage
    CreateChatCompletionResponse CreateChatCompletionStreamResponse CreateCompletionResponse
    CreateCompletionStreamResponse CreateEmbeddingResponse Embedding EmbeddingData
    EmbeddingUsage JsonType PromptTokensDetails CompletionTokensDetails RerankDocument
    RerankResponse RerankResult
    PromptProgress SamplingTraceStage Timings TracedCandidate
""".split()
_MODULES = {
    **dict.fromkeys(_TYPES, "llama_types"),
    "AsyncLlama": "async_llama",
    "Llama": "llama",
    **dict.fromkeys(
        (
            "BaseLlamaCache",
            "LlamaCache",
            "LlamaDiskCache",
            "LlamaRAMCache",
            "LlamaState",
            "LlamaTrieCache",
        ),
        "llama_cache",
    ),
    "LlamaDraftModel": "llama_speculative",
    "LlamaGrammar": "llama_grammar",
    **dict.fromkeys(("BaseLlamaTokenizer", "LlamaTokenizer"), "llama_tokenizer"),
    **dict.fromkeys(
        (
            "BatchLogitsProcessor",
            "LogitsProcessor",
            "LogitsProcessorList",
            "MinTokensLogitsProcessor",
            "StoppingCriteria",
            "StoppingCriteriaList",
        ),
        "sampling.hooks",
    ),
    **dict.fromkeys(("QuantizeResult", "quantize"), "gguf.quantization"),
    "build_info": "native.build_info",
    "set_verbose": "_logger",
    "suppress_stdout_stderr": "_utils",
}
_PUBLIC_MODULES = """
    errors gguf handles llama_cache llama_chat_format llama_cpp llama_grammar llama_speculative
    llama_tokenizer llama_types models mtmd_cpp server structured tools
""".split()


def __getattr__(name: str) -> Any:
    if name == "__all__":
        # Asked for by `import *`, which would miss what is not imported yet.
        return sorted({*_MODULES, *_import("llama_cpp").__getattr__(name)})
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        value = getattr(_import(_MODULES[name]), name)
    else:
        # `import llama_cpp` is enough for `llama_cpp.llama_cpp.llama_n_ctx`.
        value = _import(name) if name in _submodules() else _raw(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # What a person types a tab for: not how this module finds it, nor the folders behind `Llama`.
    raw = _import("llama_cpp").__getattr__("__all__")
    return sorted({"__version__", *_MODULES, *_PUBLIC_MODULES, *raw})


def _import(module: str) -> Any:
    return importlib.import_module(f".{module}", __name__)


@functools.cache
def _submodules() -> frozenset[str]:
    folders: list[str] = globals()["__path__"]
    entries = {os.path.join(folder, entry) for folder in folders for entry in os.listdir(folder)}
    modules = {os.path.basename(entry)[:-3] for entry in entries if entry.endswith(".py")}
    packages = {
        os.path.basename(entry)
        for entry in entries
        if os.path.isfile(os.path.join(entry, "__init__.py"))
    }
    return frozenset(modules | packages)


def _raw(name: str) -> Any:
    raw, names = _import("llama_cpp"), _import("compat.names")
    try:
        if name.startswith("_"):  # the module's own business
            raise AttributeError(name)
        return names.find(__name__, name) if name in names.NAMES[__name__] else getattr(raw, name)
    except AttributeError:
        raise _import("native.gone").unknown(name, __name__, __dir__()) from None
