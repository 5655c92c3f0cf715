"""What people write with this package, for type checkers to read; nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import llama_cpp
from llama_cpp import (
    AsyncLlama,
    BatchLogitsProcessor,
    Llama,
    LlamaGrammar,
    LlamaRAMCache,
    LlamaState,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from llama_cpp.errors import ContextWindowError, LlamaError
from llama_cpp.llama_types import (
    ChatCompletionStreamResponseDelta,
    CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse,
    CreateCompletionResponse,
    CreateCompletionStreamResponse,
    CreateEmbeddingResponse,
    RerankResponse,
)
from llama_cpp.structured import AsyncChunkStream, ChunkStream
from llama_cpp.tools import Event, MCPServer, Tool, ToolResult


def load(path: str) -> Llama:
    return Llama(
        path,
        n_ctx=4096,
        n_gpu_layers=-1,
        n_threads=4,
        n_parallel=2,
        flash_attn="auto",
        kv_overrides={"tokenizer.ggml.add_bos_token": False},
        chat_format="chatml",
        verbose=False,
    )


def complete(llm: Llama) -> str:
    whole = llm("Once upon a time", max_tokens=16, temperature=0.7, stop=["\n"], seed=1)
    assert_type(whole, CreateCompletionResponse)
    assert_type(whole["usage"]["total_tokens"], int)
    same = llm.create_completion("Once", None, 16, 0.7, logprobs=5, echo=True)
    assert_type(same, CreateCompletionResponse)
    logprobs = same["choices"][0]["logprobs"]
    if logprobs is not None:
        assert_type(logprobs["tokens"], list[str])
        assert_type(logprobs["token_logprobs"], list[float | None])
    assert_type(whole["choices"][0]["finish_reason"], Literal["stop", "length", "timeout"] | None)
    return whole["choices"][0]["text"]


def stream(llm: Llama, wants_parts: bool) -> str:
    parts = llm("Once upon a time", stream=True, top_k=40, min_p=0.1, dry_multiplier=0.8)
    assert_type(parts, ChunkStream[CreateCompletionStreamResponse])
    iterator: Iterator[CreateCompletionStreamResponse] = parts
    text = "".join(part["choices"][0]["text"] for part in iterator)
    either = llm.create_completion([1, 2, 3], stream=wants_parts)
    assert_type(either, CreateCompletionResponse | ChunkStream[CreateCompletionStreamResponse])
    return text


def chat(llm: Llama) -> str:
    messages = [{"role": "user", "content": "What is the capital of Japan?"}]
    answer = llm.create_chat_completion(messages, temperature=0.2, max_tokens=64)
    assert_type(answer, CreateChatCompletionResponse)
    message = answer["choices"][0]["message"]
    assert_type(message["content"], str | None)
    for call in message.get("tool_calls") or []:
        assert_type(call["function"]["name"], str)
        assert_type(call["function"]["arguments"], str)
    chunks = llm.create_chat_completion(messages, stream=True, enable_thinking=False)
    assert_type(chunks, ChunkStream[CreateChatCompletionStreamResponse])
    for chunk in chunks:
        delta = chunk["choices"][0]["delta"]
        assert_type(delta, ChatCompletionStreamResponseDelta)
        print(delta.get("content") or "", end="", flush=True)
    return message["content"] or ""


def call_tools(llm: Llama) -> CreateChatCompletionResponse:
    weather = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    return llm.create_chat_completion(
        messages=[
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
        ],
        tools=[weather],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        parallel_tool_calls=False,
    )


def extract(llm: Llama) -> str | None:
    grammar = LlamaGrammar.from_string('root ::= "yes" | "no"')
    assert_type(llm("Yes or no? ", grammar=grammar)["choices"][0]["text"], str)
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    answer = llm.create_chat_completion(
        [{"role": "user", "content": "Extract the name."}],
        response_format={"type": "json_object", "schema": schema},
        logit_bias={42: -1.0},
        logprobs=True,
        top_logprobs=3,
    )
    return answer["choices"][0]["message"]["content"]


def hooks(llm: Llama) -> CreateCompletionResponse:
    def forbid(ids: npt.NDArray[np.intc], scores: npt.NDArray[np.single]) -> npt.NDArray[np.single]:
        scores[ids[-1]] = -np.inf
        return scores

    def long_enough(ids: npt.NDArray[np.intc], logits: npt.NDArray[np.single]) -> bool:
        return len(ids) > 100 and bool(logits.max() > 10)

    class Cooler(BatchLogitsProcessor):
        def __call__(
            self, input_ids: Sequence[npt.NDArray[np.intc]], scores: npt.NDArray[np.single]
        ) -> None:
            scores *= np.single(len(input_ids))

    llm("x", logits_processor=forbid, stopping_criteria=long_enough)
    llm("x", logits_processor=Cooler())
    llm("x", logits_processor=[forbid, Cooler()], sampling_trace=True)
    return llm(
        "x",
        logits_processor=LogitsProcessorList([forbid]),
        stopping_criteria=StoppingCriteriaList([long_enough]),
    )


def embed(llm: Llama) -> list[list[float]]:
    assert_type(llm.embed("a text"), list[float])
    assert_type(llm.create_embedding(["a", "b"]), CreateEmbeddingResponse)
    assert_type(llm.create_embedding("a")["data"][0]["embedding"], list[float])
    ranked = llm.rerank("query", ["one", "two"], top_n=1)
    assert_type(ranked, RerankResponse)
    assert_type(ranked["results"][0]["relevance_score"], float)
    assert_type(llm.classify("spam?"), dict[str, float])
    return llm.embed(["one", "two"], normalize=True)


def by_hand(llm: Llama) -> bytes:
    tokens = llm.tokenize(b"Once upon")
    assert_type(tokens, list[int])
    llm.reset()
    llm.eval(tokens)
    assert_type(llm.scores, npt.NDArray[np.single])
    assert_type(llm.n_tokens, int)
    for token in llm.generate(tokens, top_k=1):
        assert_type(token, int)
        if token == llm.token_eos():
            break
    state = llm.save_state()
    assert_type(state, LlamaState)
    llm.load_state(state)
    llm.set_cache(LlamaRAMCache(2 << 20))
    return llm.detokenize(tokens)


@dataclass
class Person:
    name: str
    age: int


def structured(llm: Llama) -> int:
    assert_type(llm.parse("Jason is 25 years old", Person, max_tokens=64).age, int)
    assert_type(llm.parse([{"role": "user", "content": "Hi"}], list[str]), list[str])
    answer = llm.create_chat_completion([{"role": "user", "content": "Hi"}], response_format=Person)
    print(answer["choices"][0]["message"].get("parsed"))
    choice = llm.choose("Is Paris in France?", [" yes", " no"])
    assert_type(choice.probabilities, dict[str, float])
    stream = llm("Jason is 25: ", schema=Person, stream=True)
    for value in stream.partial():
        print(value)
    return choice.index


def measure(llm: Llama) -> float:
    scores = llm.score("The capital of Japan is", [" Tokyo", " Oslo"])
    assert_type(scores[0].is_greedy, bool)
    llm.load_lora("mine", "lora.gguf")
    llm("x", lora={"mine": 0.5})
    return llm.perplexity("a long text").perplexity


def get_time(city: str) -> str:
    """Get the time of a city."""
    return city


def with_tools(llm: Llama) -> str:
    messages = [{"role": "user", "content": "What time is it in Lima?"}]
    with MCPServer.stdio("server", ["--quiet"]) as server:
        run = llm.run(messages, [get_time, Tool.of(load), server], temperature=0, stream=True)
        for event in run:
            if isinstance(event, ToolResult):
                assert_type(event.call.name, str)
                print(event.is_error)
    return llm.run(messages, [get_time]).result().text


async def concurrently(path: str) -> str:
    async with AsyncLlama(path, n_parallel=4) as llm:
        whole = await llm("Once", max_tokens=4)
        assert_type(whole, CreateCompletionResponse)
        parts = await llm.create_chat_completion([{"role": "user", "content": "Hi"}], stream=True)
        assert_type(parts, AsyncChunkStream[CreateChatCompletionStreamResponse])
        iterator: AsyncIterator[CreateChatCompletionStreamResponse] = parts
        async for part in iterator:
            assert_type(part["choices"][0]["delta"].get("content"), str | None)
        async for event in llm.run([{"role": "user", "content": "Hi"}], [get_time], max_steps=2):
            assert_type(event, Event)
        return whole["choices"][0]["text"]


def raw(path: bytes) -> int:
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path, params)
    if model is None:
        raise SystemExit("no model")
    n_tokens = llama_cpp.llama_vocab_n_tokens(model)
    assert_type(n_tokens, int)
    llama_cpp.llama_model_free(model)
    return n_tokens


def main() -> None:
    info = llama_cpp.build_info()
    with load("model.gguf") as llm:
        try:
            print(info["llama_cpp_commit"], complete(llm), stream(llm, True), chat(llm))
        except ContextWindowError as error:
            print("too long", error)
        except LlamaError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
