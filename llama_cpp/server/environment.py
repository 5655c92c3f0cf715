"""Settings in environment variables."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from ..errors import InvalidArgumentError

_LOGGER = logging.getLogger("llama_cpp.server")

PREFIX = "LLAMA_CPP_"
BARE_NAMES = frozenset({
    "model", "model_alias", "n_gpu_layers", "split_mode", "main_gpu", "tensor_split", "vocab_only",
    "use_mmap", "use_mlock", "kv_overrides", "rpc_servers", "seed", "n_ctx", "n_batch", "n_ubatch",
    "n_threads", "n_threads_batch", "rope_scaling_type", "rope_freq_base", "rope_freq_scale",
    "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx",
    "mul_mat_q", "logits_all", "embedding", "offload_kqv", "flash_attn", "last_n_tokens_size",
    "lora_base", "lora_path", "numa", "chat_format", "clip_model_path", "cache", "cache_type",
    "cache_size", "hf_tokenizer_config_path", "hf_pretrained_model_name_or_path",
    "hf_model_repo_id", "draft_model", "draft_model_num_pred_tokens", "type_k", "type_v",
    "verbose", "host", "port", "ssl_keyfile", "ssl_certfile", "api_key", "interrupt_requests",
    "disable_ping_events", "root_path", "config_file",
})  # fmt: skip
"""Settings of llama-cpp-python, whose users have them in variables without a prefix."""


def variable_of(setting: str) -> tuple[str, str] | None:
    """Return the name and the value of the variable that tells a setting.

    One that is empty is none: compose files pass variables that nobody has set.
    """
    by_name = {name.lower(): (name, value) for name, value in os.environ.items() if value}
    found = by_name.get(PREFIX.lower() + setting)
    if found is None and setting in BARE_NAMES:
        found = by_name.get(setting)
        if found is not None and not _is_meant(setting, *found):
            return None
    return found


def config_file_path(flag: str | None = None) -> str | None:
    """Where the file of settings is: a flag tells, or a variable."""
    variable = variable_of("config_file")
    return flag or (None if variable is None else variable[1])


def names_of(setting: str) -> str:
    """The variables that may tell a setting."""
    names = [PREFIX + setting.upper(), *([setting.upper()] if setting in BARE_NAMES else ())]
    return " or ".join(names)


@functools.cache  # it tells once what it ignores
def _is_meant(setting: str, name: str, value: str) -> bool:
    """Whether HOST and PORT are this server's: conda has a HOST, and orchestrators have PORTs."""
    if setting == "host":
        try:
            socket.getaddrinfo(value, None)
        except (OSError, UnicodeError):
            kind = "address"
        else:
            return True
    elif setting == "port" and not value.strip().isdecimal():
        kind = "port"
    else:
        return True
    _LOGGER.warning(
        "%s=%s is no %s, and ignored: set %s if it is meant for this server",
        name, value, kind, PREFIX + name.upper(),
    )  # fmt: skip
    return False


class Environment(PydanticBaseSettingsSource):
    """Settings in variables: with a prefix, or as llama-cpp-python calls them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return a value, its name, and whether it is in JSON."""
        found = variable_of(field_name)
        is_json = any(kind in str(field.annotation) for kind in ("list[", "dict["))
        return None if found is None else found[1], field_name, is_json

    def __call__(self) -> dict[str, Any]:
        """Return all that are set.

        Raises:
            InvalidArgumentError: What has to be JSON is none.
        """
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, is_json = self.get_field_value(field, name)
            if value is not None:
                values[name] = _decoded(name, value) if is_json else value
        return values


def _decoded(setting: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        found = variable_of(setting)
        assert found is not None
        raise InvalidArgumentError(f"{found[0]}={value} must be JSON: {error}") from None
