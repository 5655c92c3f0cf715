"""The shapes of what goes into and comes out of ``Llama``: those of the OpenAI API.

They are plain dicts at run time. The annotations are real types, so that frameworks can build
validators from them: this module must not postpone their evaluation.
"""

from typing import Any, Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

from .compat.names import lookup as _lookup

# Its containers say Any, because a recursive alias cannot be resolved outside of this module.
JsonType: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

_FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "function_call", "timeout"]


class EmbeddingUsage(TypedDict):
    """How many tokens an embedding request took."""

    prompt_tokens: int
    total_tokens: int


class Embedding(TypedDict):
    """The embedding of one input.

    Without pooling there is a vector for each token, and with ``encoding_format="base64"`` a text
    stands for each vector; OpenAI's shape, which is what nearly everybody reads, has one plain
    vector.
    """

    index: int
    object: str
    embedding: list[float]


EmbeddingData = Embedding


class RerankDocument(TypedDict):
    """A document of a result."""

    text: str


class RerankResult(TypedDict):
    """How well a document answers a query."""

    index: int
    relevance_score: float
    document: NotRequired[RerankDocument]


class RerankResponse(TypedDict):
    """The documents of a call of ``rerank``, the best first."""

    object: Literal["list"]
    model: str
    results: list[RerankResult]
    usage: EmbeddingUsage


class CreateEmbeddingResponse(TypedDict):
    """The answer to an embedding request."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class CompletionLogprobs(TypedDict):
    """The log-probabilities of a completion's tokens, as parallel lists."""

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class TracedCandidate(TypedDict):
    """A token that a sampler left, with its log-probability among those that it left."""

    token: str
    id: int
    logprob: float


class SamplingTraceStage(TypedDict):
    """What a sampler left: how many candidates, and the likeliest of them."""

    sampler: str
    n_candidates: int
    candidates: list[TracedCandidate]


class CompletionChoice(TypedDict):
    """One of the completions of a prompt."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length", "timeout"] | None
    sampling_trace: NotRequired[list[list[SamplingTraceStage]]]
    parsed: NotRequired[Any]


class PromptTokensDetails(TypedDict):
    """What the tokens of a prompt cost."""

    cached_tokens: NotRequired[int]


class CompletionTokensDetails(TypedDict):
    """What came of guessed tokens, and how many were thoughts."""

    accepted_prediction_tokens: NotRequired[int]
    rejected_prediction_tokens: NotRequired[int]
    reasoning_tokens: NotRequired[int]


class CompletionUsage(TypedDict):
    """How many tokens a request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: NotRequired[PromptTokensDetails]
    completion_tokens_details: NotRequired[CompletionTokensDetails]


class Timings(TypedDict):
    """How long a request took, as llama-server tells it.

    Attributes:
        cache_n: Prompt tokens that did not have to be computed.
        prompt_n: Those that had to be.
        prompt_ms: From the first step until the first token.
        prompt_per_token_ms: Of that, for each token.
        prompt_per_second: Tokens of the prompt in a second.
        predicted_n: Tokens that were written.
        predicted_ms: From the first to the last of them.
        predicted_per_token_ms: Of that, for each token after the first.
        predicted_per_second: Tokens after the first in a second.
        draft_n: Tokens that were guessed, if any were.
        draft_n_accepted: Those of them that were right.
    """

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
    draft_n: NotRequired[int]
    draft_n_accepted: NotRequired[int]


class PromptProgress(TypedDict):
    """How much of a prompt is computed, as llama-server tells it.

    Attributes:
        total: Its tokens.
        cache: Those that did not have to be computed.
        processed: Those that are there now, the former included.
        time_ms: Since the first step.
    """

    total: int
    cache: int
    processed: int
    time_ms: int


class CreateCompletionResponse(TypedDict):
    """The answer to a completion request."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    timings: NotRequired[Timings]


class CreateCompletionStreamResponse(TypedDict):
    """One part of a streamed answer to a completion request."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: NotRequired[CompletionUsage]
    timings: NotRequired[Timings]
    prompt_progress: NotRequired[PromptProgress]


class ChatCompletionResponseFunctionCall(TypedDict):
    """A call to a function: its name, and its arguments as JSON."""

    name: str
    arguments: str


