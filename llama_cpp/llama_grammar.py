"""Grammars: llama-cpp-python's names for :mod:`llama_cpp.constraints`."""

from __future__ import annotations

from .compat.names import lookup as _lookup
from .constraints import stock_grammars
from .constraints.gbnf import LLAMA_GRAMMAR_DEFAULT_ROOT, LlamaGrammar
from .constraints.json_schema import rules
from .constraints.json_schema.converter import (
    SchemaConverter,
    check_json_schema,
    json_schema_to_gbnf,
)
from .constraints.json_schema.rules import *
from .constraints.stock_grammars import *

__all__ = [
    "LLAMA_GRAMMAR_DEFAULT_ROOT",
    "LlamaGrammar",
    "SchemaConverter",
    "check_json_schema",
    "json_schema_to_gbnf",
]
__all__ += rules.__all__
__all__ += stock_grammars.__all__

# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
