"""What has left the C API for good, and what does its work today."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SAMPLE = "llama_sampler_sample over a chain with {}"
_IN_CHAIN = {
    "frequency_and_presence_penalties": "llama_sampler_init_penalties",
    "min_p": "llama_sampler_init_min_p",
    "repetition_penalties": "llama_sampler_init_penalties",
    "tail_free": "llama_sampler_init_top_p or llama_sampler_init_typical",
    "temp": "llama_sampler_init_temp",
    "temperature": "llama_sampler_init_temp",
    "token": "llama_sampler_init_dist",
    "token_greedy": "llama_sampler_init_greedy",
    "token_mirostat": "llama_sampler_init_mirostat",
    "token_mirostat_v2": "llama_sampler_init_mirostat_v2",
    "top_k": "llama_sampler_init_top_k",
    "top_p": "llama_sampler_init_top_p",
    "typical": "llama_sampler_init_typical",
    "entropy": "llama_sampler_init_temp_ext",
    "grammar": "llama_sampler_init_grammar",
    "softmax": "llama_sampler_init_dist",
}

_LORA = "llama_adapter_lora_init and llama_set_adapters_lora"
_PERF = "llama_perf_context"
_NOTHING = "nothing in its place: it has no successor"

# What has left the C API without a name here that does its work -> what does it today.
GONE = {
    **{f"llama_sample_{name}": _SAMPLE.format(today) for name, today in _IN_CHAIN.items()},
    "llama_apply_lora_from_file": _LORA,
    "llama_beam_search": _NOTHING,
    "llama_control_vector_apply": "llama_set_adapter_cvec",
    "llama_eval": "llama_decode with llama_batch_get_one(tokens, n_tokens)",
    "llama_eval_embd": "llama_decode with a batch whose embd is filled (llama_batch_init)",
    "llama_eval_export": _NOTHING,
    "llama_get_model_tensor": _NOTHING,
    "llama_get_timings": _PERF,
    "llama_get_vocab": "llama_vocab_n_tokens and llama_vocab_get_text",
    "llama_grammar_accept_token": "llama_sampler_accept",
    "llama_grammar_copy": "llama_sampler_clone",
    "llama_grammar_free": "llama_sampler_free",
    "llama_grammar_init": "llama_sampler_init_grammar, which takes GBNF",
    "llama_init_backend": "llama_backend_init",
    "llama_init_from_file": "llama_model_load_from_file, then llama_init_from_model",
    "llama_kv_cache_seq_shift": "llama_memory_seq_add with llama_get_memory(ctx)",
    "llama_kv_cache_tokens_rm": "llama_memory_seq_rm with llama_get_memory(ctx)",
    "llama_lora_adapter_clear": "llama_set_adapters_lora with no adapters",
    "llama_lora_adapter_free": "llama_adapter_lora_free",
    "llama_lora_adapter_init": "llama_adapter_lora_init",
    "llama_lora_adapter_remove": "llama_set_adapters_lora without the adapter",
    "llama_lora_adapter_set": "llama_set_adapters_lora",
    "llama_mlock_supported": "llama_supports_mlock",
    "llama_mmap_supported": "llama_supports_mmap",
    "llama_model_apply_lora_from_file": _LORA,
    "llama_n_ctx_from_model": "llama_model_n_ctx_train",
    "llama_n_embd_from_model": "llama_model_n_embd",
    "llama_n_vocab_from_model": "llama_vocab_n_tokens with llama_model_get_vocab(model)",
    "llama_print_timings": "llama_perf_context_print",
    "llama_reset_timings": "llama_perf_context_reset",
    "llama_sample_classifier_free_guidance": _NOTHING,
    "llama_sampler_init_tail_free": "llama_sampler_init_top_p or llama_sampler_init_typical",
    "llama_set_rng_seed": "the seed of llama_sampler_init_dist",
    "llama_timings": _PERF,
    "llama_token_get_type": "llama_vocab_get_attr",
    "llama_token_to_piece_with_model": "llama_token_to_piece",
    "llama_token_to_str": "llama_token_to_piece",
    "llama_token_to_str_with_model": "llama_token_to_piece",
    "llama_tokenize_with_model": "llama_tokenize with llama_model_get_vocab(model)",
}


def unknown(name: str, module: str, known: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that ``module`` lacks, with what to use in its place."""
    if name in GONE:
        return AttributeError(
            f"module {module!r} has no attribute {name!r}: it has left the C API, use {GONE[name]}"
        )
    public = [each for each in known if not each.startswith("_")]
    close = difflib.get_close_matches(name, public)
    hint = f". Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")