class ChatCompletionMessageToolCallFunction(TypedDict):
    """The function that a tool call wants called: its name, and its arguments as JSON."""

    name: str
    arguments: str


class ChatCompletionMessageToolCall(TypedDict):
    """A call to a tool in an assistant's message."""

    id: str
    type: Literal["function"]
    function: ChatCompletionMessageToolCallFunction


class ChatCompletionResponseMessage(TypedDict):
    """The message that the model wrote."""

    role: Literal["assistant"]
    content: str | None
    reasoning_content: NotRequired[str]
    refusal: NotRequired[str | None]
    tool_calls: NotRequired[list[ChatCompletionMessageToolCall]]
    function_call: NotRequired[ChatCompletionResponseFunctionCall]
    parsed: NotRequired[Any]


class ChatCompletionTopLogprobToken(TypedDict):
    """A token that could have stood in another's place."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatCompletionLogprobToken(TypedDict):
    """A token of the answer, and those that could have stood in its place."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[ChatCompletionTopLogprobToken]


class ChatCompletionLogprobs(TypedDict):
    """The log-probabilities of a message's tokens."""

    content: list[ChatCompletionLogprobToken] | None
    refusal: list[ChatCompletionLogprobToken] | None


class ChatCompletionResponseChoice(TypedDict):
    """One of the answers to a chat."""

    index: int
    message: ChatCompletionResponseMessage
    logprobs: ChatCompletionLogprobs | None
    finish_reason: _FinishReason | None
    sampling_trace: NotRequired[list[list[SamplingTraceStage]]]


class CreateChatCompletionResponse(TypedDict):
    """The answer to a chat request."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatCompletionResponseChoice]
    usage: CompletionUsage
    timings: NotRequired[Timings]
    trimmed_messages: NotRequired[list[int]]


class ChatCompletionMessageToolCallChunkFunction(TypedDict):
    """The next part of a tool call's function."""

    name: NotRequired[str | None]
    arguments: NotRequired[str]


class ChatCompletionMessageToolCallChunk(TypedDict):
    """The next part of a tool call."""

    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: ChatCompletionMessageToolCallChunkFunction


class ChatCompletionStreamResponseDeltaEmpty(TypedDict):
    """The last part of a streamed answer, which adds nothing."""


class ChatCompletionStreamResponseDeltaFunctionCall(TypedDict):
    """The next part of a function call."""

    name: NotRequired[str]
    arguments: NotRequired[str]


class ChatCompletionStreamResponseDelta(TypedDict):
    """The next part of a streamed answer."""

    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str | None]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[ChatCompletionMessageToolCallChunk] | None]
    function_call: NotRequired[ChatCompletionStreamResponseDeltaFunctionCall | None]


class ChatCompletionStreamResponseChoice(TypedDict):
    """One of the streamed answers to a chat."""

    index: int
    delta: ChatCompletionStreamResponseDelta
    logprobs: NotRequired[ChatCompletionLogprobs | None]
    finish_reason: _FinishReason | None
    sampling_trace: NotRequired[list[list[SamplingTraceStage]]]


class CreateChatCompletionStreamResponse(TypedDict):
    """One part of a streamed answer to a chat request."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatCompletionStreamResponseChoice]
    usage: NotRequired[CompletionUsage | None]
    timings: NotRequired[Timings]
    trimmed_messages: NotRequired[list[int]]
    prompt_progress: NotRequired[PromptProgress]


class ChatCompletionFunctions(TypedDict):
    """A function that the model may call; its parameters are a JSON schema."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, JsonType]]


class ChatCompletionRequestResponseFormat(TypedDict):
    """The format that the answer must have, and its JSON schema if there is one."""

    type: Literal["text", "json_object", "json_schema"]
    schema: NotRequired[JsonType]
    json_schema: NotRequired[dict[str, JsonType]]


class ChatCompletionRequestMessageContentPartText(TypedDict):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ChatCompletionRequestMessageContentPartImageImageUrl(TypedDict):
    """Where an image is, and how closely to look at it."""

    url: str
    detail: NotRequired[Literal["auto", "low", "high"]]


class ChatCompletionRequestMessageContentPartImage(TypedDict):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: str | ChatCompletionRequestMessageContentPartImageImageUrl


