"""``Llama``: a model, ready to complete, chat and embed."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from . import llama_cpp as raw
from ._internals import LlamaContext, LlamaModel
from ._llama_adapters import DEFAULT
from ._llama_measures import LlamaMeasures
from ._logger import set_verbose
from .chat.templates import Templates
from .constraints.gbnf import LlamaGrammar
from .engine import Engine
from .engine.speculative.draft_model import MTP, drafter_of
from .engine.speculative.prompt_lookup import LlamaDraftModel
from .generation.completion import CompletionJob
from .generation.generator import Generator, Options, Run
from .generation.manual_sequence import SequenceZero
from .generation.prompts import Prompt, Prompts
from .gguf.progress import progress_callback
from .handles.threadpool import POLL, Threadpool
from .llama_tokenizer import BaseLlamaTokenizer, LlamaTokenizer
from .llama_types import CreateCompletionResponse, CreateCompletionStreamResponse
from .models.fit import fit
from .models.params import ModelParams, context_params
from .sampling.chain import Ends
from .sampling.options import NAMED, SamplingOptions, sampling_params
from .text import Pieces
from .validation.numbers import integer

# Scripts import these from here.
from ._utils import suppress_stdout_stderr as suppress_stdout_stderr  # isort: skip
from .llama_cache import BaseLlamaCache as BaseLlamaCache  # isort: skip
from .llama_cache import LlamaCache as LlamaCache  # isort: skip
from .llama_cache import LlamaDiskCache as LlamaDiskCache  # isort: skip
from .llama_cache import LlamaRAMCache as LlamaRAMCache  # isort: skip
from .llama_cache import LlamaState as LlamaState  # isort: skip
from .llama_types import *  # isort: skip
from .sampling.hooks import LogitsProcessorList as LogitsProcessorList  # isort: skip
from .sampling.hooks import MinTokensLogitsProcessor as MinTokensLogitsProcessor  # isort: skip
from .sampling.hooks import StoppingCriteriaList as StoppingCriteriaList  # isort: skip

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Llama(LlamaMeasures):
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
        kv_overrides: Metadata that replaces the file's.
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
        flash_attn: Flash attention: True, False or "auto".
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
        flash_attn: bool | str = False,
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
        arguments = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        self._arguments = {**arguments, **kwargs}
        if kwargs:
            names = ", ".join(sorted(kwargs))
            warnings.warn(f"Llama does not know these arguments: {names}", stacklevel=2)
        set_verbose(verbose)
        self.verbose = verbose
        self.model_path = os.fspath(model_path)
        self.chat_format, self.chat_handler = chat_format, chat_handler
        self.draft_model = draft_model
        self.spm_infill = spm_infill
        self.last_n_tokens_size = last_n_tokens_size
        self.lora_base, self.lora_scale, self.lora_path = lora_base, lora_scale, lora_path
        self.n_batch = n_batch
        self._vocab_only = vocab_only
        self.cache = None
        self._chat_handlers: dict[str, Callable[..., Any]] = {}
        self._special_texts = None
        self.set_seed(seed)
        if numa:
            raw.llama_numa_init(1 if numa is True else integer("numa", numa, 0, 4))
        model_params = ModelParams(
            n_gpu_layers=n_gpu_layers, split_mode=split_mode, main_gpu=main_gpu,
            tensor_split=tensor_split, vocab_only=vocab_only, use_mmap=use_mmap,
            use_mlock=use_mlock, kv_overrides=kv_overrides, progress=progress_callback(progress),
            load_mtp=draft_model == MTP,
        )  # fmt: skip
        self.model_params = model_params.struct
        sized = partial(
            context_params, n_parallel=n_parallel, n_batch=n_batch, n_ubatch=n_ubatch,
            n_threads=n_threads, n_threads_batch=n_threads_batch, logits_all=logits_all,
            embedding=embedding, flash_attn=flash_attn, rope_scaling_type=rope_scaling_type,
            pooling_type=pooling_type, attention_type=attention_type,
            rope_freq_base=rope_freq_base, rope_freq_scale=rope_freq_scale,
            yarn_ext_factor=yarn_ext_factor, yarn_attn_factor=yarn_attn_factor,
            yarn_beta_fast=yarn_beta_fast, yarn_beta_slow=yarn_beta_slow,
            yarn_orig_ctx=yarn_orig_ctx, offload_kqv=offload_kqv, op_offload=op_offload,
            swa_full=swa_full, no_perf=no_perf, type_k=type_k, type_v=type_v,
            drafts=draft_model is not None,
        )  # fmt: skip
        if not vocab_only:
            n_ctx = fit(self.model_path, model_params, n_ctx, memory_limit, sized)
        self._model: LlamaModel = model_params.load(
            lambda params: LlamaModel(path_model=self.model_path, params=params, verbose=verbose)
        )
        self._n_vocab = self._model.n_vocab()
        self.tokenizer_ = tokenizer or LlamaTokenizer(self)
        self.metadata = self._model.metadata()
        self._templates = Templates(self._model.vocab_handle, self.metadata, chat_template)
        if chat_format is None and chat_handler is None:
            self.chat_format = self._templates.default_format
        self._prompts = Prompts(self._model.vocab_handle, self.tokenizer_, spm_infill=spm_infill)
        if vocab_only:
            return
        self.context_params = sized(
            n_ctx=n_ctx,
            n_ctx_train=self._model.n_ctx_train(),
            has_encoder=self._model.handle.has_encoder,
            has_state=self._model.handle.is_recurrent or self._model.handle.is_hybrid,
        )
        threads = (self.context_params.n_threads, self.context_params.n_threads_batch)
        pools = [Threadpool(n_threads, poll) for n_threads in dict.fromkeys(threads)]
        self._ctx = LlamaContext(model=self._model, params=self.context_params, verbose=verbose)
        self._ctx.handle.attach_threadpools(pools[0], pools[-1])
        self._adapters = {}
        if lora_path is not None:
            self.load_lora(DEFAULT, lora_path)
        vocab = self._model.vocab_handle
        self._engine = Engine(
            self._ctx.handle,
            Ends(vocab.is_eog),
            context_shift=context_shift,
            drafter=drafter_of(draft_model, self._ctx.handle),
            adapters=self._adapter_set({DEFAULT: lora_scale} if self._adapters else {}),
        )
        self._zero = SequenceZero(self._engine, self._ctx.handle, logits_all=logits_all)
        self._generator = Generator(self._engine, self._model.handle, Pieces(vocab.token_to_piece))
        self._sampler = None

    # Completion.

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
        stopping_criteria: Any = None,
        logits_processor: Any = None,
        grammar: LlamaGrammar | str | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        lora: Mapping[str, float] | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> CreateCompletionResponse | Iterator[CreateCompletionStreamResponse]:
        """Complete a prompt.

        Args:
            prompt: A text, token ids, or a list of either.
            suffix: What comes after the text to write: the model fills in the middle.
            max_tokens: How many tokens at most, exactly; None or a negative number: until the
                context is full.
            temperature: Divides the logits; 0 takes the likeliest token.
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
            **sampling: Further parameters: see ``SamplingParams``.

        Returns:
            OpenAI's completion object, or an iterator of its chunks. Closing the iterator stops
            the generation.

        Raises:
            ContextWindowError: The prompt does not fit into the context.
            InvalidArgumentError: An argument is out of range.
            GrammarError: The grammar does not parse.
        """
        arguments = {k: v for k, v in locals().items() if k not in ("self", "stream", "sampling")}
        job = self._completion(**arguments, **sampling)
        return job.chunks() if stream else job.result()

    __call__ = create_completion

    def completion_job(self, prompt: Prompt, **given: Any) -> CompletionJob:
        """Make the call of ``create_completion``, which begins when it is asked to.

        For servers, which wait for many calls at once.

        Args:
            prompt: A text, token ids, or a list of either.
            **given: The other arguments, but for ``stream``.
        """
        return self._completion(**{**_COMPLETION_DEFAULTS, **given, "prompt": prompt})

    def _completion(
        self,
        prompt: Prompt,
        *,
        suffix: str | None,
        max_tokens: int | None,
        logprobs: int | None,
        echo: bool,
        stop: str | list[str] | None,
        seed: int | None,
        model: str | None,
        stopping_criteria: Any,
        logits_processor: Any,
        grammar: LlamaGrammar | str | None,
        n: int,
        stream_options: Mapping[str, Any] | None,
        lora: Mapping[str, float] | None,
        tfs_z: float,
        **sampling: Any,
    ) -> CompletionJob:
        known = {name: sampling.pop(name) for name in NAMED}
        known["penalty_last_n"] = self.last_n_tokens_size
        params = sampling_params(known, sampling, self._seed_for(seed))
        generator = self._generating()
        options = Options(
            max_tokens, stop, logprobs, echo, n, grammar, logits_processor, stopping_criteria,
            adapters=self._adapter_set(lora),
        )  # fmt: skip
        prompts = self._prompts.tokenize(prompt, suffix)
        texts = self._prompts.texts(prompt) if echo else ()
        # Without tokens for it, what comes after the text is all that a suffix can be.
        ending = "" if suffix is None or self._prompts.can_fill_in else suffix

        def start() -> Run:
            self._recall(prompts[0], options.adapters)
            return Run(generator, prompts, params, options, texts)

        return CompletionJob(
            start,
            self._keep,
            model if model is not None else self.model_path,
            ending,
            include_usage=bool((stream_options or {}).get("include_usage")),
        )

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


_COMPLETION_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(Llama.create_completion).parameters.items()
    if parameter.default is not parameter.empty and name != "stream"
}
