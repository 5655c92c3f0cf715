"""What can be set: by flags, environment variables and a file of configuration."""

from __future__ import annotations

import multiprocessing
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import Self

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, ModelNotFoundError
from ..models.params import ContextParams, ModelParams
from .config_file import ConfigFile
from .environment import Environment
from .logs import LogFormat
from .wrong_settings import explained

__all__ = ["ConfigFileSettings", "ModelSettings", "ServerSettings", "Settings"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_CONFIG = SettingsConfigDict(extra="ignore", protected_namespaces=(), populate_by_name=True)


class _Settings(BaseSettings):
    """Settings of arguments, and of the environment where there are none."""

    model_config = _CONFIG

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment our way."""
        return init_settings, Environment(settings_cls)


# The defaults are those of `Llama`, unless the server has its own.
_MODEL, _CONTEXT = ModelParams(), ContextParams()


class ModelSettings(_Settings):
    """One model. The fields are arguments of ``Llama`` where nothing else is said."""

    model: str = Field(description="The path of the model; with hf_model_repo_id, its file name.")
    model_alias: str | None = Field(
        None, description="What requests call the model; several names with commas between them."
    )
    n_gpu_layers: int | Literal["auto"] = Field(
        0,
        description='Layers to put on the GPU, -1 for all, "auto" for as many as fit.',
    )
    split_mode: int = Field(_MODEL.split_mode, description="LLAMA_SPLIT_MODE_*.")
    main_gpu: int = Field(_MODEL.main_gpu, ge=0, description="The GPU to use alone.")
    tensor_split: list[float] | None = Field(None, description="Shares of the GPUs.")
    vocab_only: bool = Field(_MODEL.vocab_only, description="Load only the vocabulary.")
    use_mmap: bool = Field(_MODEL.use_mmap, description="Map the file into memory.")
    use_mlock: bool = Field(
        _MODEL.use_mlock, description="Keep the weights from being swapped out."
    )
    kv_overrides: list[str] | None = Field(
        None, description="Metadata that replaces the file's: key=type:value, type int, float, "
        "bool or str."
    )  # fmt: skip
    rpc_servers: str | None = Field(None, description="RPC servers, with commas between them.")
    seed: int = Field(raw.LLAMA_DEFAULT_SEED, description="Of the random choices; -1: random.")
    n_ctx: int = Field(2048, ge=0, description="Tokens of one sequence; 0: the model's.")
    n_batch: int = Field(_CONTEXT.n_batch, ge=1, description="Tokens in one call of the engine.")
    n_ubatch: int = Field(_CONTEXT.n_ubatch, ge=1, description="Tokens in one graph.")
    n_threads: int | None = Field(
        _CONTEXT.n_threads, ge=-1, description="Threads for single tokens; -1: all that there are."
    )
    n_threads_batch: int | None = Field(
        _CONTEXT.n_threads_batch, ge=-1, description="Threads for prompts; -1: all that there are."
    )
    rope_scaling_type: int | None = Field(
        _CONTEXT.rope_scaling_type, description="LLAMA_ROPE_SCALING_TYPE_*."
    )
    rope_freq_base: float = Field(_CONTEXT.rope_freq_base, description="RoPE base frequency.")
    rope_freq_scale: float = Field(
        _CONTEXT.rope_freq_scale, description="RoPE frequency scaling factor."
    )
    yarn_ext_factor: float = Field(
        _CONTEXT.yarn_ext_factor, description="YaRN extrapolation mix factor."
    )
    yarn_attn_factor: float = Field(
        _CONTEXT.yarn_attn_factor, description="YaRN magnitude scaling factor."
    )
    yarn_beta_fast: float = Field(
        _CONTEXT.yarn_beta_fast, description="YaRN low correction dimension."
    )
    yarn_beta_slow: float = Field(
        _CONTEXT.yarn_beta_slow, description="YaRN high correction dimension."
    )
    yarn_orig_ctx: int = Field(_CONTEXT.yarn_orig_ctx, description="YaRN original context size.")
    mul_mat_q: bool = Field(True, description="Without effect: the engine decides.")
    logits_all: bool = Field(
        _CONTEXT.logits_all, description="Without effect: log-probabilities need it not."
    )
    embedding: bool = Field(
        _CONTEXT.embedding, description="Without effect: every model gives embeddings."
    )
    offload_kqv: bool = Field(_CONTEXT.offload_kqv, description="Keep the KV cache on the GPU.")
    flash_attn: bool | Literal["auto"] = Field(
        "auto", description="Flash attention; auto: where the engine can."
    )
    last_n_tokens_size: int = Field(64, ge=0, description="Tokens that penalties look back.")
    lora_base: str | None = Field(None, description="Without effect.")
    lora_path: str | None = Field(None, description="A LoRA adapter.")
    lora_scale: float = Field(1.0, description="Scale of the LoRA adapter.")
    lora_adapters: dict[str, str] | None = Field(
        None, description="Further LoRA adapters for requests with lora: paths by name."
    )
    logits_processors: list[str] | None = Field(
        None, description="Logits processors in Python for requests with logits_processor: "
        "module:name or alias=module:name."
    )  # fmt: skip
    numa: bool | int = Field(False, description="NUMA strategy.")
    chat_format: str | None = Field(None, description="A chat format in place of the template.")
    chat_template: str | None = Field(None, description="A Jinja chat template, or its file.")
    clip_model_path: str | None = Field(None, description="The projector of images and sounds.")
    allow_media_urls: bool = Field(
        False, description="Fetch images and sounds from public addresses that requests name."
    )
    cache: bool = Field(False, description="Keep states of prompts in a cache.")
    cache_type: Literal["ram", "disk"] = Field("ram", description="Where to keep them.")
    cache_size: int = Field(2 << 30, ge=1, description="Bytes of the cache.")
    hf_tokenizer_config_path: str | None = Field(
        None, description="The tokenizer_config.json of Hugging Face whose chat template to use."
    )
    hf_pretrained_model_name_or_path: str | None = Field(
        None, description="Hugging Face's tokenizer to use."
    )
    hf_model_repo_id: str | None = Field(None, description="Download the model from this repo.")
    draft_model: str | None = Field(
        None, description='A draft model: a path, "mtp", "ngram", or "prompt-lookup-decoding".'
    )
    draft_model_num_pred_tokens: int = Field(10, ge=1, description="Tokens to guess.")
    type_k: int | str | None = Field(
        _CONTEXT.type_k, description="Type of the K cache: q8_0, for example."
    )
    type_v: int | str | None = Field(_CONTEXT.type_v, description="Type of the V cache.")
    pooling_type: int = Field(_CONTEXT.pooling_type, description="LLAMA_POOLING_TYPE_*.")
    n_parallel: int = Field(4, ge=1, le=256, description="Requests that are decoded together.")
    attention_type: int = Field(_CONTEXT.attention_type, description="LLAMA_ATTENTION_TYPE_*.")
    op_offload: bool | None = Field(
        _CONTEXT.op_offload, description="Let the GPU compute with weights in main memory."
    )
    swa_full: bool | None = Field(
        _CONTEXT.swa_full, description="Keep all cells of sliding-window attention."
    )
    no_perf: bool = Field(_CONTEXT.no_perf, description="Do not measure times.")
    memory_limit: int | None = Field(
        _CONTEXT.memory_limit, ge=1, description="Bytes that model and context may take."
    )
    context_shift: bool = Field(_CONTEXT.context_shift, description="Go on when a context is full.")
    poll: int = Field(_CONTEXT.poll, ge=0, le=100, description="How eagerly threads look for work.")
    verbose: bool = Field(False, description="Log all that the engine says.")

    @field_validator("type_k", "type_v")
    @classmethod
    def _ggml_type(cls, value: int | str | None) -> int | None:
        if value is None or isinstance(value, int) or value.isdecimal():
            return None if value is None else int(value)
        number = getattr(raw, f"GGML_TYPE_{value.upper()}", None)
        if number is None:
            raise ValueError(f"{value!r} is no type of ggml: say f16, q8_0 or q4_0, for example")
        return int(number)

    @model_validator(mode="after")
    def set_dynamic_defaults(self) -> Self:
        """Let -1 threads be all that the machine has, as llama-cpp-python does."""
        if self.n_threads == -1:
            self.n_threads = multiprocessing.cpu_count()
        if self.n_threads_batch == -1:
            self.n_threads_batch = multiprocessing.cpu_count()
        return self

    def check_file(self) -> None:
        """Refuse a model that is not there.

        Raises:
            ModelNotFoundError: There is no such file, and it is not to be downloaded.
        """
        if self.hf_model_repo_id is None and not Path(self.model).is_file():
            raise ModelNotFoundError(
                f"There is no model file at {self.model!r}. Check the path; '~' is not expanded."
            )

    @property
    def names(self) -> list[str]:
        """What requests may call the model; the first is the one that answers tell."""
        aliases = [part.strip() for part in (self.model_alias or "").split(",") if part.strip()]
        return aliases or [Path(self.model).name]


class ServerSettings(_Settings):
    """The server."""

    host: str = Field("localhost", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0: any.")
    ssl_keyfile: str | None = Field(None, description="The key file for HTTPS.")
    ssl_certfile: str | None = Field(None, description="The certificate for HTTPS.")
    api_key: str | None = Field(
        None, description="What clients have to send; several keys with commas between them."
    )
    api_key_file: str | None = Field(None, description="A file with a key in each line.")
    interrupt_requests: bool = Field(
        False, description="Without effect: requests are decoded together and none is cut off."
    )
    disable_ping_events: bool = Field(False, description="Send no comments in quiet streams.")
    ping_seconds: float = Field(15.0, gt=0, description="How quiet a stream may be.")
    root_path: str = Field("", description="The path that a proxy strips.")
    allow_unauthenticated: bool = Field(
        False, description="Listen on other addresses than loopback without a key."
    )
    allowed_hosts: list[str] = Field(
        [], description="Host names that requests may be for, besides the server's own."
    )
    cors_allow_origins: list[str] = Field(
        [], description='Origins whose pages may use the server; "*" for all.'
    )
    max_queue: int = Field(256, ge=0, description="Requests that may wait for each model.")
    max_body_bytes: int = Field(32 << 20, ge=1, description="The largest body of a request.")
    max_total_body_bytes: int = Field(
        128 << 20, ge=1, description="What all bodies may have that are read, wait or run."
    )
    max_header_bytes: int = Field(64 << 10, ge=1, description="The largest head of a request.")
    header_timeout: float = Field(
        60.0, gt=0, description="Seconds in which the head of a request has to come."
    )
    body_timeout: float = Field(300.0, gt=0, description="Seconds in which its body has to come.")
    send_timeout: float = Field(
        30.0, gt=0, description="Seconds after which a client that reads nothing is given up."
    )
    max_tokens_limit: int | None = Field(None, ge=1, description="The most tokens of an answer.")
    max_priority: int | None = Field(
        None, description="The highest priority that a request may have; higher ones are lowered."
    )
    idle_unload_seconds: float | None = Field(
        None, gt=0, description="Unload a model that was not used for so long."
    )
    models_memory_limit: int | None = Field(
        None, ge=1, description="Bytes that loaded models may take together."
    )
    shutdown_seconds: int = Field(30, ge=0, description="How long to finish what runs at the end.")
    access_log: bool = Field(True, description="Log each request.")
    otel: bool | None = Field(
        None,
        description="Trace requests by OpenTelemetry; left out: where OTEL_EXPORTER_OTLP_ENDPOINT "
        "says where traces go.",
    )
    log_format: LogFormat = Field("text", description="Lines of the log: text, or json.")

    @property
    def keys(self) -> list[str]:
        """The keys that clients may send."""
        keys = [part.strip() for part in (self.api_key or "").split(",")]
        if self.api_key_file is not None:
            try:
                keys += [
                    line.strip() for line in Path(self.api_key_file).read_text("utf-8").splitlines()
                ]
            except (OSError, ValueError) as error:
                raise InvalidArgumentError(
                    f"api_key_file={self.api_key_file} cannot be read: {error}"
                ) from None
        keys = [key for key in keys if key]
        if not keys and (self.api_key is not None or self.api_key_file is not None):
            raise InvalidArgumentError("there is no key in api_key or api_key_file")
        return keys

    def check_certificate(self) -> None:
        """Refuse half of what HTTPS needs, and what is none of it.

        Raises:
            InvalidArgumentError: The key or the certificate is not there, or is none.
        """
        files = {"ssl_keyfile": self.ssl_keyfile, "ssl_certfile": self.ssl_certfile}
        if not any(files.values()):
            return
        for name, path in files.items():
            if path is None:
                raise InvalidArgumentError(f"{name} is missing: HTTPS needs {' and '.join(files)}")
            if not Path(path).is_file():
                raise InvalidArgumentError(f"{name}={path}: there is no such file")
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(str(self.ssl_certfile), self.ssl_keyfile)
        except OSError as error:
            raise InvalidArgumentError(
                f"ssl_certfile={self.ssl_certfile} and ssl_keyfile={self.ssl_keyfile} must be a "
                f"certificate and its key, in PEM: {error}"
            ) from None

    def check_safe(self) -> None:
        """Refuse to let everybody in by mistake.

        Raises:
            InvalidArgumentError: Others reach the server, and need no key.
        """
        if self.keys or self.host in LOOPBACK or self.allow_unauthenticated:
            return
        raise InvalidArgumentError(
            f"host={self.host} lets other machines in: set api_key or api_key_file, or "
            "allow_unauthenticated=true if that is meant"
        )


class Settings(ServerSettings, ModelSettings):
    """The server and one model."""


class ConfigFileSettings(ServerSettings):
    """The server and any number of models, in a file.

    The first model is the default.
    """

    models: list[ModelSettings] = Field(min_length=1, description="The models.")

    @classmethod
    def from_file(cls, path: str, flags: Mapping[str, Any] | None = None) -> Self:
        """Read JSON, or YAML from a file that is called ``.yaml`` or ``.yml``.

        A file without ``models`` is about one model, whose settings stand beside the server's.

        Args:
            path: The file.
            flags: Settings that win over the file's.

        Raises:
            InvalidArgumentError: The file cannot be read, has a name that is no setting or a value
                that is wrong, or has several models and a flag is about one.
        """
        file = ConfigFile(path)
        values, flags = file.values, flags or {}
        of_model = {name: flags[name] for name in flags if name in ModelSettings.model_fields}
        is_flat = "models" not in values
        known = [*cls.model_fields, *(ModelSettings.model_fields if is_flat else ())]
        file.check_names((), values, known)
        if is_flat:
            own = [name for name in values if name in ModelSettings.model_fields]
            values["models"] = [{name: values.pop(name) for name in own}]
        models = values["models"]
        if isinstance(models, list) and all(isinstance(model, dict) for model in models):
            for number, model in enumerate(models):
                file.check_names(("models", number), model, ModelSettings.model_fields)
            if of_model and len(models) > 1:
                raise InvalidArgumentError(
                    f"--{next(iter(of_model))} is about one model, and config_file={path} has "
                    f"{len(models)}: set it there"
                )
            values["models"] = [{**model, **of_model} for model in models]
        values.update((name, flags[name]) for name in flags if name not in of_model)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidArgumentError(
                "; ".join(explained(error, Settings.model_fields, flags, file, is_flat=is_flat))
            ) from None
