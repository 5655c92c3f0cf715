"""LoRA adapters by request, activated ones, control vectors."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, cached_tokens, complete, open_llama, text_of
from zoo import Zoo, write_control_vector, write_lora

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import (
    BusyError,
    ClosedError,
    InvalidArgumentError,
    ModelLoadError,
    StateError,
)
from llama_cpp.handles import Batch, Context, LoraAdapter, Model
from llama_cpp.llama import Llama, LlamaRAMCache

SETS: list[dict[str, float] | None] = [None, {"a": 1.0}, {"b": 1.0}, {"a": 0.5, "b": 2.0}, {"a": 1}]


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("loras")
    return {
        "a": write_lora(folder / "a.gguf", seed=1),
        "b": write_lora(folder / "b.gguf", seed=2),
        "invoked": write_lora(folder / "invoked.gguf", seed=3, invocation=[350, 351]),
    }


def with_adapters(zoo: Zoo, loras: dict[str, Path], **options: Any) -> Llama:
    llm = open_llama(zoo.llama, **options)
    for name, path in loras.items():
        llm.load_lora(name, path)
    return llm


def test_a_call_has_the_adapters_that_it_asks_for(zoo: Zoo, loras: dict[str, Path]) -> None:
    with open_llama(zoo.llama) as plain:
        texts = [text_of(plain, PROMPT)]
    for name in ("a", "b"):
        with open_llama(zoo.llama, lora_path=str(loras[name])) as adapted:
            texts.append(text_of(adapted, PROMPT))
            assert text_of(adapted, PROMPT, lora={}) == texts[0]
    assert len(set(texts)) == 3
    with with_adapters(zoo, loras) as llm:
        for _ in range(2):
            for lora, text in zip((None, {"a": 1.0}, {"b": 1.0}), texts, strict=True):
                answer = complete(llm, PROMPT, lora=lora)
                assert answer["choices"][0]["text"] == text
                assert cached_tokens(answer) == 0
                assert text_of(llm, PROMPT, lora=lora, stream=False) == text
        assert text_of(llm, PROMPT, lora={"a": 0}) == texts[0]


def test_the_scale_counts(zoo: Zoo, loras: dict[str, Path]) -> None:
    with (
        with_adapters(zoo, loras) as llm,
        open_llama(zoo.llama, lora_path=str(loras["a"]), lora_scale=0.25) as scaled,
    ):
        one, other = (
            complete(each, PROMPT, logprobs=1, lora=lora)["choices"][0]["logprobs"]
            for each, lora in ((llm, {"a": 0.25}), (scaled, None))
        )
        assert one == other
        assert one != complete(llm, PROMPT, logprobs=1, lora={"a": 1})["choices"][0]["logprobs"]


def test_calls_with_different_adapters_are_decoded_side_by_side(
    zoo: Zoo, loras: dict[str, Path]
) -> None:
    with with_adapters(zoo, loras) as llm:
        expected = [text_of(llm, PROMPT, max_tokens=40, lora=lora) for lora in SETS]
    with with_adapters(zoo, loras, n_parallel=3) as llm:
        for _ in range(2):
            streams = [
                complete(llm, PROMPT, max_tokens=40, lora=lora, stream=True) for lora in SETS
            ]
            texts = ["" for _ in SETS]

            def read(index: int) -> None:
                texts[index] = "".join(c["choices"][0]["text"] for c in streams[index])  # noqa: B023

            threads = [threading.Thread(target=read, args=(i,)) for i in range(len(SETS))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert texts == expected


@pytest.mark.parametrize("kind", ["chat", "score"])
def test_other_calls_take_adapters_too(zoo: Zoo, loras: dict[str, Path], kind: str) -> None:
    def answer(llm: Llama, **options: Any) -> Any:
        if kind == "score":
            return llm.score(PROMPT, [[300, 301]])[0].logprob
        messages: Any = [{"role": "user", "content": "Hello"}]
        reply: Any = llm.create_chat_completion(messages, max_tokens=12, temperature=0, **options)
        return reply["choices"]

    with (
        open_llama(zoo.llama) as plain,
        open_llama(zoo.llama, lora_path=str(loras["a"])) as adapted,
        with_adapters(zoo, loras) as llm,
    ):
        assert answer(llm) == answer(plain) != answer(adapted)
        if kind == "chat":
            assert answer(llm, lora={"a": 1}) == answer(adapted)
            assert answer(adapted, lora={}) == answer(plain)


def test_an_activated_lora_counts_from_its_invocation_on(zoo: Zoo, loras: dict[str, Path]) -> None:
    model = Model(zoo.llama)
    adapter = LoraAdapter(model, loras["invoked"])
    assert adapter.invocation_tokens == [350, 351]
    params = Context.default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    params.flash_attn_type = raw.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = Context(model, params)
    batch = Batch(len(PROMPT))
    batch.add_sequence(PROMPT[:50], 0, 0)
    context.decode(batch)
    context.set_adapters([(adapter, 1.0)])
    batch = Batch(len(PROMPT))
    batch.add_sequence(PROMPT[50:], 50, 0)
    context.decode(batch)
    logits = context.logits(-1)
    logits -= logits.max()
    expected = np.sort(logits - np.log(np.exp(logits).sum()))[:-4:-1].tolist()

    def top(answer: Any) -> list[float]:
        values = answer["choices"][0]["logprobs"]["top_logprobs"][0].values()
        return sorted(values, reverse=True)[:3]

    options: dict[str, Any] = {"max_tokens": 1, "logprobs": 3}
    with with_adapters(zoo, loras) as llm:
        plain = complete(llm, PROMPT, **options)
        answer = complete(llm, PROMPT, lora={"invoked": 1.0}, **options)
        # The 50 tokens before the invocation are those of the call without: another batch shape.
        assert cached_tokens(answer) == 50
        assert top(answer) == pytest.approx(expected, abs=5e-3)
        assert top(plain) != pytest.approx(expected, abs=5e-2)
        elsewhere = PROMPT[:50]
        assert text_of(llm, elsewhere, lora={"invoked": 1.0}) == text_of(llm, elsewhere)
    with open_llama(zoo.llama, lora_path=str(loras["invoked"])) as llm:
        assert top(complete(llm, PROMPT, **options)) == pytest.approx(expected, abs=1e-5)


def test_caches_and_states_know_the_adapters(zoo: Zoo, loras: dict[str, Path]) -> None:
    with with_adapters(zoo, loras) as llm:
        expected = {name: text_of(llm, PROMPT, lora={name: 1.0}) for name in ("a", "b")}
        llm.set_cache(LlamaRAMCache())
        for _ in range(2):
            for name, text in expected.items():
                assert text_of(llm, PROMPT, lora={name: 1.0}) == text
        answer = complete(llm, PROMPT, lora={"a": 1.0})
        assert answer["choices"][0]["text"] == expected["a"]
        assert cached_tokens(answer) == len(PROMPT) - 1
        state = llm.save_state()
        text_of(llm, PROMPT[::-1])
        llm.load_state(state)
        assert cached_tokens(complete(llm, PROMPT, lora={"a": 1.0})) == len(PROMPT) - 1
        llm.load_state(state)
        assert cached_tokens(complete(llm, PROMPT)) == 0
    with open_llama(zoo.llama) as plain, pytest.raises(StateError, match="adapters"):
        plain.load_state(state)


def test_work_by_hand_has_the_adapter_of_the_model(zoo: Zoo, loras: dict[str, Path]) -> None:
    with open_llama(zoo.llama) as plain, with_adapters(zoo, loras) as llm:
        plain.eval(PROMPT)
        text_of(llm, PROMPT, lora={"a": 1.0})
        llm.reset()
        llm.eval(PROMPT)
        assert llm.logits() == pytest.approx(plain.logits(), abs=1e-4)
        text_of(llm, PROMPT, lora={"a": 1.0})
        tokens = [next(iter(each.generate(PROMPT, temp=0))) for each in (plain, llm)]
        assert tokens[0] == tokens[1]


def test_what_is_wrong_with_adapters_is_said(
    zoo: Zoo, loras: dict[str, Path], tmp_path: Path
) -> None:
    wrong: Any
    with with_adapters(zoo, loras) as llm:
        expected = text_of(llm, PROMPT, lora={"a": 1})
        with pytest.raises(InvalidArgumentError, match=r"no adapter 'c', loaded are 'a', 'b'"):
            complete(llm, PROMPT, lora={"c": 1.0})
        for wrong in ("a", ["a"], {"a": "x"}, {"a": float("nan")}):
            with pytest.raises(InvalidArgumentError):
                complete(llm, PROMPT, lora=wrong)
        with pytest.raises(InvalidArgumentError, match="already"):
            llm.load_lora("a", loras["b"])
        with pytest.raises(InvalidArgumentError, match="name"):
            llm.load_lora("", loras["b"])
        with pytest.raises(ModelLoadError):
            llm.load_lora("wide", write_lora(tmp_path / "wide.gguf", n_embd=512))
        with pytest.raises(ModelLoadError, match="not a LoRA adapter"):
            llm.load_lora("model", zoo.llama)
        with pytest.raises(FileNotFoundError):
            llm.load_lora("gone", tmp_path / "gone.gguf")
        assert text_of(llm, PROMPT, lora={"a": 1}) == expected


def test_an_adapter_that_is_unloaded_ends_its_calls_and_no_others(
    zoo: Zoo, loras: dict[str, Path]
) -> None:
    with with_adapters(zoo, loras, n_parallel=2) as llm:
        expected = text_of(llm, PROMPT, max_tokens=30)
        using = complete(llm, PROMPT, max_tokens=100, lora={"a": 1.0}, stream=True)
        other = complete(llm, PROMPT, max_tokens=30, stream=True)
        next(using)
        parts = [next(other)["choices"][0]["text"]]
        llm.unload_lora("a")
        with pytest.raises(ClosedError):
            list(using)
        parts += [chunk["choices"][0]["text"] for chunk in other]
        assert "".join(parts) == expected
        with pytest.raises(InvalidArgumentError, match="no adapter 'a'"):
            llm.unload_lora("a")
        llm.load_lora("a", loras["b"])
        assert text_of(llm, PROMPT, lora={"a": 1.0}) == text_of(llm, PROMPT, lora={"b": 1.0})
        with pytest.raises(InvalidArgumentError, match="lora_path"):
            open_llama(zoo.llama, lora_path=str(loras["a"])).unload_lora("default")


# Control vectors.


def test_control_vectors_count_until_they_are_removed(zoo: Zoo, tmp_path: Path) -> None:
    other = write_control_vector(tmp_path / "other.gguf", seed=5)
    with open_llama(zoo.llama) as llm:
        plain = complete(llm, PROMPT, logprobs=2)["choices"]
        state = llm.save_state()
        llm.set_control_vector(zoo.control_vector)
        steered = complete(llm, PROMPT, logprobs=2)
        assert steered["choices"] != plain and cached_tokens(steered) == 0
        with pytest.raises(StateError):
            llm.load_state(state)
        llm.set_control_vector({zoo.control_vector: 0.5, other: -1.0})
        both = complete(llm, PROMPT, logprobs=2)["choices"]
        assert both not in (plain, steered["choices"])
        llm.set_control_vector({other: -1.0, zoo.control_vector: 0.5})
        assert complete(llm, PROMPT, logprobs=2)["choices"] == both
        llm.set_control_vector(None)
        assert complete(llm, PROMPT, logprobs=2)["choices"] == plain
        llm.load_state(state)


def test_what_is_wrong_with_control_vectors_is_said(zoo: Zoo, tmp_path: Path) -> None:
    wide = write_control_vector(tmp_path / "wide.gguf", n_embd=512)
    deep = write_control_vector(tmp_path / "deep.gguf", n_layer=9)
    with open_llama(zoo.llama, n_parallel=2) as llm:
        expected = text_of(llm, PROMPT)
        for path in (wide, deep):
            with pytest.raises(InvalidArgumentError, match="does not fit this model"):
                llm.set_control_vector(path)
        with pytest.raises(InvalidArgumentError, match="equally wide"):
            llm.set_control_vector({wide: 1.0, zoo.control_vector: 1.0})
        with pytest.raises(InvalidArgumentError, match="layers 3 to 1"):
            llm.set_control_vector(zoo.control_vector, first_layer=3)
        with pytest.raises(InvalidArgumentError, match="at least one"):
            llm.set_control_vector({})
        with pytest.raises(ModelLoadError, match="no control vector"):
            llm.set_control_vector(zoo.llama)
        with pytest.raises(FileNotFoundError):
            llm.set_control_vector(tmp_path / "gone.gguf")
        stream = complete(llm, PROMPT, stream=True)
        next(stream)
        with pytest.raises(BusyError, match="being generated"):
            llm.set_control_vector(zoo.control_vector)
        stream.close()
        assert text_of(llm, PROMPT) == expected
