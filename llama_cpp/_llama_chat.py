"""What ``Llama`` offers besides completions: chats, embeddings, states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from . import embeddings
from ._llama_sequence import LlamaSequence
from .chat_completion import (
    CHATML,
    ChatCompletionJob,
    Conversation,
    template_options,
    thinks_by_default,
)
from .completion import Generator, Options
from .errors import ContextError, InvalidArgumentError, LlamaError
from .handles import ChatTemplates
from .llama_types import (
    CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse,
    CreateEmbeddingResponse,
)
from .prompt import Prompts
from .sampling.options import NAMED, sampling_params

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .sampling.options import SamplingOptions


class LlamaChat(LlamaSequence):
    """The part of ``Llama`` for chats and embeddings."""

    model_path: str
    metadata: dict[str, str]
    chat_format: str | None
    chat_handler: Any
    _generator: Generator
    _prompts: Prompts
    _templates: ChatTemplates | None
    _thinks_by_default: bool

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        functions: Sequence[Mapping[str, Any]] | None = None,
        function_call: Any = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: Any = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        seed: int | None = None,
        response_format: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: Any = None,
        grammar: Any = None,
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
        continue_final_message: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]:
        """Answer the last message of a conversation.

        Args:
            messages: OpenAI's messages.
            functions: The older form of ``tools``.
            function_call: The older form of ``tool_choice``.
            tools: What the model may call.
            tool_choice: "auto", "required", "none" or a tool.
            temperature: See ``create_completion``, as for those without a word here.
            top_p: See there.
            top_k: See there.
            min_p: See there.
            typical_p: See there.
            stream: Whether to return an iterator of parts.
            stop: Texts that end the reply.
            seed: See there.
            response_format: ``{"type": "json_object"}``, with a ``schema`` if wanted, or OpenAI's
                ``json_schema``.
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
            reasoning_format: "none" leaves thoughts in the content, "deepseek" and "auto" put
                them into ``reasoning_content``.
            continue_final_message: Whether the last message is the beginning of the reply.
            chat_template_kwargs: More variables for the template.
            **sampling: Further parameters: see ``SamplingParams``.

        Returns:
            OpenAI's chat completion object, or an iterator of its chunks. Closing the iterator
            stops the generation.

        Raises:
            ChatTemplateError: The template does not take the messages.
            ContextWindowError: They do not fit into the context.
            InvalidArgumentError: An argument is out of range, or they contradict each other.
        """
        arguments = {k: v for k, v in locals().items() if k not in ("self", "stream", "sampling")}
        if self.chat_handler is not None:
            return self.chat_handler(llama=self, stream=stream, **arguments, **sampling)  # type: ignore[no-any-return]
        job = self._chat(**arguments, **sampling)
        return job.chunks() if stream else job.result()

    def _chat(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        functions: Any,
        function_call: Any,
        tools: Any,
        tool_choice: Any,
        stop: Any,
        seed: int | None,
        response_format: Mapping[str, Any] | None,
        max_tokens: int | None,
        tfs_z: float,
        model: str | None,
        logits_processor: Any,
        grammar: Any,
        logprobs: bool | None,
        top_logprobs: int | None,
        n: int,
        stream_options: Mapping[str, Any] | None,
        max_completion_tokens: int | None,
        **rest: Any,
    ) -> ChatCompletionJob:
        template = template_options(
            tools=tools, tool_choice=tool_choice, functions=functions,
            function_call=function_call, response_format=response_format, grammar=grammar,
        )  # fmt: skip
        template |= {name: rest.pop(name) for name in _TEMPLATE_OPTIONS}
        templates = self._chat_templates()
        is_told = "enable_thinking" in (template["chat_template_kwargs"] or {})
        if template["enable_thinking"] is None and not is_told:
            template["enable_thinking"] = self._thinks_by_default
        known = {name: rest.pop(name) for name in NAMED}
        known["penalty_last_n"] = self.last_n_tokens_size
        conversation = Conversation(templates, self._model.vocab_handle, messages, template)
        return ChatCompletionJob(
            self._generating(),
            conversation,
            sampling_params(known, rest, self._seed_for(seed)),
            Options(
                max_tokens if max_completion_tokens is None else max_completion_tokens,
                stop,
                (top_logprobs or 0) if logprobs else None,
                n=n,
                logits_processor=logits_processor,
            ),
            model if model is not None else self.model_path,
            legacy=functions is not None and tools is None,
            before=self._recall,
            after=self._keep,
            include_usage=bool((stream_options or {}).get("include_usage")),
        )

    def create_chat_completion_openai_v1(self, *args: Any, **kwargs: Any) -> Any:
        """Answer like ``create_chat_completion``, with objects of the ``openai`` package.

        Args:
            *args: Those of ``create_chat_completion``.
            **kwargs: Likewise.

        Raises:
            LlamaError: The openai package is not installed.
        """
        try:
            from openai.types.chat import ChatCompletion as Whole
            from openai.types.chat import ChatCompletionChunk as Part
        except ImportError:
            raise LlamaError("the openai package is needed for this: pip install openai") from None
        answer = self.create_chat_completion(*args, **kwargs)
        if kwargs.get("stream"):
            return (Part(**cast("Any", chunk)) for chunk in answer)
        return Whole(**cast("Any", answer))

    def _chat_templates(self) -> ChatTemplates:
        if self._templates is None or self._templates.closed:
            if self.chat_format not in (None, "chatml"):
                raise InvalidArgumentError(
                    f"chat_format={self.chat_format!r} is unknown: use 'chatml', or None for the "
                    "model's own template"
                )
            own = self.metadata.get("tokenizer.chat_template")
            source = CHATML if self.chat_format or own is None else own
            vocab = self._model.vocab_handle
            bos, eos = (
                vocab.text(token).decode("utf-8", "replace") if token >= 0 else ""
                for token in (vocab.bos, vocab.eos)
            )
            self._templates = ChatTemplates(source, bos=bos, eos=eos)
            self._thinks_by_default = thinks_by_default(source)
        return self._templates

    # Embeddings.

    def create_embedding(
        self,
        input: str | list[str],  # noqa: A002 - OpenAI's name
        model: str | None = None,
    ) -> CreateEmbeddingResponse:
        """Embed texts.

        Args:
            input: A text, or a list of them.
            model: What the result says the model is.

        Returns:
            OpenAI's embedding object.

        Raises:
            ContextError: The model was created without ``embedding=True``.
            InvalidArgumentError: There is no text.
        """
        texts = [input] if isinstance(input, str) else input
        rows, count = self.embed(texts, return_count=True)
        data = [
            {"object": "embedding", "embedding": row, "index": index}
            for index, row in enumerate(rows)
        ]
        return cast(
            "CreateEmbeddingResponse",
            {
                "object": "list",
                "data": data,
                "model": model if model is not None else self.model_path,
                "usage": {"prompt_tokens": count, "total_tokens": count},
            },
        )

    def embed(
        self,
        input: str | list[str],  # noqa: A002 - OpenAI's name
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """Embed a text or a list of texts.

        Args:
            input: The texts.
            normalize: True scales to Euclidean length 1; a number is llama.cpp's
                ``--embd-normalize``.
            truncate: Whether to cut texts that are too long, rather than raise.
            return_count: Whether to return the number of tokens too.

        Returns:
            A list of floats per text, of lists per token where the model does not pool; for a
            single text that alone. With ``return_count`` a tuple of it and the number of those
            that were not cut off.

        Raises:
            ContextError: The model was created without ``embedding=True``.
            InvalidArgumentError: There is no text, or one is too long.
        """
        self._check_context()
        context = self._ctx.handle
        if not context.params.embeddings:
            raise ContextError("create the model with embedding=True to embed with it")
        texts = [input] if isinstance(input, str) else input
        if not isinstance(texts, list | tuple):
            raise InvalidArgumentError(f"input={input!r} must be a text or a list of texts")
        vocab = self._model.vocab_handle
        prompts = [vocab.tokenize(text, parse_special=True) for text in texts]
        if not prompts or not all(prompts):
            raise InvalidArgumentError("there is nothing to embed: give at least one text")
        rows = [
            embeddings.normalized(row, normalize).tolist()
            for row in embeddings.embed(self._engine, context, prompts, truncate=truncate)
        ]
        result = rows[0] if isinstance(input, str) else rows
        if not return_count:
            return result
        limit = embeddings.longest(self._engine, context)
        return result, sum(min(len(prompt), limit) for prompt in prompts)

    def _generating(self) -> Generator:
        """What completions need.

        Raises:
            InvalidArgumentError: The model cannot generate.
            ClosedError: It is closed.
        """
        self._check_context()
        model, context = self._model.handle, self._ctx.handle
        if model.has_encoder or not context.has_memory:
            raise InvalidArgumentError(
                f"this model ({model.header.architecture}) does not continue texts: use embed"
            )
        return self._generator


_TEMPLATE_OPTIONS = (
    "parallel_tool_calls", "enable_thinking", "reasoning_format", "continue_final_message",
    "chat_template_kwargs",
)  # fmt: skip
