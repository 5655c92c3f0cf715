"""Named chat formats, formatters and handlers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from chat_kit import calls_of, user
from llama_kit import open_llama
from zoo import Zoo, write_llama

from llama_cpp import llama_chat_format as formats
from llama_cpp.chat.formats.functionary import FunctionaryRenderer
from llama_cpp.chat.formats.named import FORMATS
from llama_cpp.chat.messages import ReplyForm, checked_messages
from llama_cpp.errors import ChatTemplateError, GrammarError, InvalidArgumentError
from llama_cpp.llama import Llama
from llama_cpp.llama_chat_format import ChatFormatterResponse, Jinja2ChatFormatter

TALK = [
    {"role": "system", "content": "S."},
    user("A?"),
    {"role": "assistant", "content": "B."},
    user("C?"),
]
PROMPTS = {
    "llama-2": "<s>[INST] <<SYS>>\nS.\n<</SYS>>\n\nA? [/INST] B. </s><s>[INST] C? [/INST]",
    "llama-3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nA?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nB.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nC?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "alpaca": (
        "S.\n\n### Instruction:\nA?\n\n### Response:\nB.</s>\n\n### Instruction:\nC?\n\n"
        "### Response:\n"
    ),
    "qwen": (
        "<|im_start|>system\nS.<|im_end|>\n<|im_start|>user\nA?<|im_end|>\n"
        "<|im_start|>assistant\nB.<|im_end|>\n<|im_start|>user\nC?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "vicuna": "S. USER: A? ASSISTANT: B.</s>USER: C? ASSISTANT:",
    "oasst_llama": (
        "[INST] <<SYS>>\nS.\n<</SYS>>\n\n<|prompter|>A?</s><|assistant|>B.</s>"
        "<|prompter|>C?</s><|assistant|>"
    ),
    "baichuan": "S.<reserved_102>A?<reserved_103>B.<reserved_102>C?<reserved_103>",
    "baichuan-2": "S.<reserved_106>A?<reserved_107>B.<reserved_106>C?<reserved_107>",
    "openbuddy": "S.\n\nUser: A?\nAssistant: B.\nUser: C?\nAssistant:",
    "redpajama-incite": "S.\n<human>: A?\n<bot>: B.\n<human>: C?\n<bot>:",
    "snoozy": (
        "### Instruction:\nS.\n### Prompt:\nA?\n### Response:\nB.\n### Prompt:\nC?\n### Response:\n"
    ),
    "phind": (
        "### System Prompt\nS.\n\n### User Message\nA?\n\n### Assistant\nB.\n\n"
        "### User Message\nC?\n\n### Assistant\n"
    ),
    "intel": "### System:\nS.\n### User:\nA?\n### Assistant:\nB.\n### User:\nC?\n### Assistant:\n",
    "open-orca": (
        "S.<|end_of_turn|>\nUser: A?<|end_of_turn|>\nAssistant: B.<|end_of_turn|>\n"
        "User: C?<|end_of_turn|>\nAssistant:"
    ),
    "mistrallite": (
        "<|system|>S.</s><|prompter|>A?</s><|assistant|>B.</s><|prompter|>C?</s><|assistant|>"
    ),
    "zephyr": (
        "<|system|>\nS.</s>\n<|user|>\nA?</s>\n<|assistant|>\nB.</s>\n<|user|>\nC?</s>\n"
        "<|assistant|>\n"
    ),
    "pygmalion": "<|system|>S.<|user|>A?<|model|>B.<|user|>C?<|model|>",
    "chatml": (
        "<|im_start|>system\nS.<|im_end|>\n<|im_start|>user\nA?<|im_end|>\n"
        "<|im_start|>assistant\nB.<|im_end|>\n<|im_start|>user\nC?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "mistral-instruct": "<s>[INST] S.\n\nA? [/INST]B.</s> [INST] C? [/INST]",
    "chatglm3": "<|system|>\n S.<|user|>\n A?<|assistant|>\n B.<|user|>\n C?<|assistant|>",
    "openchat": (
        "S.<|end_of_turn|>GPT4 Correct User: A?<|end_of_turn|>"
        "GPT4 Correct Assistant: B.<|end_of_turn|>GPT4 Correct User: C?<|end_of_turn|>"
        "GPT4 Correct Assistant:"
    ),
    "saiga": "<s>system\nS.</s>\n<s>user\nA?</s>\n<s>bot\nB.</s>\n<s>user\nC?</s>\n<s>bot\n",
    "gemma": (
        "<bos><start_of_turn>user\nS.\n\nA?<end_of_turn>\n<start_of_turn>model\nB.<end_of_turn>\n"
        "<start_of_turn>user\nC?<end_of_turn>\n<start_of_turn>model\n"
    ),
}
FUNCTIONS = {
    "llama-2": "llama2", "llama-3": "llama3", "baichuan-2": "baichuan2",
    "redpajama-incite": "redpajama_incite", "open-orca": "open_orca",
    "mistral-instruct": "mistral_instruct",
}  # fmt: skip
FINITE = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Oslo", "Rome"], "description": "Where"},
                "days": {"type": "integer", "enum": [1, 2]},
            },
            "required": ["city"],
        },
    },
}
CALLING = ("functionary", "functionary-v1", "functionary-v2", "chatml-function-calling")


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=1024) as model:
        yield model


def chat(llm: Llama, messages: Any = TALK, **options: Any) -> Any:
    defaults = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}
    return llm.create_chat_completion(messages, **{**defaults, **options})


def test_every_name_is_there() -> None:
    assert set(PROMPTS) | {"chatml-function-calling"} == set(FORMATS)
    assert len(PROMPTS) + len(CALLING) >= 24


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_is_what_the_model_was_trained_on(name: str, llm: Llama) -> None:
    function = "format" if name == "vicuna" else f"format_{FUNCTIONS.get(name, name)}"
    response = getattr(formats, function)(messages=TALK)
    assert response.prompt == PROMPTS[name]
    assert response.stop == list(FORMATS[name].stops)
    # The engine renders it likewise.
    llm.chat_format = name
    expected = llm.tokenize(PROMPTS[name].removeprefix("<s>").encode(), special=True)
    assert chat(llm)["usage"]["prompt_tokens"] == len(expected)


@pytest.mark.parametrize("name", PROMPTS)
def test_a_lone_question_needs_no_system_message(name: str) -> None:
    function = "format" if name == "vicuna" else f"format_{FUNCTIONS.get(name, name)}"
    prompt = getattr(formats, function)(messages=[user("A?")]).prompt
    assert prompt.count("A?") == 1
    assert "None" not in prompt


@pytest.mark.parametrize("name", PROMPTS)
def test_its_stops_end_a_reply(name: str, llm: Llama) -> None:
    llm.chat_format = name
    for stop in FORMATS[name].stops:
        rules = f'root ::= "word" {json.dumps(stop)} "more"'
        answer = chat(llm, grammar=rules, max_tokens=100, ignore_eos=False)
        assert answer["choices"][0]["message"]["content"] == "word"


@pytest.mark.parametrize("choice", ["auto", "required", "named"])
@pytest.mark.parametrize("name", CALLING)
def test_functions_are_called(name: str, choice: str, zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=2048, chat_format=name) as llm:
        wanted: Any = {"type": "function", "function": {"name": "get_weather"}}
        options = {"tools": [FINITE, {"type": "function", "function": {"name": "other"}}],
                   "tool_choice": wanted if choice == "named" else choice,
                   "max_tokens": 300, "temperature": 1.5, "ignore_eos": False,
                   "enable_thinking": False}  # fmt: skip
        if choice == "required":
            options["tools"] = [FINITE]
        for seed in range(4):
            whole = chat(llm, seed=seed, **options)["choices"][0]
            deltas = [
                chunk["choices"][0]["delta"]
                for chunk in chat(llm, seed=seed, stream=True, **options)
            ]
            content = "".join(delta.get("content") or "" for delta in deltas)
            parts = [part for delta in deltas for part in delta.get("tool_calls", [])]
            arguments = "".join(
                part["function"]["arguments"] for part in parts if "function" in part
            )
            assert content == (whole["message"]["content"] or "")
            if choice == "auto" and "tool_calls" not in whole["message"]:
                assert not parts
                continue
            if choice != "auto":
                assert whole["finish_reason"] == "tool_calls"
                assert whole["message"]["content"] is None
                assert calls_of(whole["message"])[0][0] == "get_weather"
                assert calls_of(whole["message"])[0][1]["city"] in ("Oslo", "Rome")
            assert arguments == whole["message"]["tool_calls"][0]["function"]["arguments"]


def test_functionary_writes_and_reads_its_own_past(zoo: Zoo) -> None:
    call = {"id": "1", "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}  # fmt: skip
    talk = [
        {"role": "system", "content": "S."}, user("A?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "sun"},
    ]  # fmt: skip
    with open_llama(zoo.llama, n_ctx=2048, chat_format="functionary-v2") as llm:
        form = ReplyForm(tools=[FINITE], tool_choice="auto")
        vocab = llm._model.vocab_handle
        rendered = FunctionaryRenderer("functionary-v2").render(
            vocab, checked_messages(talk), form, {}, None
        )
        prompt = llm.detokenize(list(rendered.prompt), special=True).decode()
    assert "// Get the weather\ntype get_weather = (_: {\n// Where\ncity: " in prompt
    assert "days?: 1 | 2,\n}) => any;" in prompt
    assert prompt.endswith(
        "<|from|>user\n<|recipient|>all\n<|content|>A?\n"
        '<|from|>assistant\n<|recipient|>get_weather\n<|content|>{"city": "Oslo"}<|stop|>\n'
        "<|from|>get_weather\n<|recipient|>all\n<|content|>sun\n<|from|>assistant\n<|recipient|>"
    )


# Formatters and handlers of the caller.


@pytest.fixture
def registered() -> Iterator[str]:
    yield "of-a-test"
    formats.LlamaChatCompletionHandlerRegistry()._chat_handlers.pop("of-a-test", None)


def test_a_registered_formatter_makes_the_prompt(llm: Llama, registered: str) -> None:
    seen: list[dict[str, Any]] = []

    @formats.register_chat_format(registered)
    def formatter(messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        seen.append({"messages": messages, **kwargs})
        return ChatFormatterResponse(prompt=f"Q: {messages[-1]['content']} A:", stop="number")

    llm.chat_format = registered
    answer = chat(llm)
    assert seen[0]["messages"][0] == {"role": "system", "content": "S."}
    assert answer["usage"]["prompt_tokens"] == len(llm.tokenize(b"Q: C? A:", special=True))
    parts = list(chat(llm, stream=True))
    text = "".join(part["choices"][0]["delta"].get("content") or "" for part in parts)
    assert text == answer["choices"][0]["message"]["content"]
    demanded = chat(
        llm, tools=[FINITE], tool_choice="required", max_tokens=200, temperature=1, seed=1,
        ignore_eos=False,
    )  # fmt: skip
    [(name, arguments)] = calls_of(demanded["choices"][0]["message"])
    assert name == "get_weather"
    assert arguments["city"] in ("Oslo", "Rome")
    assert "get_weather" in str(seen[-1]["messages"][0]["content"])


def test_a_formatter_may_say_when_to_stop(llm: Llama, registered: str) -> None:
    from llama_cpp import StoppingCriteriaList

    @formats.register_chat_format(registered)
    def formatter(messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        criteria = StoppingCriteriaList([lambda ids, logits: len(ids) >= 10])
        return ChatFormatterResponse("one two", stopping_criteria=criteria, added_special=True)

    llm.chat_format = registered
    answer = chat(llm, max_tokens=50)
    assert answer["usage"]["total_tokens"] == 10


def test_what_is_no_response_is_refused(llm: Llama, registered: str) -> None:
    formats.register_chat_format(registered)(lambda messages, **kwargs: "a prompt")
    llm.chat_format = registered
    with pytest.raises(InvalidArgumentError, match="returned 'a prompt', not a ChatFormatterResp"):
        chat(llm)


def test_a_registered_handler_answers(llm: Llama, registered: str) -> None:
    @formats.register_chat_completion_handler(registered)
    def handler(*, llama: Llama, messages: Any, temperature: float, **kwargs: Any) -> Any:
        assert "enable_thinking" not in kwargs  # not set, and unknown to handlers of old
        return (llama, messages, temperature, sorted(kwargs))

    llm.chat_format = registered
    answer: Any = llm.create_chat_completion(TALK, temperature=0.5)
    owner, messages, temperature, others = answer
    assert owner is llm
    assert messages == TALK
    assert temperature == 0.5
    assert {"functions", "tools", "stop", "stream", "grammar", "logit_bias"} <= set(others)
    assert formats.get_chat_completion_handler(registered) is handler


def test_handlers_are_registered_once(registered: str) -> None:
    registry = formats.LlamaChatCompletionHandlerRegistry()
    assert registry is formats.LlamaChatCompletionHandlerRegistry()
    registry.register_chat_completion_handler(registered, print)
    with pytest.raises(ValueError, match="already: give overwrite=True"):
        registry.register_chat_completion_handler(registered, print)
    registry.register_chat_completion_handler(registered, repr, overwrite=True)
    assert registry.get_chat_completion_handler_by_name(registered) is repr
    registry.unregister_chat_handler(registered)
    with pytest.raises(ValueError, match="no registered chat handler"):
        registry.unregister_chat_handler(registered)
    with pytest.raises(
        formats.LlamaChatCompletionHandlerNotFoundException, match="unknown: there are alpaca"
    ):
        registry.get_chat_completion_handler_by_name(registered)


@pytest.mark.parametrize("name", ["vicuna", "functionary-v2", "chatml-function-calling"])
def test_the_handler_of_a_format_can_be_handed_over(name: str, zoo: Zoo, llm: Llama) -> None:
    handler = formats.get_chat_completion_handler(name)
    with open_llama(zoo.llama, chat_handler=handler, n_ctx=1024) as handled:
        answer = chat(handled)
    llm.chat_format = name
    assert answer["choices"] == chat(llm)["choices"]
    direct = handler(llm, TALK, temperature=0, max_tokens=8, repeat_penalty=1.0, ignore_eos=True)
    assert direct["choices"] == answer["choices"]


JINJA = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_a_jinja_formatter_renders_and_chats(llm: Llama) -> None:
    formatter = Jinja2ChatFormatter(JINJA, eos_token="</s>", bos_token="<s>")
    response = formatter(messages=TALK)
    assert response.prompt == "<s>[system] S.[user] A?[assistant] B.[user] C?[assistant]"
    assert response.stop == ["</s>"]
    assert response.added_special
    handler = formatter.to_chat_handler()
    answer = handler(llama=llm, messages=TALK, max_tokens=5, temperature=0)
    assert answer["object"] == "chat.completion"
    prompt = response.prompt.removeprefix("<s>").encode()
    assert answer["usage"]["prompt_tokens"] == len(llm.tokenize(prompt, special=True))
    called = handler(llama=llm, messages=TALK, tools=[FINITE], tool_choice="required", seed=1,
                     max_tokens=200)  # fmt: skip
    assert calls_of(called["choices"][0]["message"])[0][0] == "get_weather"


def test_tokens_may_end_the_reply_of_a_formatter(llm: Llama) -> None:
    plain = Jinja2ChatFormatter(JINJA, "</s>", "<s>").to_chat_handler()
    arguments: dict[str, Any] = {"llama": llm, "messages": TALK, "max_tokens": 9, "temperature": 0,
                                 "logprobs": True}  # fmt: skip
    whole = plain(**arguments)["choices"][0]
    text = whole["logprobs"]["content"][4]["token"]
    end = llm.tokenize(text.encode(), add_bos=False)[-1]
    ended = Jinja2ChatFormatter(JINJA, "</s>", "<s>", stop_token_ids=[end]).to_chat_handler()
    shorter = ended(**arguments)["choices"][0]
    assert len(shorter["logprobs"]["content"]) < 9
    assert whole["message"]["content"].startswith(shorter["message"]["content"])


def test_a_broken_template_fails_when_it_is_used(tmp_path: Any, llm: Llama) -> None:
    formatter = Jinja2ChatFormatter("line one\n{% for %}", "</s>", "<s>")
    with pytest.raises(ChatTemplateError, match="line 2"):
        formatter(messages=TALK)
    path = write_llama(tmp_path / "broken.gguf", chat_template="ok\n{% if %}")
    with open_llama(path) as broken:
        assert broken.create_completion("the", max_tokens=1)
        with pytest.raises(ChatTemplateError, match="line 2"):
            chat(broken)
        broken.chat_format = "chatml"
        assert chat(broken)
    with pytest.raises(ChatTemplateError, match="out of luck"), open_llama(
        path, chat_template="{{ raise_exception('out of luck') }}"
    ) as other:  # fmt: skip
        chat(other)


def test_a_template_comes_from_a_string_a_file_or_by_name(zoo: Zoo, tmp_path: Any) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text(JINJA)
    counts = []
    for template in (JINJA, file, str(file)):
        with open_llama(zoo.llama, chat_template=template) as llm:
            counts.append(chat(llm)["usage"]["prompt_tokens"])
    assert len(set(counts)) == 1
    with open_llama(zoo.llama, chat_template="vicuna") as llm:
        expected = llm.tokenize(PROMPTS["vicuna"].encode(), special=True)
        assert chat(llm)["usage"]["prompt_tokens"] == len(expected)
    with (
        open_llama(zoo.llama, chat_template="no-such-thing") as llm,
        pytest.raises(ChatTemplateError, match="neither a template nor the name of one"),
    ):
        chat(llm)
    with pytest.raises(InvalidArgumentError, match="chat_template=5 must be"):
        open_llama(zoo.llama, chat_template=5)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (formats.CHATML_CHAT_TEMPLATE, "chatml"),
        (formats.MISTRAL_INSTRUCT_CHAT_TEMPLATE, "mistral-instruct"),
        (formats.MIXTRAL_INSTRUCT_CHAT_TEMPLATE, "mistral-instruct"),
        (formats.LLAMA3_INSTRUCT_CHAT_TEMPLATE, "llama-3"),
        ("{{ messages }}", None),
    ],
)
def test_known_templates_are_recognized(template: str, name: str | None, tmp_path: Any) -> None:
    metadata = {"tokenizer.chat_template": template}
    assert formats.guess_chat_format_from_gguf_metadata(metadata) == name
    path = write_llama(tmp_path / "model.gguf", chat_template=template)
    with open_llama(path) as llm:
        assert llm.chat_format == (name or "chat_template.default")


def test_hugging_face_configurations_become_formatters(llm: Llama) -> None:
    config = {
        "chat_template": [{"name": "tool_use", "template": "no"},
                          {"name": "default", "template": JINJA}],
        "bos_token": {"content": "<s>"}, "eos_token": "</s>",
    }  # fmt: skip
    formatter = formats.hf_tokenizer_config_to_chat_formatter(config)
    assert formatter(messages=[user("A?")]).prompt == "<s>[user] A?[assistant]"
    without = formats.hf_tokenizer_config_to_chat_formatter(config, add_generation_prompt=False)
    assert without(messages=[user("A?")]).prompt == "<s>[user] A?"
    handler = formats.hf_tokenizer_config_to_chat_completion_handler(config)
    assert handler(llama=llm, messages=TALK, max_tokens=2)["choices"]
    for bad in ({}, {**config, "eos_token": None}, {**config, "chat_template": []}, 5):
        with pytest.raises(InvalidArgumentError, match="tokenizer_config"):
            formats.hf_tokenizer_config_to_chat_formatter(bad)  # type: ignore[arg-type]


def test_replies_are_enforced_where_the_template_knows_of_no_thoughts(llm: Llama) -> None:
    schema = {
        "type": "object", "required": ["a", "b"], "additionalProperties": False,
        "properties": {"a": {"type": "string", "pattern": r"^\d{5}$"},
                       "b": {"type": "number", "minimum": 0, "maximum": 1}},
    }  # fmt: skip
    llm.chat_format = "chatml"
    answer = chat(
        llm, response_format={"type": "json_object", "schema": schema}, max_tokens=100,
        ignore_eos=False,
    )  # fmt: skip
    [choice] = answer["choices"]
    written = json.loads(choice["message"]["content"])
    assert re.fullmatch(r"\d{5}", written["a"])
    assert 0 <= written["b"] <= 1


def test_schemas_that_no_grammar_honours_are_refused_if_they_are_strict(llm: Llama) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    form = {"name": "f", "schema": schema}
    llm.chat_format = "chatml"
    with pytest.raises(GrammarError, match="uniqueItems"):
        chat(llm, response_format={"type": "json_schema", "json_schema": {**form, "strict": True}})
    for lenient in (form, {**form, "strict": False}):
        answer = chat(
            llm, response_format={"type": "json_schema", "json_schema": lenient}, ignore_eos=False
        )
        assert answer["choices"][0]["message"]["content"].lstrip().startswith("{")
    strictly = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    with pytest.raises(GrammarError, match=r"tools\[0\].*uniqueItems"):
        chat(llm, tools=[strictly])
    loosely = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert chat(llm, tools=[loosely])
    nonsense: dict[str, Any]
    for nonsense in ({"type": "strnig"}, {"properties": []}):
        broken = {"type": "function", "function": {"name": "f", "parameters": nonsense}}
        with pytest.raises(GrammarError, match=r"tools\[0\].function.parameters"):
            chat(llm, tools=[broken])
