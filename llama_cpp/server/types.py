"""What requests hold and answers look like, for those that OpenAI's client does not type."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from typing_extensions import Self, TypedDict

from ..compat.names import lookup as _lookup

__all__ = [
    "ChatCompletionRequestMessage",
    "CreateChatCompletionRequest",
    "CreateCompletionRequest",
    "CreateEmbeddingRequest",
    "DetokenizeInputRequest",
    "DetokenizeInputResponse",
    "ModelData",
    "ModelList",
    "TokenizeInputCountResponse",
    "TokenizeInputRequest",
    "TokenizeInputResponse",
]

INT32_MAX = 2**31 - 1

Token: TypeAlias = Annotated[int, Field(ge=0, le=INT32_MAX)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=INT32_MAX)]
Integer: TypeAlias = Annotated[int, Field(ge=-INT32_MAX, le=INT32_MAX)]
Limit: TypeAlias = Annotated[int, Field(ge=-1, le=INT32_MAX)]
"""How many at most; -1 is no limit, as for llama-server."""
Seed: TypeAlias = Annotated[int, Field(ge=-(2**63), le=2**64 - 1)]


class Body(BaseModel):
    """A request's body: unknown fields are ignored, NaN is refused, True is no number."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")
    return value


Number: TypeAlias = Annotated[float, BeforeValidator(_no_bool)]
Share: TypeAlias = Annotated[Number, Field(ge=0, le=1)]


STOPS_MAX = 4096
"""Characters of all stop strings together: their automaton takes memory for each."""
CHOICES_MAX = 1024
"""Texts that one request may ask for: prompts times n."""


def _short_stops(stops: Any) -> Any:
    texts = [stops] if isinstance(stops, str) else stops or []
    if sum(map(len, texts)) > STOPS_MAX:
        raise ValueError(f"stop strings may have {STOPS_MAX} characters together")
    return stops


Stops: TypeAlias = Annotated[str | list[str], AfterValidator(_short_stops)]


class StreamOptions(Body):
    """What a stream tells besides the text."""

    include_usage: bool | None = None


class Serving(Body):
    """How a request is served: see ``ServiceOptions``."""

    timeout: Number | None = Field(
        None, ge=0, description="Seconds after which the text ends with what it has."
    )
    priority: Integer | None = Field(None, description="Higher ones come first; 0 by default.")
    overflow: Literal["error", "shift", "trim"] | None = Field(
        None, description="What to do where the context is full; trim is for chats."
    )


class Sampling(Body):
    """How tokens are chosen: see ``SamplingParams``; None takes the default."""

    temperature: Number | None = Field(None, ge=0)
    top_p: Share | None = None
    top_k: Integer | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    frequency_penalty: Number | None = None
    presence_penalty: Number | None = None
    repeat_penalty: Number | None = Field(None, ge=0)
    mirostat_mode: Annotated[int, Field(ge=0, le=2)] | None = None
    mirostat_tau: Number | None = Field(None, ge=0)
    mirostat_eta: Number | None = Field(None, ge=0)
    tfs_z: Number | None = Field(None, description="Without effect.")
    dynatemp_range: Number | None = Field(None, ge=0)
    dynatemp_exponent: Number | None = Field(None, ge=0)
    top_n_sigma: Number | None = None
    xtc_probability: Share | None = None
    xtc_threshold: Share | None = None
    dry_multiplier: Number | None = Field(None, ge=0)
    dry_base: Number | None = Field(None, ge=0)
    dry_allowed_length: Count | None = None
    dry_penalty_last_n: Integer | None = Field(None, ge=-1)
    dry_sequence_breakers: list[str] | None = Field(None, max_length=64)
    penalty_last_n: Integer | None = Field(None, ge=-1)
    adaptive_target: Number | None = Field(None, le=1)
    adaptive_decay: Number | None = Field(None, ge=0, le=0.99)
    min_keep: Count | None = None
    ignore_eos: bool | None = None
    samplers: list[str] | None = Field(None, max_length=64)
    seed: Seed | None = None
    logit_bias: dict[str, Number] | None = Field(None, description="Added to logits, by token.")
    logit_bias_type: Literal["input_ids", "tokens"] | None = Field(
        None, description="Whether the keys of logit_bias are ids or texts."
    )
    min_tokens: Count | None = Field(None, description="No end before so many tokens.")
    lora: dict[str, Number] | None = Field(None, description="Scales of LoRA adapters, by name.")


class Generating(Sampling, Serving):
    """What completions and chats have in common."""

    model: str | None = Field(None, description="Which model; with one any name will do.")
    max_tokens: Limit | None = Field(
        None, description="Tokens to generate at most; -1: as many as fit."
    )
    stop: Stops | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = 1
    user: str | None = None
    grammar: str | None = Field(None, description="GBNF that the text has to follow.")
    json_schema: dict[str, Any] | None = Field(None, description="The schema of a text in JSON.")
    regex: str | None = Field(None, description="A regular expression that the text matches.")
    choices: list[str] | None = Field(None, description="The texts that it may be.")
    lark: str | None = Field(None, description="A grammar in llguidance's variant of Lark.")
    timings: bool | None = Field(None, description="Tell how long it took, as llama-server.")
    timings_per_token: bool | None = Field(None, description="Tell it in each chunk of a stream.")
    return_progress: bool | None = Field(
        None, description="Tell in a stream how much of the prompt is computed."
    )
    logits_processor: str | None = Field(
        None, description="The name of one that the server's setting logits_processors has."
    )


