"""From the settings of a model to a ``Llama``."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from .. import llama_cpp as raw
from ..engine.speculative.prompt_lookup import LlamaPromptLookupDecoding
from ..errors import InvalidArgumentError
from ..llama import Llama
from ..llama_cache import LlamaDiskCache, LlamaRAMCache
from ..models.params import ContextParams, ModelParams, arguments_of
from .logits_processors import registered
from .settings import ModelSettings

_SAME = (
    *arguments_of(ModelParams()), *arguments_of(ContextParams()), "seed", "last_n_tokens_size",
    "lora_base", "lora_path", "lora_scale", "numa", "chat_format", "chat_template", "verbose",
)  # fmt: skip
"""Settings that are arguments of ``Llama``."""

_MTMD = "mtmd"


def load(settings: ModelSettings) -> Llama:
    """Load a model.

    Raises:
        LlamaError: It cannot be loaded.
        InvalidArgumentError: A setting is wrong.
    """
    arguments: dict[str, Any] = {name: getattr(settings, name) for name in _SAME}
    arguments["kv_overrides"] = overrides(arguments["kv_overrides"])
    arguments["logits_all"] = False  # it only costs memory here
    arguments["chat_handler"] = _chat_handler(settings)
    if arguments["chat_handler"] is not None:
        arguments["chat_format"] = None
    arguments["draft_model"] = _draft_model(settings)
    if settings.rpc_servers:
        add_rpc_servers(settings.rpc_servers)
    if settings.hf_pretrained_model_name_or_path is not None:
        from ..llama_tokenizer import LlamaHFTokenizer

        name = settings.hf_pretrained_model_name_or_path
        arguments["tokenizer"] = LlamaHFTokenizer.from_pretrained(name)
    if settings.hf_model_repo_id is not None:
        llama = Llama.from_pretrained(settings.hf_model_repo_id, settings.model, **arguments)
    else:
        llama = Llama(settings.model, **arguments)
    try:
        _furnish(llama, settings)
    except BaseException:
        llama.close()
        raise
    return llama


def _furnish(llama: Llama, settings: ModelSettings) -> None:
    """Add what is no argument of ``Llama``, and find what would fail only with a request."""
    if (settings.chat_format or settings.chat_template) and llama.chats.handler is None:
        llama.chats.renderer()
    if not settings.vocab_only and llama.pooling_type() == raw.LLAMA_POOLING_TYPE_NONE:
        # One vector for each text is what clients expect, of generating models too.
        llama.context_params.pooling_type = raw.LLAMA_POOLING_TYPE_MEAN
    for name, path in (settings.lora_adapters or {}).items():
        llama.load_lora(name, path)
    llama.logits_processors = registered(settings.logits_processors or ())
    if settings.cache:
        size = settings.cache_size
        is_disk = settings.cache_type == "disk"
        llama.set_cache(
            LlamaDiskCache(capacity_bytes=size) if is_disk else LlamaRAMCache(capacity_bytes=size)
        )


def add_rpc_servers(endpoints: str) -> None:
    """Make the devices of llama.cpp's RPC servers known, for ``n_gpu_layers`` to use.

    Args:
        endpoints: ``host:port``, several with commas between them.

    Raises:
        InvalidArgumentError: One of them does not answer.
    """
    for endpoint in filter(None, (part.strip() for part in endpoints.split(","))):
        if endpoint in _RPC_SERVERS:
            continue
        host, _, port = endpoint.rpartition(":")
        try:  # the engine ends the process where nobody answers
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(
                f"rpc_servers={endpoint!r} does not answer: {error}. It must be host:port of a "
                "running rpc-server"
            ) from None
        raw.llama_backend_init()
        raw.ggml_backend_register(raw.ggml_backend_rpc_add_server(endpoint.encode()))
        _RPC_SERVERS.add(endpoint)


_RPC_SERVERS: set[str] = set()


def overrides(pairs: list[str] | None) -> dict[str, bool | int | float | str] | None:
    """Read ``key=type:value``.

    Raises:
        InvalidArgumentError: It has another form.
    """
    if not pairs:
        return None
    values: dict[str, bool | int | float | str] = {}
    for pair in pairs:
        key, _, rest = pair.partition("=")
        kind, colon, value = rest.partition(":")
        try:
            if not key or not colon:
                raise ValueError
            if kind == "bool":
                values[key] = {"true": True, "false": False}[value.lower()]
            else:
                values[key] = {"int": int, "float": float, "str": str}[kind](value)
        except (ValueError, KeyError):
            raise InvalidArgumentError(
                f"kv_overrides={pair!r} must be key=type:value, type being int, float, bool or str"
            ) from None
    return values


def _draft_model(settings: ModelSettings) -> Any:
    if settings.draft_model == "prompt-lookup-decoding":  # llama-cpp-python's name
        return LlamaPromptLookupDecoding(num_pred_tokens=settings.draft_model_num_pred_tokens)
    return settings.draft_model


def _chat_handler(settings: ModelSettings) -> Any:
    from .. import llama_chat_format as formats

    name, clip = settings.chat_format, settings.clip_model_path
    if clip is not None:
        handler = _MEDIA_HANDLERS.get(name or _MTMD)
        if handler is None:
            raise InvalidArgumentError(
                f"chat_format={name!r} takes no clip_model_path: leave it out, or take one of "
                f"{', '.join(sorted(_MEDIA_HANDLERS))}"
            )
        return getattr(formats, handler)(
            clip_model_path=clip,
            verbose=settings.verbose,
            allow_remote=settings.allow_media_urls,
        )
    if name == "hf-autotokenizer":
        if settings.hf_pretrained_model_name_or_path is None:
            raise InvalidArgumentError(
                "chat_format=hf-autotokenizer needs hf_pretrained_model_name_or_path"
            )
        return formats.hf_autotokenizer_to_chat_completion_handler(
            settings.hf_pretrained_model_name_or_path
        )
    if name == "hf-tokenizer-config":
        if settings.hf_tokenizer_config_path is None:
            raise InvalidArgumentError(
                "chat_format=hf-tokenizer-config needs hf_tokenizer_config_path"
            )
        import json

        config = json.loads(Path(settings.hf_tokenizer_config_path).read_text(encoding="utf-8"))
        return formats.hf_tokenizer_config_to_chat_completion_handler(config)
    return None


_MEDIA_HANDLERS = {
    _MTMD: "MTMDChatHandler",
    "llava-1-5": "Llava15ChatHandler",
    "llava-1-6": "Llava16ChatHandler",
    "obsidian": "ObsidianChatHandler",
    "moondream": "MoondreamChatHandler",
    "nanollava": "NanoLlavaChatHandler",
    "llama-3-vision-alpha": "Llama3VisionAlphaChatHandler",
    "minicpm-v-2.6": "MiniCPMv26ChatHandler",
    "qwen2.5-vl": "Qwen25VLChatHandler",
    "gemma4": "Gemma4ChatHandler",
}
