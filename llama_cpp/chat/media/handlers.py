"""Handlers for models that see and hear: what differs from family to family is data."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import MediaError, ModelNotFoundError
from ..formats.handlers import RenderingHandler
from ..formats.named import FORMATS
from ..render import TemplateRenderer
from .content import MediaLoader
from .render import MediaLayout, MediaRenderer

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...handles import Model
    from ...handles.media import MediaProjector


class MTMDChatHandler(RenderingHandler):
    """Answers chats with images and sounds, by the model's own template.

    The projector is loaded when it is first needed, and freed with the model or by ``close``.

    Args:
        clip_model_path: The mmproj file of the model.
        verbose: Kept for scripts; ``Llama(verbose=...)`` says what is logged.
        use_gpu: Whether to encode on the GPU, where there is one.
        n_threads: Threads for encoding; None takes the cores this process may use.
        image_min_tokens: For models that take images of any size, how many tokens an image gives at
            least; -1 for the file's.
        image_max_tokens: And at most.
        allow_remote: Whether http and https URLs are fetched, from public addresses only.
        allow_files: Whether paths and file URLs are opened.
        networks: Networks to fetch from besides the public ones, like "10.0.0.0/8".

    Raises:
        ModelNotFoundError: There is no such file.
    """

    CHAT_FORMAT: ClassVar[str | None] = None
    """The template, in Jinja; None takes the model's own."""
    FALLBACK: ClassVar[str] = "chatml"
    """The format of models whose file has no template."""
    STOPS: ClassVar[tuple[str, ...]] = ()
    LAYOUT: ClassVar[MediaLayout] = MediaLayout()

    def __init__(
        self,
        clip_model_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        use_gpu: bool = True,
        *,
        n_threads: int | None = None,
        image_min_tokens: int = -1,
        image_max_tokens: int = -1,
        allow_remote: bool = False,
        allow_files: bool = False,
        networks: Sequence[str] = (),
    ) -> None:
        if clip_model_path is not None and not os.path.exists(clip_model_path):
            raise ModelNotFoundError(f"there is no projector at {os.fspath(clip_model_path)!r}")
        self.clip_model_path = clip_model_path
        self.verbose = verbose
        self._options: Mapping[str, Any] = {
            "use_gpu": use_gpu, "n_threads": n_threads, "image_min_tokens": image_min_tokens,
            "image_max_tokens": image_max_tokens,
        }  # fmt: skip
        self._loader = MediaLoader(allow_remote, allow_files, tuple(networks))
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._projector: MediaProjector | None = None
        self._exit_stack = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        # For copies and pickles, which load the projector themselves.
        own = ("_lock", "_projector", "_exit_stack")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def renderer(self, chats: Any, *, has_tools: bool = False) -> MediaRenderer:
        """Return what renders conversations of a model.

        Args:
            chats: The ``Chats`` of the model.
            has_tools: Whether the conversation has tools.
        """
        templates = chats.templates
        name = chats.chat_format if templates.knows(chats.chat_format or "") else None
        if self.CHAT_FORMAT is not None:
            inner = TemplateRenderer(templates.load(self.CHAT_FORMAT), self.STOPS)
        elif name is None and not templates.has_own:
            inner = templates.renderer(self.FALLBACK, has_tools=has_tools)
        else:
            inner = templates.renderer(name, has_tools=has_tools)
        model = chats.model
        return MediaRenderer(inner, lambda: self._projector_for(model), self._loader, self.LAYOUT)

    def load_image(self, image_url: str | Mapping[str, Any]) -> bytes:
        """Return the file that a URL, or OpenAI's ``image_url``, names.

        Raises:
            MediaError: It cannot be had, or is not allowed.
        """
        url = image_url.get("url") if isinstance(image_url, Mapping) else image_url
        return self._loader.load_url(url)

    @staticmethod
    def get_image_urls(messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """List the URLs of all images in messages."""
        urls: list[str] = []
        for message in messages:
            content = message.get("content")
            for part in content if isinstance(content, list | tuple) else ():
                if isinstance(part, Mapping) and part.get("type") == "image_url":
                    url = part["image_url"]
                    urls.append(url["url"] if isinstance(url, Mapping) else url)
        return urls

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None,
        local_dir: str | os.PathLike[str] | None = None,
        local_dir_use_symlinks: bool | Literal["auto"] = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Download an mmproj file from the Hugging Face Hub.

        Args:
            repo_id: Like "owner/name".
            filename: The file, or a pattern like "*mmproj*f16.gguf".
            local_dir: Where to put it, in place of the cache.
            local_dir_use_symlinks: Kept for scripts; it changes nothing.
            cache_dir: The folder of the cache.
            **kwargs: Further arguments of the handler.

        Raises:
            LlamaError: The huggingface-hub package is not installed.
            ModelNotFoundError: No file, or more than one, fits the name.
        """
        from ...models.hub import download

        path = download(repo_id, filename or "*mmproj*.gguf", [], local_dir, cache_dir)
        return cls(clip_model_path=path, **kwargs)

    def close(self) -> None:
        """Free the projector; it is loaded again when it is needed again."""
        with self._lock:
            self._exit_stack.close()
            self._projector = None

    def _projector_for(self, model: Model) -> MediaProjector:
        from ...handles.media import MediaProjector

        with self._lock:
            projector = self._projector
            if projector is not None and not projector.closed and projector.model is model:
                return projector
            if self.clip_model_path is None:
                raise MediaError(
                    f"this {type(self).__name__} has no projector: create it with clip_model_path, "
                    "the mmproj file of the model"
                )
            self._exit_stack.close()
            projector = MediaProjector(model, self.clip_model_path, **self._options)
            self._exit_stack.callback(projector.close)
            self._projector = projector
            return projector


class Llava15ChatHandler(MTMDChatHandler):
    """LLaVA 1.5."""

    CHAT_FORMAT: ClassVar[str | None] = FORMATS["vicuna"].template
    STOPS = FORMATS["vicuna"].stops
    LAYOUT = MediaLayout(media_first=True, after_media="\n")

    @staticmethod
    def split_text_on_image_urls(
        text: str, image_urls: Sequence[str]
    ) -> list[tuple[Literal["text", "image_url"], str]]:
        """Split a text at the URLs in it.

        Args:
            text: The text.
            image_urls: The URLs, in the order in which they come.

        Returns:
            Pairs of a kind and a text; URLs that are not there are left out.
        """
        pieces: list[tuple[Literal["text", "image_url"], str]] = []
        rest = text
        for url in image_urls:
            before, found, after = rest.partition(url)
            if found:
                pieces += [("text", before)] if before else []
                pieces.append(("image_url", url))
                rest = after
        return [*pieces, ("text", rest)] if rest else pieces


class Llava16ChatHandler(Llava15ChatHandler):
    """LLaVA 1.6 over Vicuna."""


class Llama3VisionAlphaChatHandler(Llava15ChatHandler):
    """Llama 3 Vision Alpha."""

    CHAT_FORMAT = FORMATS["llama-3"].template
    STOPS = FORMATS["llama-3"].stops


Llama3VisionAlpha = Llama3VisionAlphaChatHandler


class MoondreamChatHandler(Llava15ChatHandler):
    """Moondream 2."""

    CHAT_FORMAT = (
        "{%- for message in messages -%}"
        "{%- if message.role == 'assistant' -%}{{- 'Answer: ' -}}{%- endif -%}"
        "{{- message.content + '\\n\\n' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- 'Answer:' -}}{%- endif -%}"
    )
    STOPS = ("\n\nQuestion:",)
    LAYOUT = MediaLayout(media_first=True, after_media="\n\n", before_text="Question: ")


class NanoLlavaChatHandler(Llava15ChatHandler):
    """NanoLLaVA."""

    CHAT_FORMAT = (
        "{%- if messages[0].role != 'system' -%}"
        "{{- '<|im_start|>system\\nAnswer the questions.<|im_end|>' -}}"
        "{%- endif -%}"
        "{%- for message in messages -%}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    )
    STOPS = ("<|im_end|>",)


class ObsidianChatHandler(Llava15ChatHandler):
    """Obsidian."""

    CHAT_FORMAT = (
        "{%- for message in messages -%}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '\\n###\\n' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    )
    STOPS = ("###",)


class MiniCPMv26ChatHandler(Llava15ChatHandler):
    """MiniCPM-V 2.6, by the model's own template."""

    CHAT_FORMAT = None
    STOPS = ()
    LAYOUT = MediaLayout(after_media="\n")


class Qwen25VLChatHandler(Llava15ChatHandler):
    """Qwen 2.5 VL, by the model's own template."""

    CHAT_FORMAT = None
    FALLBACK = "qwen"
    STOPS = ()
    LAYOUT = MediaLayout()

    def __call__(self, **kwargs: Any) -> Any:  # type: ignore[override]  # as in llama-cpp-python
        """Answer; see ``MTMDChatHandler``."""
        return super().__call__(**kwargs)


class Gemma4ChatHandler(MTMDChatHandler):
    """Gemma 4, by the model's own template."""

    FALLBACK = "gemma"


class Gemma3ChatHandler(MTMDChatHandler):
    """Gemma 3, by the model's own template."""

    FALLBACK = "gemma"


class Qwen3VLChatHandler(MTMDChatHandler):
    """Qwen 3 VL, by the model's own template."""

    FALLBACK = "qwen"


class Qwen35ChatHandler(MTMDChatHandler):
    """Qwen 3.5, by the model's own template."""

    FALLBACK = "qwen"


class PaddleOCRChatHandler(MTMDChatHandler):
    """PaddleOCR VL, by the model's own template."""


class GLM41VChatHandler(MTMDChatHandler):
    """GLM 4.1V, by the model's own template."""


class GLM46VChatHandler(MTMDChatHandler):
    """GLM 4.6V, by the model's own template."""


class LFM2VLChatHandler(MTMDChatHandler):
    """LFM2 VL, by the model's own template."""


class GraniteDoclingChatHandler(MTMDChatHandler):
    """Granite Docling, by the model's own template."""
