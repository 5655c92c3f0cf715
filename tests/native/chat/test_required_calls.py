"""What the grammar of a demanded call admits before the call, for every template of the engine."""

from __future__ import annotations

import pytest
from chat_kit import OF_THE_ENGINE, QUESTION, WEATHER, source, templates

from llama_cpp.chat.conversation import Conversation, LoadedTemplate
from llama_cpp.chat.formats.formatter import ChatFormatterResponse, FormatterRenderer
from llama_cpp.chat.messages import ReplyForm
from llama_cpp.chat.render import Renderer, TemplateRenderer
from llama_cpp.constraints.grammar_sampler import grammar_sampler
from llama_cpp.constraints.spelling import spelled
from llama_cpp.errors import GrammarError
from llama_cpp.generation.params import GenerationParams
from llama_cpp.handles import Model
from llama_cpp.text import ThoughtFinder

ALL = sorted(path.stem for path in OF_THE_ENGINE.glob("*.jinja"))
FORM = ReplyForm(tools=[WEATHER], tool_choice="required", parallel=False)


def knows_thoughts(name: str) -> bool:
    with templates(name) as template:
        return bool(template.apply(QUESTION)["supports_thinking"])


def admits(renderer: Renderer, model: Model, text: str) -> bool:
    """Whether a reply may begin with a text when a call is demanded."""
    return allows(rendered(renderer, model), model, text)


def rendered(renderer: Renderer, model: Model) -> Conversation:
    # One template thinks at a named effort only.
    options = {
        "enable_thinking": True, "reasoning_format": "auto",
        "chat_template_kwargs": {"reasoning_effort": "high"},
    }  # fmt: skip
    return renderer.render(model.vocab, QUESTION, FORM, options, None)


def allows(talk: Conversation, model: Model, text: str) -> bool:
    asked = talk.options(GenerationParams())
    assert isinstance(asked.grammar, str)
    grammar = grammar_sampler(model, asked.grammar, asked.grammar_prefix)
    try:
        for token in spelled(model.vocab, text):
            grammar.accept(token)
    except GrammarError:
        return False
    finally:
        grammar.close()
    return True


@pytest.mark.parametrize("name", [name for name in ALL if not knows_thoughts(name)])
def test_no_thought_comes_before_a_call_where_the_template_has_none(
    name: str, model: Model
) -> None:
    renderer = TemplateRenderer(LoadedTemplate(source(name), "<s>", "</s>"))
    assert not admits(renderer, model, "<think>")


@pytest.mark.parametrize("name", ["Qwen-Qwen3-0.6B", "HuggingFaceTB-SmolLM3-3B", "GLM-4.6"])
def test_a_thought_may_come_before_a_call_where_the_template_has_them(
    name: str, model: Model
) -> None:
    renderer = TemplateRenderer(LoadedTemplate(source(name), "<s>", "</s>"))
    assert admits(renderer, model, "<think>")


def test_a_formatter_without_a_template_has_no_thoughts(model: Model) -> None:
    renderer = FormatterRenderer(lambda **_: ChatFormatterResponse(prompt="?"))
    assert not admits(renderer, model, "<think>")
    assert admits(renderer, model, "<tool_call>")


# The engine knows no tags of these, or its parser has no place for thoughts when there are tools.
UNBOUNDED = {"LFM2-8B-A1B", "LFM2.5-Instruct", "muse-glimmer"}


@pytest.mark.parametrize("name", sorted({*filter(knows_thoughts, ALL)} - UNBOUNDED))
def test_a_thought_may_be_ended_by_a_message_and_the_first_end(name: str, model: Model) -> None:
    """What a budget has to do under the grammar of a demanded call."""
    # The tiny vocabulary has no such character.
    template = LoadedTemplate(source(name).replace("\u2581", " "), "<s>", "</s>")
    talk = rendered(TemplateRenderer(template), model)
    tags = talk.options(GenerationParams()).thoughts
    assert tags is not None
    start = "" if ThoughtFinder(tags).is_open else tags.start
    assert allows(talk, model, f"{start}Hm. Enough.{tags.ends[0]}")
