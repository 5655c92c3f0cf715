"""Questions whose answers are objects: what ``Llama.parse`` and ``Llama.choose`` ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..engine.media import MediaPrompt
from ..errors import InvalidArgumentError, ReplyValidationError
from ..generation.choosing import Choice
from ..generation.measures import Measurement
from ..generation.scoring import Measures
from ..structured.shape import Shape, TypeOrSchema
from .chats import Chats


def is_conversation(prompt: Any) -> bool:
    """Whether a prompt is a list of messages, and neither a text nor token ids."""
    is_list = isinstance(prompt, Sequence) and not isinstance(prompt, str)
    return is_list and len(prompt) > 0 and isinstance(prompt[0], Mapping)


class ParseCall:
    """A call of ``Llama.parse``, as a call of another method.

    Args:
        prompt: A prompt, or messages.
        form: What the answer has to be.
        options: Those of ``create_completion`` or ``create_chat_completion``.

    Raises:
        InvalidArgumentError: There is no JSON schema for the type, or the answer is to be streamed.
    """

    def __init__(self, prompt: Any, form: TypeOrSchema, options: Mapping[str, Any]) -> None:
        if options.get("stream"):
            raise InvalidArgumentError(
                "parse waits for the whole object: for parts of it use stream=True of "
                "create_completion or create_chat_completion, and partial() of what it returns"
            )
        if options.get("n") not in (None, 1):
            raise InvalidArgumentError(f"parse makes one object, not n={options['n']}")
        said = [name for name in ("response_format", "schema") if options.get(name) is not None]
        if said:
            raise InvalidArgumentError(f"parse has the type already: leave {said[0]} out")
        self._shape = shape = Shape.of(form)
        self._is_chat = is_conversation(prompt)
        if self._is_chat:
            self.method = "create_chat_completion"
            self.arguments = {**options, "messages": prompt, "response_format": shape}
        else:
            self.method = "create_completion"
            # A limit for texts would only cut the object off.
            self.arguments = {"max_tokens": None, **options, "prompt": prompt, "schema": shape}

    def parsed(self, answer: Any) -> Any:
        """Return the object.

        Args:
            answer: What the other method returned.

        Raises:
            ReplyValidationError: The model called a tool instead.
        """
        choice = answer["choices"][0]
        if not self._is_chat:
            return choice["parsed"]
        message = choice["message"]
        if message.get("tool_calls") or message.get("function_call"):
            raise ReplyValidationError(
                f"the reply is no {self._shape.name}: it calls a tool",
                reason="it calls a tool",
            )
        return message["parsed"]


def choosing(
    chats: Chats, measures: Measures, prompt: Any, options: Sequence[str]
) -> Measurement[Choice]:
    """Make a call of ``Llama.choose``, which begins when its result is asked for."""
    if not is_conversation(prompt):
        return measures.choosing(prompt, options)
    # The options are answers, so that nothing may have to come before them.
    tokens = chats.job(prompt, chats.params(enable_thinking=False)).prompt
    if isinstance(tokens, MediaPrompt):
        raise InvalidArgumentError("choose reads texts only, and there are images or sounds here")
    return measures.choosing(tokens, options, is_reply=True)
