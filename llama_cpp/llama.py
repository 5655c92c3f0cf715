"""``Llama``: a model, ready to complete, chat and embed."""

from __future__ import annotations

import importlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as GeneratorType
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import llama_cpp as raw
from ._logger import set_verbose
from .compat.names import find
from .errors import VocabularyOnlyError
from .llama_tokenizer import LlamaTokenizer
from .native.threads import POLL

# What works on a model is imported when one is opened: it takes five times as long as the rest.
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self, Unpack

    from ._utils import suppress_stdout_stderr as suppress_stdout_stderr
    from .cache.state import LlamaState as LlamaState
    from .chat.options import (
        ChatOptions,
        FurtherChatOptions,
        Messages,
        ReplyOptions,
        ToolChoice,
        Tools,
    )
    from .constraints.constraint import Constraint
    from .constraints.gbnf import LlamaGrammar
    from .embeddings.embedding import TextOrTokens
    from .engine.speculative.prompt_lookup import LlamaDraftModel
    from .generation.choosing import Choice
    from .generation.measures import Perplexity, Score
    from .generation.options import (
        CompletionOptions,
        FurtherCompletionOptions,
        LogitsProcessors,
        StoppingCriterias,
    )
    from .generation.prompts import Prompt
    from .generation.scoring import Part
    from .handles.footprint import MemoryUse
    from .handles.token_sampler import TokenSampler
    from .llama_cache import BaseLlamaCache as BaseLlamaCache
    from .llama_cache import LlamaCache as LlamaCache
    from .llama_cache import LlamaDiskCache as LlamaDiskCache
    from .llama_cache import LlamaRAMCache as LlamaRAMCache
    from .llama_tokenizer import BaseLlamaTokenizer
    from .llama_types import *
    from .llama_types import (
        CreateChatCompletionResponse,
        CreateChatCompletionStreamResponse,
        CreateCompletionResponse,
        CreateCompletionStreamResponse,
        CreateEmbeddingResponse,
        RerankResponse,
    )
    from .models.adapters import Path
    from .models.address import ModelAddress
    from .sampling.hooks import LogitsProcessor as LogitsProcessor
    from .sampling.hooks import LogitsProcessorList as LogitsProcessorList
    from .sampling.hooks import MinTokensLogitsProcessor as MinTokensLogitsProcessor
    from .sampling.hooks import StoppingCriteria as StoppingCriteria
    from .sampling.hooks import StoppingCriteriaList as StoppingCriteriaList
    from .structured.shape import TypeOrSchema
    from .structured.streams import ChunkStream
    from .tools.loop import Runnable, ToolRun

T = TypeVar("T")


def __getattr__(name: str) -> Any:
    # Scripts import types, caches and hooks from here.
    try:
        return find(__name__, name)
    except AttributeError:
        if name.startswith("_"):
            raise
    return getattr(importlib.import_module(".llama_types", __package__), name)


