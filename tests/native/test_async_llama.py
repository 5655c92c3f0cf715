"""``AsyncLlama``: the results of ``Llama``, awaited, together, and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp import AsyncLlama
from llama_cpp.errors import ClosedError, ContextWindowError, InvalidArgumentError
from llama_cpp.llama import Llama

CHAT = [{"role": "user", "content": "what is the answer"}]
ENDLESS: dict[str, Any] = {"max_tokens": None, **GREEDY}


@pytest.fixture(scope="module")
def llama(zoo: Zoo) -> Iterator[Llama]:
    # What fills its context goes on: only a cancellation ends a text without a limit.
    with open_llama(zoo.llama, n_parallel=4, context_shift=True) as model:
        yield model


@pytest.fixture
def llm(llama: Llama) -> AsyncLlama:
    return AsyncLlama(llama)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def without_id(answer: Any) -> Any:
    return {name: answer[name] for name in answer if name not in ("id", "created")}


async def until_running(llm: AsyncLlama, count: int) -> None:
    while sum(slot.request is not None for slot in llm.llama.engine.slots) != count:
        await asyncio.sleep(0.001)


def test_results_are_those_of_llama(llm: AsyncLlama, llama: Llama) -> None:
    async def work() -> None:
        options = {"max_tokens": 12, "logprobs": 2, "echo": True, **GREEDY}
        answer = await llm.create_completion(PROMPT, **options)
        again = complete(llama, PROMPT, logprobs=2, echo=True)
        assert without_id(answer)["choices"] == without_id(again)["choices"]
        positional: Any = await llm("once upon", None, 5, 0.0)
        assert (
            positional["choices"]
            == complete(llama, "once upon", max_tokens=5, ignore_eos=False)["choices"]
        )
        chat: Any = await llm.create_chat_completion(CHAT, max_tokens=8, temperature=0)
        whole: Any = llama.create_chat_completion(CHAT, max_tokens=8, temperature=0)
        assert chat["choices"] == whole["choices"]

    run(work())


def test_parts_come_one_after_another(llm: AsyncLlama, llama: Llama) -> None:
    async def work() -> None:
        stream: Any = await llm(PROMPT, stream=True, max_tokens=20, **GREEDY)
        chunks = [chunk async for chunk in stream]
        assert "".join(c["choices"][0]["text"] for c in chunks) == text_of(
            llama, PROMPT, max_tokens=20
        )
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        assert len(chunks) > 5
        talk: Any = await llm.create_chat_completion(
            CHAT, stream=True, max_tokens=8, temperature=0, seed=1
        )
        text = "".join([chunk["choices"][0]["delta"].get("content") or "" async for chunk in talk])
        whole: Any = llama.create_chat_completion(CHAT, max_tokens=8, temperature=0)
        assert text == whole["choices"][0]["message"]["content"]

    run(work())


def test_calls_that_run_together_have_their_solo_results(llm: AsyncLlama, llama: Llama) -> None:
    prompts = [PROMPT[start : start + 20] for start in range(12)]
    alone = [text_of(llama, prompt, max_tokens=25) for prompt in prompts]

    async def streamed(prompt: list[int]) -> str:
        stream: Any = await llm(prompt, stream=True, max_tokens=25, **GREEDY)
        return "".join([chunk["choices"][0]["text"] async for chunk in stream])

    async def whole(prompt: list[int]) -> str:
        answer: Any = await llm(prompt, max_tokens=25, **GREEDY)
        text: str = answer["choices"][0]["text"]
        return text

    async def work() -> list[str]:
        return await asyncio.gather(
            *(whole(prompt) if index % 2 else streamed(prompt)
              for index, prompt in enumerate(prompts))
        )  # fmt: skip

    assert run(work()) == alone


def test_the_loop_goes_on_while_a_text_is_written(llm: AsyncLlama) -> None:
    async def work() -> int:
        task = asyncio.create_task(llm.create_completion(PROMPT, max_tokens=300, **GREEDY))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert run(work()) > 10


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_cancelled_call_frees_its_slot(llm: AsyncLlama, llama: Llama, how: str) -> None:
    expected = text_of(llama, PROMPT)

    async def work() -> None:
        task = asyncio.create_task(llm.create_completion(PROMPT, **ENDLESS))
        await until_running(llm, 1)
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(task, 0.05)
        await until_running(llm, 0)
        answer: Any = await llm(PROMPT, max_tokens=12, **GREEDY)
        assert answer["choices"][0]["text"] == expected

    run(work())


def test_cancelling_one_call_leaves_the_others_alone(llm: AsyncLlama, llama: Llama) -> None:
    expected = text_of(llama, PROMPT, max_tokens=150)

    async def work() -> None:
        endless = [
            asyncio.create_task(llm.create_completion(PROMPT[:9], **ENDLESS)) for _ in range(3)
        ]
        await until_running(llm, 3)
        kept = asyncio.create_task(llm.create_completion(PROMPT, max_tokens=150, **GREEDY))
        await until_running(llm, 4)
        for task in endless:
            task.cancel()
        answer: Any = await kept
        assert answer["choices"][0]["text"] == expected
        assert await asyncio.gather(*endless, return_exceptions=True)
        await until_running(llm, 0)

    run(work())


def test_leaving_a_stream_frees_its_slot(llm: AsyncLlama) -> None:
    async def work() -> None:
        stream: Any = await llm(PROMPT, stream=True, **ENDLESS)
        async for _ in stream:
            break
        await stream.aclose()
        await until_running(llm, 0)

        async def reader() -> None:
            async for _ in await llm(PROMPT, stream=True, **ENDLESS):
                pass

        task = asyncio.create_task(reader())
        await until_running(llm, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_running(llm, 0)

    run(work())


def test_a_call_that_waits_for_a_slot_can_be_cancelled(llm: AsyncLlama) -> None:
    async def work() -> None:
        running = [
            asyncio.create_task(llm.create_completion([300 + n], **ENDLESS)) for n in range(4)
        ]
        await until_running(llm, 4)
        waiting = asyncio.create_task(llm.create_completion(PROMPT, **ENDLESS))
        while len(llm.llama.engine) != 5:
            await asyncio.sleep(0.001)
        waiting.cancel()
        while len(llm.llama.engine) != 4:
            await asyncio.sleep(0.001)
        for task in running:
            task.cancel()
        await asyncio.gather(waiting, *running, return_exceptions=True)
        await until_running(llm, 0)

    run(work())


def test_mistakes_are_raised_where_they_are_awaited(llm: AsyncLlama) -> None:
    def fail(ids: Any, _: Any) -> None:
        if len(ids) > len(PROMPT) + 3:
            raise LookupError("no such word")

    async def work() -> None:
        with pytest.raises(InvalidArgumentError, match="top_p=-1"):
            await llm(PROMPT, top_p=-1)
        with pytest.raises(TypeError, match="'tempreture'; did you mean 'temperature'"):
            await llm(PROMPT, tempreture=1)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            await llm(PROMPT, None, max_tokens=1, suffix="twice")  # type: ignore[call-overload]
        with pytest.raises(ContextWindowError):
            await llm([300] * 300)
        with pytest.raises(LookupError, match="no such word"):
            await llm(PROMPT, logits_processor=fail)
        stream: Any = await llm(PROMPT, stream=True, logits_processor=fail, **GREEDY)
        seen = []
        with pytest.raises(LookupError, match="no such word"):
            async for chunk in stream:
                seen.append(chunk)
        assert seen

    run(work())


def test_a_handler_of_the_caller_answers_chats(zoo: Zoo) -> None:
    def handler(*, llama: Llama, messages: Any, stream: bool, **_: Any) -> Any:
        words = [message["content"].upper() for message in messages]
        return iter(words) if stream else words

    async def work() -> None:
        async with AsyncLlama(str(zoo.llama), verbose=False, chat_handler=handler) as llm:
            answer: Any = await llm.create_chat_completion(CHAT)
            assert answer == ["WHAT IS THE ANSWER"]
            stream: Any = await llm.create_chat_completion(CHAT * 2, stream=True)
            assert [part async for part in stream] == ["WHAT IS THE ANSWER"] * 2

    run(work())


def test_embeddings_are_awaited_too(zoo: Zoo) -> None:
    async def work() -> None:
        async with AsyncLlama(
            str(zoo.bert), verbose=False, n_threads=1, n_threads_batch=1, embedding=True
        ) as llm:
            one, two = await asyncio.gather(llm.embed("the"), llm.embed(["water", "the"]))
            assert two[1] == pytest.approx(one, abs=1e-5)
            answer = await llm.create_embedding("the", model="m")
            assert answer["model"] == "m"
            assert answer["data"][0]["embedding"] == pytest.approx(one, abs=1e-5)

    run(work())


def test_after_closing_everything_is_refused(zoo: Zoo) -> None:
    async def work() -> None:
        llm = AsyncLlama(str(zoo.llama), verbose=False, n_ctx=256, n_parallel=2)
        running = asyncio.create_task(llm.create_completion(PROMPT, max_tokens=None))
        await until_running(llm, 1)
        await llm.close()
        with pytest.raises(ClosedError):
            await running

    run(work())
