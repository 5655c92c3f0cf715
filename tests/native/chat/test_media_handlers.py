"""The handlers of chats with images and sounds."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_kit import open_llama
from media_bytes import noise, png, uri
from media_chat_kit import QUESTION, answer, ask, handler_of, picture, saying, sound
from zoo import Zoo, write_image_mmproj

from llama_cpp.chat.media.handlers import (
    Gemma4ChatHandler,
    Llama3VisionAlpha,
    Llama3VisionAlphaChatHandler,
    Llava15ChatHandler,
    Llava16ChatHandler,
    MiniCPMv26ChatHandler,
    MoondreamChatHandler,
    MTMDChatHandler,
    NanoLlavaChatHandler,
    ObsidianChatHandler,
    Qwen25VLChatHandler,
)
from llama_cpp.chat.media.render import MediaLayout
from llama_cpp.errors import (
    ClosedError,
    InvalidArgumentError,
    LlamaError,
    MediaError,
    ModelLoadError,
    ModelNotFoundError,
)
from llama_cpp.handles import Handle
from llama_cpp.handles.media import MediaProjector
from llama_cpp.llama import Llama


def is_closed(handle: Handle) -> bool:
    return handle.closed


def projector_of(handler: MTMDChatHandler) -> MediaProjector | None:
    return handler._projector


@pytest.fixture(scope="module")
def shared(zoo: Zoo) -> Iterator[Llama]:
    """It sees."""
    with open_llama(zoo.llama, chat_handler=handler_of(zoo.image_mmproj)) as model:
        yield model


def test_closing_frees_the_projector(zoo: Zoo) -> None:
    handler = handler_of(zoo.image_mmproj)
    with open_llama(zoo.llama, chat_handler=handler) as llm:
        assert projector_of(handler) is None
        expected = ask(llm, QUESTION, picture(1))
        closings: list[Callable[[], None]] = [handler.close, handler._exit_stack.close]
        for close in closings:
            projector = projector_of(handler)
            assert projector is not None
            assert not is_closed(projector)
            close()
            close()
            assert is_closed(projector)
            llm.reset()
            assert ask(llm, QUESTION, picture(1)) == expected
        projector = projector_of(handler)
    assert projector is not None
    assert is_closed(projector)
    with pytest.raises(ClosedError):
        ask(llm, QUESTION, picture(1))
    with open_llama(zoo.llama, chat_handler=handler) as other:
        assert ask(other, QUESTION, picture(1)) == expected


def test_a_projector_that_is_closed_meanwhile_fails_one_request(zoo: Zoo) -> None:
    handler = handler_of(zoo.image_mmproj)
    with open_llama(zoo.llama, chat_handler=handler) as llm:
        expected = ask(llm, QUESTION, picture(1))
        llm.reset()
        assert projector_of(handler) is not None
        stream = answer(llm, saying(QUESTION, picture(1)), stream=True)
        handler.close()
        with pytest.raises(ClosedError, match="Media"):
            list(stream)
        assert ask(llm, QUESTION, picture(1)) == expected


def test_a_handler_from_the_hub(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def download(*arguments: Any) -> str:
        asked.append(arguments)
        return str(zoo.image_mmproj)

    monkeypatch.setattr("llama_cpp.models.hub.download", download)
    handler = Llava15ChatHandler.from_pretrained("owner/name", "*mmproj*", "here", verbose=False)
    assert type(handler) is Llava15ChatHandler
    assert handler.clip_model_path == str(zoo.image_mmproj)
    MTMDChatHandler.from_pretrained("owner/name", None, cache_dir="there")
    assert asked == [
        ("owner/name", "*mmproj*", [], "here", None),
        ("owner/name", "*mmproj*.gguf", [], None, "there"),
    ]


def test_a_handler_can_be_copied(zoo: Zoo, llm: Llama) -> None:
    handler = pickle.loads(pickle.dumps(handler_of(zoo.image_mmproj)))
    with open_llama(zoo.llama, chat_handler=handler) as other:
        assert ask(other, QUESTION, picture(1)) == ask(llm, QUESTION, picture(1))


def test_a_handler_without_a_projector_reads_texts(zoo: Zoo, llm: Llama) -> None:
    for handler in (
        MTMDChatHandler(None),
        Llava15ChatHandler(clip_model_path=None),
        MTMDChatHandler(),
    ):
        with open_llama(zoo.llama, chat_handler=handler) as blind:
            assert ask(blind, QUESTION)
            with pytest.raises(MediaError, match="create it with clip_model_path"):
                ask(blind, QUESTION, picture(1))
        handler.close()


def test_projectors_that_do_not_fit_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        MTMDChatHandler(str(tmp_path / "none.gguf"))
    narrow = write_image_mmproj(tmp_path / "narrow.gguf", n_embd=128)
    for path, what in ((narrow, "n_embd = 128"), (zoo.llama, "mmproj file")):
        with open_llama(zoo.llama, chat_handler=handler_of(path)) as llm:
            with pytest.raises(ModelLoadError, match=what):
                ask(llm, QUESTION, picture(1))
            assert ask(llm, QUESTION)


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            "can be read here",
        ),
        ({"type": "image_url", "image_url": "http://127.0.0.1/a.png"}, "allow_remote"),
        ({"type": "image_url", "image_url": "/etc/hostname"}, "allow_files"),
        ({"type": "image_url"}, "not None"),
        (sound(440), "takes images only"),
        ({"type": "video_url", "video_url": "x"}, "must be of type"),
        ({"type": "text"}, "must be of type"),
        ({"type": "media_marker", "text": "<__media__>"}, "must be of type"),
        ({}, "must be of type"),
        ("text", "must be of type"),
    ],
)
def test_parts_that_cannot_be_say_where_they_are(part: Any, what: str, llm: Llama) -> None:
    content = [{"type": "text", "text": QUESTION}, part]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content},
    ]
    with pytest.raises(InvalidArgumentError, match=what) as caught:
        answer(llm, messages)
    assert "messages[1].content[1]" in str(caught.value)


def test_files_and_remote_files_where_they_are_allowed(
    zoo: Zoo, llm: Llama, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(noise(1)))
    handler = handler_of(zoo.image_mmproj, allow_files=True, allow_remote=True)
    named = {"type": "image_url", "image_url": {"url": str(path)}}
    with open_llama(zoo.llama, chat_handler=handler) as reading:
        assert ask(reading, QUESTION, named) == ask(llm, QUESTION, picture(1))
        with pytest.raises(MediaError, match="not public"):
            ask(reading, QUESTION, {"type": "image_url", "image_url": "http://localhost/a.png"})
    assert handler.load_image(str(path)) == png(noise(1))
    assert handler.load_image({"url": uri(b"x")}) == b"x"


def test_urls_are_listed_and_split() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url", "image_url": "a"}, {"type": "text"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "b"}}]},
    ]
    assert MTMDChatHandler.get_image_urls(messages) == ["a", "b"]
    split = Llava15ChatHandler.split_text_on_image_urls
    assert split("1a2b", ["a", "b"]) == [
        ("text", "1"), ("image_url", "a"), ("text", "2"), ("image_url", "b"),
    ]  # fmt: skip
    assert split("no", ["a"]) == [("text", "no")]
    assert split("", []) == []


ONE_TURN = {
    MTMDChatHandler: "<|im_start|>user\nwhat[]<|im_end|>\n<|im_start|>assistant\n",
    Gemma4ChatHandler: "<|im_start|>user\nwhat[]<|im_end|>\n<|im_start|>assistant\n",
    Qwen25VLChatHandler: "<|im_start|>user\nwhat[]<|im_end|>\n<|im_start|>assistant\n",
    MiniCPMv26ChatHandler: "<|im_start|>user\nwhat[]\n<|im_end|>\n<|im_start|>assistant\n",
    Llava15ChatHandler: "'s questions. USER: []\nwhat ASSISTANT:",
    Llava16ChatHandler: "'s questions. USER: []\nwhat ASSISTANT:",
    MoondreamChatHandler: "[]\n\nQuestion: what\n\nAnswer:",
    NanoLlavaChatHandler: "<|im_start|>system\nAnswer the questions.<|im_end|>"
    "<|im_start|>user\n[]\nwhat<|im_end|><|im_start|>assistant\n",
    ObsidianChatHandler: "<|im_start|>user\n[]\nwhat\n###\n<|im_start|>assistant\n",
    Llama3VisionAlphaChatHandler: "<|start_header_id|>user<|end_header_id|>\n\n[]\nwhat<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
}


@pytest.mark.parametrize("family", ONE_TURN, ids=lambda family: family.__name__)
def test_families_have_their_own_prompts(
    family: type[MTMDChatHandler], zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = family(str(zoo.image_mmproj), verbose=False)
    prompts: list[str] = []
    with open_llama(zoo.llama, chat_handler=handler) as llm:
        projector = handler._projector_for(llm._model.handle)
        tokenize = projector.tokenize

        def listen(parts: Sequence[Any]) -> Any:
            prompts.append("".join(part if isinstance(part, str) else "[]" for part in parts))
            return tokenize(parts)

        monkeypatch.setattr(projector, "tokenize", listen)
        texts = [ask(llm, "what", picture(seed)) for seed in (1, 2)]
        assert texts[0] != texts[1]
        assert prompts[0].endswith(ONE_TURN[family])
        reply = {"role": "assistant", "content": "that"}
        answer(llm, [*saying("what", picture(1)), reply, *saying("why")])
        assert all(said in prompts[-1] for said in ("what", "that", "why"))
        assert prompts[-1].count("[]") == 1
        direct = handler(
            llama=llm, messages=saying("what", picture(1)), max_tokens=3, temperature=0
        )
        assert direct["usage"]["completion_tokens"] <= 3


def test_names_of_handlers() -> None:
    assert Llama3VisionAlpha is Llama3VisionAlphaChatHandler
    assert issubclass(Gemma4ChatHandler, MTMDChatHandler)
    families = set(ONE_TURN) - {MTMDChatHandler, Gemma4ChatHandler}
    assert all(issubclass(family, Llava15ChatHandler) for family in families)


def test_templates_that_lose_or_end_with_images_are_refused(zoo: Zoo) -> None:
    class Losing(MTMDChatHandler):
        CHAT_FORMAT = "{{ 'nothing' }}"

    class Doubling(MTMDChatHandler):
        CHAT_FORMAT = "{{ messages[0].content + messages[0].content }}"

    class Ending(MTMDChatHandler):
        CHAT_FORMAT = "{{ messages[0].content }}"
        LAYOUT = MediaLayout()

    for family, what in ((Losing, "places for"), (Doubling, "places for"), (Ending, "must go on")):
        handler = family(str(zoo.image_mmproj), verbose=False)
        llm = open_llama(zoo.llama, chat_handler=handler)
        with llm, pytest.raises(LlamaError, match=what):
            ask(llm, QUESTION, picture(1))