class CreateCompletionRequest(Generating):
    """The body of ``/v1/completions``."""

    prompt: str | list[str] | list[Token] | list[list[Token]] = Field(
        "", description="What to complete: texts or token ids."
    )
    suffix: str | None = Field(None, description="What comes after the text to write.")
    max_tokens: Limit | None = 16
    echo: bool | None = Field(False, description="Whether the prompt is part of the text.")
    logprobs: Annotated[int, Field(ge=0, le=100)] | None = None
    best_of: Annotated[int, Field(ge=1, le=128)] | None = Field(
        None, description="Without effect: each completion is an answer."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prompt": "Q: What is the capital of France? A:", "stop": ["\n"]}]
        }
    )

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        prompts = self.prompt
        # Else it is one text, or the tokens of one.
        has_several = isinstance(prompts, list) and not isinstance(next(iter(prompts), 0), int)
        if (len(prompts) if has_several else 1) * (self.n or 1) > CHOICES_MAX:
            raise ValueError(f"at most {CHOICES_MAX} texts go: prompts times n")
        return self


class CreateChatCompletionRequest(Generating):
    """The body of ``/v1/chat/completions``."""

    messages: list[dict[str, Any]] = Field(min_length=1, description="The conversation.")
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_completion_tokens: Limit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=100)] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_format: str | None = None
    reasoning_effort: str | None = None
    enable_thinking: bool | None = None
    thinking_budget: Limit | None = Field(
        None,
        description="Tokens of thought at most; -1: any number. Also by llama-server's names.",
        validation_alias=AliasChoices(
            "thinking_budget", "reasoning_budget_tokens", "thinking_budget_tokens"
        ),
    )
    thinking_end_message: str | None = Field(
        None,
        description="What a thought that the budget ends is to end with.",
        validation_alias=AliasChoices("thinking_end_message", "reasoning_budget_message"),
    )
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | str | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "Name a colour."}]}]
        }
    )


class CreateEmbeddingRequest(Body):
    """The body of ``/v1/embeddings``."""

    model: str | None = None
    input: str | list[str] | list[Token] | list[list[Token]] = Field(
        description="Texts or token ids."
    )
    dimensions: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    truncate: bool | None = Field(None, description="Cut texts that are too long.")
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, le=INT32_MAX)] | None = Field(
        None, description="Cut longer texts to so many tokens; -1 to as many as go."
    )
    user: str | None = None

    @property
    def cut(self) -> bool | int:
        """What ``Llama.create_embedding`` takes as ``truncate``."""
        if self.truncate_prompt_tokens is None:
            return bool(self.truncate)
        return self.truncate_prompt_tokens if self.truncate_prompt_tokens >= 0 else True

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["a text", "another"]}]})


class RerankRequest(Body):
    """The body of ``/v1/rerank``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "colours", "documents": ["red", "Monday"]}]}
    )

    model: str | None = None
    query: str
    documents: list[str | dict[str, Any]] = Field(min_length=1)
    top_n: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    return_documents: bool | None = None
    truncate: bool | None = Field(None, description="Cut pairs that are too long, as by default.")


class ModelData(TypedDict):
    """A model of the list."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    permissions: list[str]
    meta: dict[str, Any]


class ModelList(TypedDict):
    """The answer of ``/v1/models``."""

    object: Literal["list"]
    data: list[ModelData]


class TokenizeInputRequest(Body):
    """A text to tokenize."""

    model: str | None = None
    input: str

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "How many tokens?"}]})


class TokenizeInputResponse(BaseModel):
    """Its tokens."""

    tokens: list[int]


class TokenizeInputCountResponse(BaseModel):
    """How many tokens it has."""

    count: int


class DetokenizeInputRequest(Body):
    """Token ids to join."""

    model: str | None = None
    tokens: list[Token]

    model_config = ConfigDict(json_schema_extra={"examples": [{"tokens": [15, 16]}]})


class DetokenizeInputResponse(BaseModel):
    """Their text."""

    text: str


class TokenizeRequest(Body):
    """The body of llama-server's ``/tokenize``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"content": "How many tokens?"}]})

    content: str | list[str | Token] = Field(description="A text, or texts among token ids.")
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False
    model: str | None = None


class DetokenizeRequest(Body):
    """The body of llama-server's ``/detokenize``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tokens": [15, 16]}]})

    tokens: list[Token]
    model: str | None = None


class ChatCompletionRequestMessage(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "developer", "tool", "function"] = "user"
    content: str | list[dict[str, Any]] | None = ""


# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
