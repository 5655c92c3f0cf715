"""How often the model is right: greedy replies to held-out cases, through the handles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llama_cpp.handles import Batch, Context, Model
from tools.tinychat import corpus
from tools.tinychat.chat import prompt
from tools.tinychat.corpus.example import Chat, Example, Text
from tools.tinychat.words import PLANETS

SEED = 7
PLANETS_PROMPT = "Q: Name the planets in the solar system? A: "
MAX_TOKENS = 200

_CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
_THOUGHT = re.compile(r"(?:<think>\n)?(.+?)\n</think>\n\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and whether it ended by itself."""

    text: str
    ended: bool


@dataclass(frozen=True)
class Score:
    """How many of an ability's cases were right, with those that were not."""

    right: int
    cases: int
    wrong: tuple[tuple[Example, Reply], ...]

    @property
    def share(self) -> float:
        return self.right / self.cases


class Greedy:
    """The likeliest continuation of a prompt, one token after the other."""

    def __init__(self, model: Model, n_ctx: int = 2048) -> None:
        params = Context.default_params()
        params.n_ctx = params.n_batch = n_ctx
        # A network this small gains nothing from a second thread.
        params.n_threads = params.n_threads_batch = 1
        self._model = model
        self._context = Context(model, params)
        self._n_ctx = n_ctx

    def reply(self, text: str, max_tokens: int = MAX_TOKENS) -> Reply:
        vocab, context = self._model.vocab, self._context
        tokens = vocab.tokenize(text, parse_special=True)
        batch = Batch(len(tokens))
        batch.add_sequence(tokens)
        context.memory.clear()
        written = b""
        for position in range(len(tokens), min(len(tokens) + max_tokens, self._n_ctx)):
            context.decode(batch)
            token = int(context.logits().argmax())
            if vocab.is_eog(token):
                return Reply(written.decode(errors="replace"), ended=True)
            written += vocab.token_to_piece(token)
            batch.clear()
            batch.add(token, position, output=True)
        return Reply(written.decode(errors="replace"), ended=False)


def _answers(example: Example, reply: Reply) -> bool:
    found = re.search(rf"(?<!\w){re.escape(example.key)}(?!\w)", reply.text)
    return reply.ended and "<think>" not in reply.text and found is not None


def _calls(example: Example, reply: Reply) -> bool:
    found = _CALL.findall(reply.text)
    return reply.ended and len(found) == 1 and _json(found[0]) == json.loads(example.key)


def _answers_itself(example: Example, reply: Reply) -> bool:
    return "<tool_call>" not in reply.text and _answers(example, reply)


def _is_json(example: Example, reply: Reply) -> bool:
    return reply.ended and _json(reply.text) == json.loads(example.key)


def _is_exact(example: Example, reply: Reply) -> bool:
    return reply.ended and reply.text == example.key


def _thinks(example: Example, reply: Reply) -> bool:
    if not (isinstance(example, Chat) and example.thinking):
        return "think>" not in reply.text and _answers(example, reply)
    found = _THOUGHT.fullmatch(reply.text)
    return found is not None and _answers(example, Reply(found[2], reply.ended))


def _ends(example: Example, reply: Reply) -> bool:
    sentences = re.findall(r"[^.]+\.", reply.text)
    return reply.ended and len(sentences) == 5 and example.key in reply.text


def _lists_planets(_: Example, reply: Reply) -> bool:
    line, newline, rest = reply.text.partition("\n")
    return re.findall(r"[A-Z]\w+", line) == list(PLANETS) and newline == "\n" and not rest.strip()


def _thinking_or_not(count: int) -> list[Example]:
    on = corpus.held_out("thinking", count // 2, SEED)
    return on + corpus.held_out("facts", count - len(on), SEED + 1)


Judge = Callable[[Example, Reply], bool]
Cases = Callable[[int], list[Example]]


def _held_out(name: str) -> Cases:
    return lambda count: corpus.held_out(name, count, SEED)


TESTS: Mapping[str, tuple[float, Cases, Judge]] = {
    "planets": (1.0, lambda _: [Text(PLANETS_PROMPT, "")], _lists_planets),
    "chat": (0.95, _held_out("facts"), _answers),
    "memory": (0.85, _held_out("memory"), _answers),
    "tool call": (0.85, _held_out("tool_call"), _calls),
    "no tool needed": (0.85, _held_out("no_tool"), _answers_itself),
    "tool result": (0.85, _held_out("tool_result"), _answers),
    "extraction": (0.85, _held_out("extraction"), _is_json),
    "fill in the middle": (0.85, _held_out("fill_in"), _is_exact),
    "thinking": (0.95, _thinking_or_not, _thinks),
    "story": (0.95, _held_out("story"), _ends),
}
"""The bar of each ability, its cases and who judges a reply."""


def evaluate(path: Path, count: int, names: Iterable[str] = TESTS) -> dict[str, Score]:
    """Test a model file on ``count`` held-out cases of each ability."""
    scores = {}
    with Model(path) as model:
        greedy = Greedy(model)
        for name in names:
            _, cases, judge = TESTS[name]
            replies = [(example, greedy.reply(prompt(example))) for example in cases(count)]
            wrong = tuple((case, reply) for case, reply in replies if not judge(case, reply))
            scores[name] = Score(len(replies) - len(wrong), len(replies), wrong)
    return scores


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