class ChatCompletionRequestMessageContentPartAudioInput(TypedDict):
    """A sound file in base64, and its format."""

    data: str
    format: Literal["wav", "mp3"]


class ChatCompletionRequestMessageContentPartAudio(TypedDict):
    """A sound in a message."""

    type: Literal["input_audio"]
    input_audio: ChatCompletionRequestMessageContentPartAudioInput


ChatCompletionRequestMessageContentPart: TypeAlias = (
    ChatCompletionRequestMessageContentPartText
    | ChatCompletionRequestMessageContentPartImage
    | ChatCompletionRequestMessageContentPartAudio
)


class ChatCompletionRequestSystemMessage(TypedDict):
    """Instructions for the model."""

    role: Literal["system", "developer"]
    content: str | list[ChatCompletionRequestMessageContentPartText] | None


class ChatCompletionRequestUserMessage(TypedDict):
    """What the user says or shows."""

    role: Literal["user"]
    content: str | list[ChatCompletionRequestMessageContentPart] | None


class ChatCompletionRequestAssistantMessage(TypedDict):
    """What the model said earlier."""

    role: Literal["assistant"]
    content: NotRequired[str | list[ChatCompletionRequestMessageContentPartText] | None]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[ChatCompletionMessageToolCall]]
    function_call: NotRequired[ChatCompletionResponseFunctionCall]


class ChatCompletionRequestToolMessage(TypedDict):
    """What a tool returned."""

    role: Literal["tool"]
    content: str | list[ChatCompletionRequestMessageContentPartText] | None
    tool_call_id: str


class ChatCompletionRequestFunctionMessage(TypedDict):
    """What a function returned."""

    role: Literal["function"]
    content: str | None
    name: str


ChatCompletionRequestMessage: TypeAlias = (
    ChatCompletionRequestSystemMessage
    | ChatCompletionRequestUserMessage
    | ChatCompletionRequestAssistantMessage
    | ChatCompletionRequestToolMessage
    | ChatCompletionRequestFunctionMessage
)


class ChatCompletionRequestFunctionCallOption(TypedDict):
    """The function that the model must call."""

    name: str


ChatCompletionRequestFunctionCall: TypeAlias = (
    Literal["none", "auto"] | ChatCompletionRequestFunctionCallOption
)

ChatCompletionFunctionParameters: TypeAlias = dict[str, JsonType]


class ChatCompletionToolFunction(TypedDict):
    """The function behind a tool; its parameters are a JSON schema."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[ChatCompletionFunctionParameters]
    strict: NotRequired[bool | None]


class ChatCompletionTool(TypedDict):
    """A tool that the model may call."""

    type: Literal["function"]
    function: ChatCompletionToolFunction


class ChatCompletionNamedToolChoiceFunction(TypedDict):
    """The name of the function that the model must call."""

    name: str


class ChatCompletionNamedToolChoice(TypedDict):
    """The tool that the model must call."""

    type: Literal["function"]
    function: ChatCompletionNamedToolChoiceFunction


ChatCompletionToolChoiceOption: TypeAlias = (
    Literal["none", "auto", "required"] | ChatCompletionNamedToolChoice
)


# Further names of the same shapes.
ChatCompletion = CreateChatCompletionResponse
ChatCompletionChoice = ChatCompletionResponseChoice
ChatCompletionMessageToolCalls = list[ChatCompletionMessageToolCall]
ChatCompletionChunk = CreateChatCompletionStreamResponse
ChatCompletionChunkChoice = ChatCompletionStreamResponseChoice
ChatCompletionChunkDelta = ChatCompletionStreamResponseDelta
ChatCompletionChunkDeltaEmpty = ChatCompletionStreamResponseDeltaEmpty
ChatCompletionFunction = ChatCompletionFunctions
ChatCompletionFunctionCall = ChatCompletionResponseFunctionCall
ChatCompletionFunctionCallOption = ChatCompletionRequestFunctionCallOption
ChatCompletionMessage = ChatCompletionResponseMessage
ChatCompletionRequestAssistantMessageFunctionCall = ChatCompletionResponseFunctionCall
ChatCompletionResponseFunction = ChatCompletionFunctions
ChatCompletionStreamResponse = CreateChatCompletionStreamResponse
Completion = CreateCompletionResponse
CompletionChunk = CreateCompletionStreamResponse

# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
