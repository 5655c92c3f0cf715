"""The names of llama-cpp-python's ``_logger`` module, over :mod:`llama_cpp.native.logs`."""

from .compat.names import lookup as _lookup
from .native.logs import LEVELS as GGML_LOG_LEVEL_TO_LOGGING_LEVEL
from .native.logs import logger, set_verbose

__all__ = ["GGML_LOG_LEVEL_TO_LOGGING_LEVEL", "logger", "set_verbose"]

# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