class Llama:
    """A model that runs in this process.

    Any number of threads may call one ``Llama``. With ``n_parallel`` > 1 their requests are
    decoded together, else one after the other; the results are the same.

    Args:
        model_path: A GGUF file; of a split model, its first file.
        n_gpu_layers: Layers to put on the GPU, -1 for all; "auto" for as many as fit, which are
            none without a GPU.
        split_mode: How to split over several GPUs: ``LLAMA_SPLIT_MODE_*``.
        main_gpu: The GPU that is used alone with ``LLAMA_SPLIT_MODE_NONE``.
        tensor_split: Shares of the GPUs.
        vocab_only: Load only the vocabulary: nothing but tokenizing works then.
        use_mmap: Map the file into memory.
        use_mlock: Keep the weights from being swapped out.
        kv_overrides: Metadata that replaces the file's, of the same type. Keys that the engine
            does not read bring a warning.
        seed: Of the random choices; 2**32 - 1, or -1, takes a random one.
        n_ctx: Tokens that one sequence may have; 0 takes what the model was trained with, or as
            many of these as ``memory_limit`` allows.
        n_batch: Tokens in one call of the engine.
        n_ubatch: Tokens in one graph.
        n_threads: Threads for single tokens; None takes the cores this process may use.
        n_threads_batch: Threads for prompts; None likewise.
        rope_scaling_type: ``LLAMA_ROPE_SCALING_TYPE_*``, -1 for the model's.
        pooling_type: ``LLAMA_POOLING_TYPE_*``, -1 for the model's.
        attention_type: ``LLAMA_ATTENTION_TYPE_*``, -1 for the model's.
        rope_freq_base: RoPE base frequency, 0 for the model's.
        rope_freq_scale: RoPE frequency scaling factor, 0 for the model's.
        yarn_ext_factor: YaRN extrapolation mix factor, negative for the model's.
        yarn_attn_factor: YaRN magnitude scaling factor, 1.0 for the model's.
        yarn_beta_fast: YaRN low correction dimension, 32.0 for the model's.
        yarn_beta_slow: YaRN high correction dimension, 1.0 for the model's.
        yarn_orig_ctx: YaRN original context size.
        logits_all: Whether ``eval`` keeps the logits of every token. Log-probabilities do not
            need it.
        embedding: Whether the model is to give embeddings.
        offload_kqv: Keep the KV cache on the GPU.
        flash_attn: Flash attention: True, False or "auto", which is where the engine can. (Off by
            default in llama-cpp-python; several texts at once are a third faster with it.)
        op_offload: Let the GPU compute with weights that stay in main memory.
        swa_full: Keep all cells of sliding-window attention.
        no_perf: Do not measure times.
        last_n_tokens_size: How many tokens the repetition penalties look back.
        lora_base: Ignored, as in llama-cpp-python.
        lora_scale: Scale of the LoRA adapter.
        lora_path: A LoRA adapter for the model.
        numa: NUMA strategy: a bool or ``GGML_NUMA_STRATEGY_*``.
        chat_format: The name of a chat format, in place of the model's template.
        chat_handler: What turns messages into a completion, in place of a format.
        chat_template: In place of the model's template: Jinja, the path of a file with it, or the
            name of a format or of another template of the model.
        draft_model: Guesses tokens ahead: the text is the same, and sooner there. A
            ``LlamaDraftModel``, the path of a smaller model with the same vocabulary or a ``Llama``
            of one, "mtp", the model's own head for multi-token prediction, or "ngram", which looks
            for what followed the last tokens before.
        tokenizer: In place of the model's own.
        type_k: Type of the K cache: ``GGML_TYPE_*``.
        type_v: Type of the V cache.
        spm_infill: Put the suffix before the prefix when filling in the middle.
        verbose: Whether the engine's messages reach ``logging`` as they come.
        n_parallel: Sequences that are decoded together, each of ``n_ctx`` tokens.
        context_shift: Whether a text that fills the context goes on, without its older half.
        poll: How eagerly worker threads look for work between tokens: 0 sleeps, 100 spins. Where
            another model computes at the same time, fewer ``n_threads`` help, not this.
        memory_limit: Bytes that model and context may take, on all devices, as ``memory()`` counts
            them without ``use_mmap``.
        progress: Is told the loaded fraction, 0 to 1, and returns False to stop; True shows a
            bar on a terminal.
        kwargs: Accepted for scripts of other versions; a warning names them.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with the file.
        ContextError: The parameters contradict each other or the model.
        OutOfMemoryError: Model and context do not fit into memory.
        InvalidArgumentError: An argument is out of range or of another type.
    """

    def __init__(
        self,
        model_path: str,
        *,
        n_gpu_layers: int | str = 0,
        split_mode: int = raw.LLAMA_SPLIT_MODE_LAYER,
        main_gpu: int = 0,
        tensor_split: list[float] | None = None,
        vocab_only: bool = False,
        use_mmap: bool = True,
        use_mlock: bool = False,
        kv_overrides: dict[str, bool | int | float | str] | None = None,
        seed: int = raw.LLAMA_DEFAULT_SEED,
        n_ctx: int = 512,
        n_batch: int = 512,
        n_ubatch: int = 512,
        n_threads: int | None = None,
        n_threads_batch: int | None = None,
        rope_scaling_type: int | None = raw.LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED,
        pooling_type: int = raw.LLAMA_POOLING_TYPE_UNSPECIFIED,
        attention_type: int = raw.LLAMA_ATTENTION_TYPE_UNSPECIFIED,
        rope_freq_base: float = 0.0,
        rope_freq_scale: float = 0.0,
        yarn_ext_factor: float = -1.0,
        yarn_attn_factor: float = 1.0,
        yarn_beta_fast: float = 32.0,
        yarn_beta_slow: float = 1.0,
        yarn_orig_ctx: int = 0,
        logits_all: bool = False,
        embedding: bool = False,
        offload_kqv: bool = True,
        flash_attn: bool | str = "auto",
        op_offload: bool | None = None,
        swa_full: bool | None = None,
        no_perf: bool = False,
        last_n_tokens_size: int = 64,
        lora_base: str | None = None,
        lora_scale: float = 1.0,
        lora_path: str | None = None,
        numa: bool | int = False,
        chat_format: str | None = None,
        chat_handler: Any = None,
        draft_model: LlamaDraftModel | Llama | str | os.PathLike[str] | None = None,
        tokenizer: BaseLlamaTokenizer | None = None,
        type_k: int | None = None,
        type_v: int | None = None,
        spm_infill: bool = False,
        verbose: bool = True,
        n_parallel: int = 1,
        context_shift: bool = False,
        poll: int = POLL,
        chat_template: str | os.PathLike[str] | None = None,
        progress: bool | Callable[[float], bool | None] = False,
        memory_limit: int | None = None,
        **kwargs: Any,
    ) -> None:
        from ._internals import LlamaContext
        from .assembly.parts import make_parts
        from .chat.templates import Templates
        from .engine.speculative.draft_model import MTP
        from .models.loading import load_model, start_numa
        from .models.params import ContextParams, ModelParams, arguments_of
        from .sampling.defaults import SamplingDefaults

        if kwargs:
            names = ", ".join(sorted(kwargs))
            warnings.warn(f"Llama does not know these arguments: {names}", stacklevel=2)
        set_verbose(verbose)
        if numa:
            start_numa(numa)
        given = ModelParams(
            n_gpu_layers=n_gpu_layers, split_mode=split_mode, main_gpu=main_gpu,
            tensor_split=tensor_split, vocab_only=vocab_only, use_mmap=use_mmap,
            use_mlock=use_mlock, kv_overrides=kv_overrides,
        )  # fmt: skip
        wanted = ContextParams(
            n_ctx=n_ctx, n_parallel=n_parallel, n_batch=n_batch, n_ubatch=n_ubatch,
            n_threads=n_threads, n_threads_batch=n_threads_batch,
            rope_scaling_type=rope_scaling_type, pooling_type=pooling_type,
            attention_type=attention_type, rope_freq_base=rope_freq_base,
            rope_freq_scale=rope_freq_scale, yarn_ext_factor=yarn_ext_factor,
            yarn_attn_factor=yarn_attn_factor, yarn_beta_fast=yarn_beta_fast,
            yarn_beta_slow=yarn_beta_slow, yarn_orig_ctx=yarn_orig_ctx, logits_all=logits_all,
            embedding=embedding, offload_kqv=offload_kqv, flash_attn=flash_attn,
            op_offload=op_offload, swa_full=swa_full, no_perf=no_perf, type_k=type_k,
            type_v=type_v, poll=poll, context_shift=context_shift, memory_limit=memory_limit,
        )  # fmt: skip
        self.model_path = os.fspath(model_path)
        self.verbose = verbose
        self.n_batch = n_batch
        self.spm_infill = spm_infill
        self.last_n_tokens_size = last_n_tokens_size
        self.draft_model = draft_model
        self.lora_base, self.lora_scale, self.lora_path = lora_base, lora_scale, lora_path
        self.logits_processors: dict[str, Any] = {}
        """Those that requests of a server may name."""
        # What a pickle holds: it loads the model anew.
        self._arguments: dict[str, Any] = {
            **arguments_of(given), **arguments_of(wanted), **kwargs, "model_path": self.model_path,
            "seed": seed, "last_n_tokens_size": last_n_tokens_size, "lora_base": lora_base,
            "lora_scale": lora_scale, "lora_path": lora_path, "numa": numa,
            "chat_format": chat_format, "chat_handler": chat_handler, "draft_model": draft_model,
            "tokenizer": tokenizer, "spm_infill": spm_infill, "verbose": verbose,
            "chat_template": chat_template, "progress": progress,
        }  # fmt: skip
        self.sampling_defaults = SamplingDefaults(seed, last_n_tokens_size)
        self._model, self.model_params, context_params = load_model(
            self.model_path, given, wanted, drafts=draft_model is not None,
            load_mtp=draft_model == MTP, progress=progress, verbose=verbose,
        )  # fmt: skip
        self.weights = self._model.handle
        if self.weights.unread_overrides:
            keys = ", ".join(self.weights.unread_overrides)
            warnings.warn(f"kv_overrides without effect on this model: {keys}", stacklevel=2)
        self._n_vocab = self.weights.n_vocab
        self.metadata = self._model.metadata()
        self.tokenizer_ = tokenizer or LlamaTokenizer(self)
        templates = Templates(self.weights.vocab, self.metadata, chat_template)
        if chat_format is None and chat_handler is None:
            chat_format = templates.default_format
        self.vocab_only = context_params is None
        if context_params is None:
            return
        self.context_params = context_params
        self._ctx = LlamaContext(
            model=self._model, params=context_params, verbose=verbose, poll=poll
        )
        self._parts = parts = make_parts(
            self._ctx.handle, wanted, self.tokenizer_, templates, self.sampling_defaults,
            name=self.model_path, metadata=self.metadata, chat_format=chat_format,
            chat_handler=chat_handler, draft_model=draft_model, lora_path=lora_path,
            lora_scale=lora_scale, spm_infill=spm_infill,
        )  # fmt: skip
        self.engine = parts.engine
        self.completions = parts.completions
        self.chats = parts.chats
        self.embeddings = parts.embeddings
        self.measures = parts.measures
        self.adapters = parts.adapters
        self.prompt_cache = parts.prompt_cache
        self.states = parts.states
        self.sequence = parts.sequence
        self._sampler: TokenSampler | None = None

    # Completions.

    @overload
    def create_completion(
        self,
        prompt: Prompt,
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | list[str] | None = ...,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: Literal[False] = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        stopping_criteria: StoppingCriterias = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherCompletionOptions],
    ) -> CreateCompletionResponse: ...
    @overload
    def create_completion(
        self, prompt: Prompt, *, stream: Literal[True], **options: Unpack[CompletionOptions]
    ) -> ChunkStream[CreateCompletionStreamResponse]: ...
    @overload
    def create_completion(
        self, prompt: Prompt, *, stream: bool, **options: Unpack[CompletionOptions]
    ) -> CreateCompletionResponse | ChunkStream[CreateCompletionStreamResponse]: ...
    def create_completion(
        self,
        prompt: Prompt,
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        stopping_criteria: StoppingCriterias = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherCompletionOptions],
    ) -> CreateCompletionResponse | Iterator[CreateCompletionStreamResponse]:
        """Complete a prompt.

        Args:
            prompt: A text, token ids, or a list of either.
            suffix: What comes after the text to write: the model fills in the middle.
            max_tokens: How many tokens at most, exactly; None or a negative number: until the
                context is full.
            temperature: Divides the logits; 0 takes the likeliest token, a negative one draws from
                the plain softmax.
            top_p: Keep the likeliest tokens that sum up to p.
            min_p: Keep those at least p times as likely as the best.
            typical_p: Keep those of about average information.
            logprobs: How many of the likeliest tokens to tell with each token.
            echo: Whether the prompt is part of the text.
            stop: Texts that end the completion.
            frequency_penalty: Subtracted from the logit per occurrence of a token.
            presence_penalty: Subtracted once.
            repeat_penalty: Divides the logits of tokens seen before.
            top_k: Keep the k likeliest.
            stream: Whether to return an iterator of parts.
            seed: Of the random choices; None and -1 take another one each time.
            tfs_z: Without effect: the engine has no tail-free sampling any more.
            mirostat_mode: 0, 1 or 2.
            mirostat_tau: Mirostat's target surprise.
            mirostat_eta: Mirostat's learning rate.
            model: What the result says the model is.
            stopping_criteria: Callables that say from tokens and logits whether to stop.
            logits_processor: Callables that change the logits.
            grammar: What the text has to look like.
            logit_bias: Added to the logits, by token id.
            n: How many completions of each prompt.
            stream_options: ``{"include_usage": True}`` adds a chunk with the usage.
            lora: Scales of LoRA adapters by name (``load_lora``); None takes that of ``lora_path``.
            **more: Further parameters: see ``SamplingParams``, and ``CompletionExtras``.

        Returns:
            OpenAI's completion object, or an iterator of its chunks. Closing the iterator stops
            the generation; its ``partial()`` tells what a text in JSON says so far.

        Raises:
            ContextWindowError: The prompt does not fit into the context.
            InvalidArgumentError: An argument is out of range.
            GrammarError: The grammar does not parse.
            ReplyValidationError: A text is no object of the type that was given as ``schema``.
        """
        params = self.completions.params(
            suffix=suffix, max_tokens=max_tokens, temperature=temperature, top_p=top_p,
            min_p=min_p, typical_p=typical_p, logprobs=logprobs, echo=echo, stop=stop,
            frequency_penalty=frequency_penalty, presence_penalty=presence_penalty,
            repeat_penalty=repeat_penalty, top_k=top_k, seed=seed, tfs_z=tfs_z,
            mirostat_mode=mirostat_mode, mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta,
            model=model, stopping_criteria=stopping_criteria, logits_processor=logits_processor,
            grammar=grammar, logit_bias=logit_bias, n=n, stream_options=stream_options,
            lora=lora, **more,
        )  # fmt: skip
        job = self.completions.job(prompt, params)
        return job.chunks() if stream else job.result()

    if TYPE_CHECKING:
        __call__ = create_completion
    else:

        def __call__(
            self,
            prompt: Prompt,
            suffix: str | None = None,
            max_tokens: int | None = 16,
            temperature: float = 0.8,
            top_p: float = 0.95,
            min_p: float = 0.05,
            typical_p: float = 1.0,
            logprobs: int | None = None,
            echo: bool = False,
            stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
            frequency_penalty: float = 0.0,
            presence_penalty: float = 0.0,
            repeat_penalty: float = 1.0,
            top_k: int = 40,
            stream: bool = False,
            seed: int | None = None,
            tfs_z: float = 1.0,
            mirostat_mode: int = 0,
            mirostat_tau: float = 5.0,
            mirostat_eta: float = 0.1,
            model: str | None = None,
            stopping_criteria: StoppingCriterias = None,
            logits_processor: LogitsProcessors = None,
            grammar: LlamaGrammar | str | Constraint | None = None,
            logit_bias: Mapping[Any, float] | None = None,
            *,
            n: int = 1,
            stream_options: Mapping[str, Any] | None = None,
            lora: Mapping[str, float] | None = None,
            **more: Unpack[FurtherCompletionOptions],
        ) -> CreateCompletionResponse | Iterator[CreateCompletionStreamResponse]:
            """Complete a prompt: see ``create_completion``."""
            return self.create_completion(
                prompt,
                suffix=suffix, max_tokens=max_tokens, temperature=temperature, top_p=top_p,
                min_p=min_p, typical_p=typical_p, logprobs=logprobs, echo=echo, stop=stop,
                frequency_penalty=frequency_penalty, presence_penalty=presence_penalty,
                repeat_penalty=repeat_penalty, top_k=top_k, seed=seed, tfs_z=tfs_z,
                mirostat_mode=mirostat_mode, mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta,
                model=model, stopping_criteria=stopping_criteria, logits_processor=logits_processor,
                grammar=grammar, logit_bias=logit_bias, n=n, stream_options=stream_options,
                lora=lora, **more,
                stream=stream,
            )  # fmt: skip

    # Chats.

    @overload
    def create_chat_completion(
        self,
        messages: Messages,
        functions: Tools = None,
        function_call: ToolChoice = None,
        tools: Tools = None,
        tool_choice: ToolChoice = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: Literal[False] = False,
        stop: str | list[str] | None = ...,
        seed: int | None = None,
        response_format: TypeOrSchema = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        max_completion_tokens: int | None = None,
        parallel_tool_calls: bool | None = None,
        enable_thinking: bool | None = None,
        reasoning_format: str | None = None,
        continue_final_message: bool | Literal["content", "reasoning_content"] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherChatOptions],
    ) -> CreateChatCompletionResponse: ...
    @overload
    def create_chat_completion(
        self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> ChunkStream[CreateChatCompletionStreamResponse]: ...
    @overload
    def create_chat_completion(
        self, messages: Messages, *, stream: bool, **options: Unpack[ChatOptions]
    ) -> CreateChatCompletionResponse | ChunkStream[CreateChatCompletionStreamResponse]: ...
    def create_chat_completion(
        self,
        messages: Messages,
        functions: Tools = None,
        function_call: ToolChoice = None,
        tools: Tools = None,
        tool_choice: ToolChoice = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        seed: int | None = None,
        response_format: TypeOrSchema = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        max_completion_tokens: int | None = None,
        parallel_tool_calls: bool | None = None,
        enable_thinking: bool | None = None,
        reasoning_format: str | None = None,
        continue_final_message: bool | Literal["content", "reasoning_content"] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherChatOptions],
    ) -> CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]:
        """Answer the last message of a conversation.

        Args:
            messages: OpenAI's messages.
            functions: The older form of ``tools``.
            function_call: The older form of ``tool_choice``.
            tools: What the model may call.
            tool_choice: "auto"; "required" or ``{"type": "function", "function": {"name": ...}}``
                admit nothing but a call, after thoughts; "none".
            temperature: See ``create_completion``, as for those without a word here.
            top_p: See there.
            top_k: See there.
            min_p: See there.
            typical_p: See there.
            stream: Whether to return an iterator of parts.
            stop: Texts that end the reply.
            seed: See there.
            response_format: ``{"type": "json_object"}``, with a ``schema`` if wanted, or OpenAI's
                ``json_schema``. What cannot be enforced of a schema is warned of, and an error if
                ``strict`` is True. Or a type, like a Pydantic model or a dataclass, or a JSON
                schema: the message then has ``parsed``, the object.
            max_tokens: How many tokens at most; None: until the context is full.
            presence_penalty: See there.
            frequency_penalty: See there.
            repeat_penalty: See there.
            tfs_z: Without effect.
            mirostat_mode: See there.
            mirostat_tau: See there.
            mirostat_eta: See there.
            model: What the result says the model is.
            logits_processor: Callables that change the logits.
            grammar: What the reply has to look like.
            logit_bias: Added to the logits, by token id.
            logprobs: Whether to tell the log-probabilities of the tokens.
            top_logprobs: And of how many likeliest ones.
            n: How many replies.
            stream_options: ``{"include_usage": True}`` adds a chunk with the usage.
            max_completion_tokens: OpenAI's newer name of ``max_tokens``.
            parallel_tool_calls: Whether one reply may have several calls.
            enable_thinking: Whether the model is to think first, where its template knows of it;
                None leaves that to the template.
            reasoning_format: "auto", which is what None means, and "deepseek" put thoughts into
                ``reasoning_content``; "none" leaves them in the content.
            continue_final_message: Whether the last message, or its named part, is the beginning of
                the reply. Only what is new is returned.
            chat_template_kwargs: More variables for the template.
            parse_special: Whether the texts of special tokens in messages stand for those tokens,
                so that a message may end itself; else they are text.
            lora: Scales of LoRA adapters by name (``load_lora``); None takes that of ``lora_path``.
            **more: Further parameters: see ``SamplingParams``, and ``ChatExtras``.

        Returns:
            OpenAI's chat completion object, or an iterator of its chunks. Closing the iterator
            stops the generation; its ``partial()`` tells what a reply in JSON says so far.

        Raises:
            ChatTemplateError: The template does not parse, or does not take the messages.
            GrammarError: The grammar or the schema cannot be used.
            ContextWindowError: They do not fit into the context.
            InvalidArgumentError: An argument is out of range, or they contradict each other.
            ReplyValidationError: A reply is no object of the type that was given.
        """
        params = self.chats.params(
            functions=functions, function_call=function_call, tools=tools,
            tool_choice=tool_choice, temperature=temperature, top_p=top_p, top_k=top_k,
            min_p=min_p, typical_p=typical_p, stop=stop, seed=seed,
            response_format=response_format, max_tokens=max_tokens,
            presence_penalty=presence_penalty, frequency_penalty=frequency_penalty,
            repeat_penalty=repeat_penalty, tfs_z=tfs_z, mirostat_mode=mirostat_mode,
            mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, model=model,
            logits_processor=logits_processor, grammar=grammar, logit_bias=logit_bias,
            logprobs=logprobs, top_logprobs=top_logprobs, n=n, stream_options=stream_options,
            max_completion_tokens=max_completion_tokens,
            parallel_tool_calls=parallel_tool_calls, enable_thinking=enable_thinking,
            reasoning_format=reasoning_format, continue_final_message=continue_final_message,
            chat_template_kwargs=chat_template_kwargs, parse_special=parse_special, lora=lora,
            **more,
        )  # fmt: skip
        if self.chats.handler is not None:
            return self.chats.handled(  # type: ignore[no-any-return]
                self, messages, params, stream=stream
            )
        return self.chats.answer(messages, params, None, stream=stream)

    def run(
        self,
        messages: Messages,
        tools: Sequence[Runnable] = (),
        *,
        max_steps: int = 10,
        tool_timeout: float | None = 60.0,
        stream: bool = False,
        **options: Unpack[ReplyOptions],
    ) -> ToolRun:
        """Answer the last message of a conversation, with tools that are run here.

        Nothing happens until the first event is asked for. The calls of one reply run at once, each
        in a thread of its own; their results are told in the order of the calls.

        Args:
            messages: OpenAI's messages; they stay as they are.
            tools: What the model may call: functions, ``tools.Tool`` and ``tools.MCPServer``.
            max_steps: How many replies there are at most.
            tool_timeout: Seconds that a call may take, or None. What goes wrong with a call is told
                to the model, as the call's result.
            stream: Whether parts of replies are events too (``tools.ReplyDelta``).
            **options: Arguments of ``create_chat_completion``. ``tool_choice`` counts for the first
                reply; ``parallel_tool_calls=True`` lets one reply have several calls.

        Returns:
            An iterator of ``tools.ModelReply``, ``ToolCall``, ``ToolResult`` and at last
            ``Finished``, which its ``result()`` returns too.

        Raises:
            InvalidArgumentError: An argument is out of range, a tool cannot be one, or two have the
                same name.
            TypeError: An option is unknown, or is decided by the run, like ``functions``.
            MCPServerError: A server of tools has ended.
        """
        from .tools.loop import Conversation, ToolRun

        conversation = Conversation(
            messages, tools, max_steps, tool_timeout,
            stream=stream, sees_images=self.chats.reads_media, options=options,
        )  # fmt: skip
        return ToolRun(conversation, self.create_chat_completion)

    def create_chat_completion_openai_v1(self, *args: Any, **kwargs: Any) -> Any:
        """Answer like ``create_chat_completion``, with objects of the ``openai`` package.

        Args:
            *args: Those of ``create_chat_completion``.
            **kwargs: Likewise.

        Raises:
            LlamaError: The openai package is not installed.
        """
        from .chat.openai_objects import openai_shape

        shaped = openai_shape()
        return shaped(self.create_chat_completion(*args, **kwargs), bool(kwargs.get("stream")))

    @property
    def chat_format(self) -> str | None:
        """The name of the chat format."""
        return self.chats.chat_format

    @chat_format.setter
    def chat_format(self, name: str | None) -> None:
        self.chats.chat_format = name

    @property
    def chat_handler(self) -> Any:
        """What turns messages into a completion, in place of the format."""
        return self.chats.chat_handler

    @chat_handler.setter
    def chat_handler(self, handler: Any) -> None:
        self.chats.chat_handler = handler

    @property
    def _chat_handlers(self) -> dict[str, Callable[..., Any]]:
        return self.chats.handlers

    @overload
    def parse(
        self,
        prompt: Prompt | Messages,
        type: type[T],
        **options: Any,
    ) -> T: ...
    @overload
    def parse(
        self,
        prompt: Prompt | Messages,
        type: TypeOrSchema,
        **options: Any,
    ) -> Any: ...
    def parse(
        self,
        prompt: Prompt | Messages,
        type: TypeOrSchema,  # noqa: A002 - what it is
        **options: Any,
    ) -> Any:
        """Answer with an object.

        Args:
            prompt: A text, token ids, or OpenAI's messages.
            type: A Pydantic model, dataclass, ``TypedDict``, ``Enum``, ``Literal[...]``,
                ``list[...]``, ``X | None``, or another type that Pydantic knows; or a JSON schema.
            **options: Those of ``create_chat_completion`` for messages, else of
                ``create_completion``. ``max_tokens`` is None by default: until the context is full.

        Returns:
            An object of the type; for a schema what ``json.loads`` makes.

        Raises:
            ReplyValidationError: The model wrote no such object: it was cut off, or a check of the
                type refuses it.
            InvalidArgumentError: There is no JSON schema for the type.
            LlamaError: What the other methods raise.
        """
        from .chat.asking import ParseCall

        call = ParseCall(prompt, type, options)
        return call.parsed(getattr(self, call.method)(**call.arguments))

    # Embeddings.

    def create_embedding(
        self,
        input: str | Sequence[Any],  # noqa: A002 - OpenAI's name
        model: str | None = None,
        *,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] = "float",
        normalize: bool | int = False,
        truncate: bool | int = False,
    ) -> CreateEmbeddingResponse:
        """Embed texts.

        Args:
            input: A text, a list of token ids, or a list of either.
            model: What the result says the model is.
            dimensions: Only so many first numbers of each vector, for models that were trained for
                that (Matryoshka).
            encoding_format: "base64" gives little-endian float32 numbers in base64: a text for each
                vector, so a list of texts where the model does not pool.
            normalize: See ``embed``; what ``dimensions`` leaves is scaled.
            truncate: True cuts texts that are too long; a number, those of more tokens.

        Returns:
            OpenAI's embedding object.

        Raises:
            ContextWindowError: A text is too long: see ``embed``.
            InvalidArgumentError: There is no text, or an argument is out of range.
        """
        return self.embeddings.create(
            input,
            model,
            dimensions=dimensions,
            encoding_format=encoding_format,
            normalize=normalize,
            truncate=truncate,
        )

    @overload
    def embed(
        self,
        input: TextOrTokens,
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: Literal[False] = False,
    ) -> list[float]: ...
    @overload
    def embed(
        self,
        input: list[str] | list[list[int]],
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: Literal[False] = False,
    ) -> list[list[float]]: ...
    @overload
    def embed(
        self,
        input: str | Sequence[Any],
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any: ...
    def embed(
        self,
        input: str | Sequence[Any],  # noqa: A002 - OpenAI's name
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """Embed a text or a list of texts.

        Many texts are computed in one batch. A model that generates can embed too, at the same
        time: it gets a second context when it first does.

        A decoder reads texts of up to ``n_ctx`` tokens. A model that looks at a text from both ends
        reads it at once, so that ``n_batch`` is a limit too.

        Args:
            input: A text, a list of token ids, or a list of either.
            normalize: True scales to Euclidean length 1; a number is llama.cpp's
                ``--embd-normalize``.
            truncate: Whether to cut texts that are too long, which is logged, rather than raise.
            return_count: Whether to return the number of tokens too.

        Returns:
            A list of floats per text, of lists per token where the model does not pool; for a
            single text that alone. With ``return_count`` a tuple of it and the number of those
            that were not cut off.

        Raises:
            ContextWindowError: A text is too long.
            InvalidArgumentError: There is no text.
        """
        return self.embeddings.embed(input, normalize, truncate, return_count)

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        top_n: int | None = None,
        *,
        return_documents: bool = False,
        truncate: bool = True,
    ) -> RerankResponse:
        """Order documents by how well they answer a query.

        Args:
            query: The query.
            documents: At least one.
            top_n: Only so many of the best; None: all.
            return_documents: Whether the results have the documents' texts.
            truncate: Whether to cut pairs that are too long, which is logged, rather than raise.

        Returns:
            ``model``, ``results`` and ``usage``. Each result has the ``index`` of a document, and
            its ``relevance_score``, which is what the model gives: compare it with others of the
            same model only. The best comes first.

        Raises:
            InvalidArgumentError: The model does not rank, or there is no document.
        """
        return self.embeddings.rerank(
            query, documents, top_n, return_documents=return_documents, truncate=truncate
        )

    @overload
    def classify(self, input: TextOrTokens, truncate: bool = True) -> dict[str, float]: ...
    @overload
    def classify(
        self, input: list[str] | list[list[int]], truncate: bool = True
    ) -> list[dict[str, float]]: ...
    def classify(
        self,
        input: str | Sequence[Any],  # noqa: A002 - as in embed
        truncate: bool = True,
    ) -> Any:
        """Score the labels of a classifier.

        Args:
            input: A text, a list of token ids, or a list of either.
            truncate: Whether to cut texts that are too long, which is logged, rather than raise.

        Returns:
            For each text a dict from label to score, the likeliest first; for a single text that
            alone. The scores are what the model gives; labels without names are numbered.

        Raises:
            InvalidArgumentError: The model does not classify, or there is no text.
        """
        return self.embeddings.classify(input, truncate)

    # How likely texts are.

    def score(
        self,
        prompt: Part | Sequence[tuple[Part, Part]],
        continuations: Part | Sequence[Part] | None = None,
    ) -> list[Score]:
        """Tell how likely continuations of a prompt are.

        They are decoded together as far as there are sequences for them (``n_parallel``), and the
        prompt is computed once.

        A prompt and a continuation that are both texts are tokenized as one text, with the spaces
        at the end of the prompt moved to the continuation, as lm-evaluation-harness does. What the
        prompt alone has in common with that is given, and the rest is measured: if a token spans
        the seam, it is measured as a whole. Token ids are taken as they are, and a text beside them
        is tokenized on its own, a prompt with BOS where the model wants it.

        Args:
            prompt: A text or token ids; empty stands for the token that begins a text. Or, without
                ``continuations``, pairs of a prompt and a continuation.
            continuations: A text or token ids, or a list of either.

        Returns:
            One score for each continuation, in their order.

        Raises:
            ContextWindowError: A prompt does not fit into the context with its continuation.
            InvalidArgumentError: A continuation is empty, an argument is of another type, or the
                model does not continue texts.
            TokenError: A token id is not in the vocabulary.
        """
        return self.measures.scoring(prompt, continuations).result()

    def choose(self, prompt: Prompt | Messages, options: Sequence[str]) -> Choice:
        """Choose which of several texts follows a prompt, or answers a conversation.

        The options are decoded together as far as there are sequences for them (``n_parallel``),
        and the prompt is computed once. An option is as likely as its tokens after the prompt are.
        Where one option begins another, like "no" and "no idea", the token that ends a text is
        part of each: without it the longer one would never be chosen, for a text is never likelier
        than its beginning.

        Args:
            prompt: A text, token ids, or OpenAI's messages. A text and an option are read as one
                text, so that a space between them has to be in one of them.
            options: The texts, each another one.

        Returns:
            The likeliest one, and the probabilities of all.

        Raises:
            ContextWindowError: The prompt does not fit into the context with an option.
            InvalidArgumentError: There is no option, one is empty, no text or there twice, or one
                begins another and the model has no token that ends a text.
        """
        from .chat.asking import choosing

        return choosing(self.chats, self.measures, prompt, options).result()

    def perplexity(
        self, text: Part, *, n_ctx: int | None = None, stride: int | None = None
    ) -> Perplexity:
        """Tell how badly the model predicts a text, as ``llama-perplexity`` does.

        The text is cut into chunks of ``n_ctx`` tokens, each begins with BOS if the model wants
        one, and the second half of each is measured. Chunks are decoded together as far as there
        are sequences for them (``n_parallel``).

        Args:
            text: A text, or token ids; what is left after the last whole chunk is not measured.
            n_ctx: Tokens of a chunk; None takes 512, or as many as a sequence may have.
            stride: Let each chunk begin so many tokens after the one before, and measure its last
                ``stride`` tokens.

        Raises:
            InvalidArgumentError: The text is shorter than a chunk, an argument is out of range or
                of another type, or the model does not continue texts.
            TokenError: A token id is not in the vocabulary.
        """
        return self.measures.perplexity(text, n_ctx=n_ctx, stride=stride).result()

    # Tokens.

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Split a text into token ids.

        Args:
            text: UTF-8.
            add_bos: Whether BOS comes first, where the model wants it.
            special: Whether the text of special tokens stands for those tokens.

        Raises:
            TextError: The text is too long, or not Unicode.
        """
        return self.tokenizer_.tokenize(text, add_bos, special)

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Join token ids to the bytes of a text.

        Args:
            tokens: The ids.
            prev_tokens: Those before; only Hugging Face's tokenizers need them.
            special: Whether special tokens are part of the text.

        Raises:
            TokenError: An id is not in the vocabulary.
        """
        return self.tokenizer_.detokenize(tokens, prev_tokens=prev_tokens, special=special)

    def tokenizer(self) -> LlamaTokenizer:
        """The model's own tokenizer."""
        return LlamaTokenizer(self)

    def n_vocab(self) -> int:
        """Tokens in the vocabulary: the width of a row of logits."""
        return self._model.n_vocab()

    def token_bos(self) -> int:
        """The token that begins a text, or -1."""
        return self._model.token_bos()

    def token_eos(self) -> int:
        """The token that ends a text, or -1."""
        return self._model.token_eos()

    def token_nl(self) -> int:
        """The line feed, or -1."""
        return self._model.token_nl()

    # States and caches.

    def save_state(self) -> LlamaState:
        """Copy what sequence 0 holds.

        Raises:
            BusyError: A completion of this thread uses the sequence; others are waited for.
        """
        return self.states.save()

    def load_state(self, state: LlamaState) -> None:
        """Let sequence 0 hold what ``save_state`` copied.

        Args:
            state: Of this model, or of another ``Llama`` of the same file and parameters.

        Raises:
            StateError: It is damaged, or of another model; if only the engine notices that,
                sequence 0 is empty then.
            BusyError: A completion of this thread uses the sequence; others are waited for.
        """
        self.states.load(state)

    def save_session(self, path: str | os.PathLike[str]) -> None:
        """Write what sequence 0 holds to a file, for ``load_session``, in another process too.

        A file that was there is replaced when the new one is complete, and not before.

        Args:
            path: Of the file.

        Raises:
            StateError: It cannot be written.
            BusyError: A completion of this thread uses the sequence; others are waited for.
        """
        self.states.save_file(path)

    def load_session(self, path: str | os.PathLike[str]) -> None:
        """Let sequence 0 hold what ``save_session`` wrote.

        Args:
            path: Of the file.

        Raises:
            StateError: The file is damaged, no session, or of another model: the sequence is as
                it was before.
            BusyError: A completion of this thread uses the sequence; others are waited for.
        """
        self.states.load_file(path)

    def set_cache(self, cache: BaseLlamaCache | None) -> None:
        """Let completions begin from states in a cache, and keep theirs in it.

        They are kept after a reply was handed out, so that it does not wait for that. What the
        last replies left is in the cache of before when this returns.

        Args:
            cache: ``LlamaRAMCache()``, ``LlamaDiskCache(folder)`` or the like; None removes it.

        Raises:
            InvalidArgumentError: It is something else.
        """
        self.prompt_cache.set(cache)

    @property
    def cache(self) -> BaseLlamaCache | None:
        """The cache of states; see ``set_cache``."""
        store: BaseLlamaCache | None = self.prompt_cache.store
        return store

    @cache.setter
    def cache(self, cache: BaseLlamaCache | None) -> None:
        self.prompt_cache.set(cache)

    # Adapters.

    def load_lora(self, name: str, path: Path) -> None:
        """Load a LoRA adapter, for calls with ``lora={name: scale}``.

        Calls with different adapters are decoded in different steps, in turn. An activated LoRA
        (aLoRA) counts from the place on where a prompt has its invocation: what comes before is
        shared with calls without it.

        Args:
            name: What calls say.
            path: A GGUF file.

        Raises:
            ModelLoadError: The file is no adapter, or one for another model.
            InvalidArgumentError: There is one of that name.
            ClosedError: The model is closed.
        """
        self.adapters.load(name, path)

    def unload_lora(self, name: str) -> None:
        """Free a LoRA adapter. Calls that use it end with ``ClosedError``.

        Args:
            name: That of ``load_lora``.

        Raises:
            InvalidArgumentError: There is none of that name.
        """
        self.adapters.unload(name)

    def set_control_vector(
        self,
        vectors: Path | Mapping[Path, float] | None,
        *,
        first_layer: int = 1,
        last_layer: int | None = None,
    ) -> None:
        """Add control vectors to the hidden states from now on.

        What the sequences hold was computed without, and is forgotten.

        Args:
            vectors: A GGUF file as llama.cpp's cvector-generator writes it, or several with their
                scales, which are added up; None for none.
            first_layer: The first layer that they count in.
            last_layer: The last one, included; None for the last that there is.

        Raises:
            ModelLoadError: A file holds no control vector.
            InvalidArgumentError: It does not fit the model, or the layers are not in it.
            BusyError: Texts are being generated.
            ClosedError: The model is closed.
        """
        self.adapters.set_control_vector(vectors, first_layer=first_layer, last_layer=last_layer)

    # Token by token, in sequence 0.

    @property
    def n_tokens(self) -> int:
        """How many tokens sequence 0 holds; assigning fewer forgets its end."""
        return self.sequence.n_tokens

    @n_tokens.setter
    def n_tokens(self, count: int) -> None:
        self.sequence.n_tokens = count

    @property
    def input_ids(self) -> npt.NDArray[np.intc]:
        """The tokens of sequence 0: int32, shape (n_ctx,), 0 after the first ``n_tokens``."""
        return self.sequence.input_ids

    @input_ids.setter
    def input_ids(self, ids: npt.NDArray[np.intc]) -> None:
        self.sequence.assign_tokens([int(token) for token in ids])

    @property
    def _input_ids(self) -> npt.NDArray[np.intc]:
        return self.input_ids[: self.n_tokens]

    @property
    def scores(self) -> npt.NDArray[np.single]:
        """Logits by position of sequence 0: float32, shape (n_tokens, n_vocab).

        They are made when read; without ``logits_all`` only the last row is filled.
        """
        return self.sequence.scores

    @scores.setter
    def scores(self, scores: npt.NDArray[np.single]) -> None:
        self.sequence.scores = scores

    @property
    def _scores(self) -> npt.NDArray[np.single]:
        return self.scores[: self.n_tokens]

    @property
    def eval_tokens(self) -> deque[int]:
        """The tokens of sequence 0."""
        return deque(self.sequence.tokens, maxlen=self.n_ctx())

    @property
    def eval_logits(self) -> deque[list[float]]:
        """The logits of sequence 0: all of them with ``logits_all``, else the last ones."""
        return self.sequence.eval_logits()

    def logits(self) -> npt.NDArray[np.single]:
        """A copy of the logits after the last token: float32, shape (n_vocab,).

        Raises:
            InvalidArgumentError: Nothing was evaluated.
        """
        return self.sequence.last_logits()

    def reset(self) -> None:
        """Forget sequence 0."""
        self.sequence.reset()

    def eval(self, tokens: Sequence[int]) -> None:
        """Append tokens to sequence 0.

        Args:
            tokens: Their ids.

        Raises:
            ContextWindowError: They do not fit.
            TokenError: An id is not in the vocabulary.
            BusyError: A completion of this thread uses the sequence; others are waited for.
        """
        self.sequence.eval(tokens)

    def sample(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: Any = None,
        grammar: LlamaGrammar | None = None,
        idx: int | None = None,
    ) -> int:
        """Choose the token after sequence 0; it is not appended.

        Args:
            top_k: As the others, see ``create_completion``.
            top_p: See there.
            min_p: See there.
            typical_p: See there.
            temp: The temperature.
            repeat_penalty: See there.
            frequency_penalty: See there.
            presence_penalty: See there.
            tfs_z: Without effect.
            mirostat_mode: See there.
            mirostat_eta: See there.
            mirostat_tau: See there.
            penalize_nl: Without effect.
            logits_processor: Changes the logits.
            grammar: What the text has to look like; it begins anew with every call.
            idx: A position to sample after, in place of the last one; needs ``logits_all``.

        Raises:
            InvalidArgumentError: Nothing was evaluated, or an argument is out of range.
        """
        if self._sampler is not None:
            return self.sequence.sample(self._sampler, logits_processor, idx)
        with closing(self._init_sampler(
            top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty,
            presence_penalty, tfs_z, mirostat_mode, mirostat_eta, mirostat_tau, penalize_nl,
            None, grammar,
        )) as sampler:  # fmt: skip
            return self.sequence.sample(sampler, logits_processor, idx)

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        grammar: LlamaGrammar | None = None,
    ) -> GeneratorType[int, Sequence[int] | None, None]:
        """Yield tokens that follow, in sequence 0, without end.

        What is sent into the generator is appended after the token just yielded.

        Args:
            tokens: What to go on from.
            top_k: As the others, see ``create_completion``.
            top_p: See there.
            min_p: See there.
            typical_p: See there.
            temp: The temperature.
            repeat_penalty: See there.
            reset: Whether the tokens are the whole sequence, else its next part. What the
                sequence already holds of them is not computed again.
            frequency_penalty: See ``create_completion``.
            presence_penalty: See there.
            tfs_z: Without effect.
            mirostat_mode: See ``create_completion``.
            mirostat_tau: See there.
            mirostat_eta: See there.
            penalize_nl: Without effect.
            logits_processor: Changes the logits.
            stopping_criteria: Says when to stop.
            grammar: What the text has to look like.

        Raises:
            ContextWindowError: The context is full.
            InvalidArgumentError: There are no tokens, or an argument is out of range.
        """

        def sampler_for(history: Sequence[int]) -> TokenSampler:
            return self._init_sampler(
                top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty,
                presence_penalty, tfs_z, mirostat_mode, mirostat_eta, mirostat_tau, penalize_nl,
                None, grammar, history=history,
            )  # fmt: skip

        return self.sequence.generate(
            tokens, sampler_for, reset=reset, processor=logits_processor, stopping=stopping_criteria
        )

    def _init_sampler(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: Any = None,
        grammar: LlamaGrammar | None = None,
        *,
        history: Sequence[int] | None = None,
    ) -> TokenSampler:
        params = self.sampling_defaults.params(
            temperature=temp, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p,
            repeat_penalty=repeat_penalty, frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty, mirostat_mode=mirostat_mode,
            mirostat_eta=mirostat_eta, mirostat_tau=mirostat_tau,
        )  # fmt: skip
        return self.sequence.sampler(params, grammar, history)

    # The model.

    @property
    def model(self) -> ModelAddress:
        """The address of the ``llama_model``."""
        from .models.address import ModelAddress

        return ModelAddress(self._model)

    @property
    def ctx(self) -> raw.llama_context_p:
        """The address of the ``llama_context``."""
        self.engine.check_open()
        return self._ctx.ctx

    def n_ctx(self) -> int:
        """Tokens that one sequence may have."""
        self.engine.check_open()
        return self.engine.n_ctx

    def n_embd(self) -> int:
        """The width of the hidden state."""
        return self._model.n_embd()

    def pooling_type(self) -> int:
        """How embeddings are pooled: ``LLAMA_POOLING_TYPE_*``."""
        self.engine.check_open()
        return self._ctx.pooling_type()

    def memory(self) -> MemoryUse:
        """Tell where the memory goes: weights, cache and buffers, in bytes, by device.

        Raises:
            InvalidArgumentError: Only a vocabulary was loaded.
            ClosedError: The model is closed.
        """
        return self.measures.memory()

    def set_seed(self, seed: int) -> None:
        """Set what the seeds of calls without a seed of their own follow from.

        Args:
            seed: 2**32 - 1, or a negative number, takes a random one.
        """
        self.sampling_defaults.set_seed(seed)

    @staticmethod
    def logits_to_logprobs(logits: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.single]:
        """Turn logits into log-probabilities, float32 of the same shape.

        Args:
            logits: Any shape.
            axis: Along which the probabilities sum up to 1.
        """
        from .sampling.logprobs import log_softmax

        return log_softmax(logits, axis)

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """Return how many tokens two sequences begin with in common."""
        from .engine.slots import shared_prefix

        return shared_prefix(list(a), list(b))

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None,
        additional_files: list[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        local_dir_use_symlinks: bool | str = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Llama:
        """Download a model from the Hugging Face Hub and load it.

        Args:
            repo_id: Like "owner/name".
            filename: The file, or a pattern like "*q8_0.gguf" that fits one model. Of a split
                model, all parts are downloaded.
            additional_files: Other files, or patterns, to download too.
            local_dir: Where to put the files, in place of the cache.
            local_dir_use_symlinks: Kept for scripts; it changes nothing.
            cache_dir: The folder of the cache.
            **kwargs: The arguments of ``Llama``.

        Raises:
            LlamaError: The huggingface-hub package is not installed.
            ModelNotFoundError: No file, or more than one model, fits the name.
        """
        from .models.hub import download

        path = download(repo_id, filename, additional_files or [], local_dir, cache_dir)
        return cls(model_path=path, **kwargs)

    # Its end.

    def close(self) -> None:
        """Free the model. What runs on other threads ends with ``ClosedError``."""
        held = self.__dict__  # loading may have failed half-way
        if "_parts" in held:
            self._parts.close()
        if "_ctx" in held:
            self._ctx.close()
        if "_model" in held:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The handles free themselves; scripts call this by hand to free the model.
        with suppress(Exception):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        self.__init__(**arguments)  # type: ignore[misc]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _PARTS and self.__dict__.get("vocab_only"):
                raise VocabularyOnlyError(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_PARTS = frozenset(
    {
        "engine", "completions", "chats", "embeddings", "adapters", "prompt_cache", "sequence",
        "states", "measures", "context_params", "_ctx",
    }
)  # fmt: skip
