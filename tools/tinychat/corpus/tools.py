"""Conversations with tools: calling the right one, doing without, using what it returned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tools.tinychat.corpus.example import (
    Chat,
    Message,
    Tool,
    assistant,
    calls,
    maybe_system,
    result,
    user,
)
from tools.tinychat.corpus.facts import any_answer
from tools.tinychat.corpus.tool_families import (
    FAMILIES,
    INFORMERS,
    NO_TOOL,
    REPEATABLE,
    Family,
    Use,
    calculator,
    made_up,
    timer,
)
from tools.tinychat.words import NOUNS, Draw

# A tool of random words is asked for by these words, which another one does not share. A calculator
# would have to do the sums that are asked for in between.
_REUSABLE = [family for family in FAMILIES if family not in (made_up, calculator)]


def _offer(
    draw: Draw, wanted: Use | None, count: int, without: Family | None = None
) -> tuple[Tool, ...]:
    """The wanted tool among others of other families, in any order."""
    taken = wanted.family if wanted else without
    others = draw.random.sample([family for family in FAMILIES if family is not taken], count)
    offered = [family(draw).tool for family in others]
    if wanted:
        offered[0] = wanted.tool
    names = {tool["function"]["name"] for tool in offered}
    if len(names) < len(offered):
        return _offer(draw, wanted, count, without)
    draw.random.shuffle(offered)
    return tuple(offered)


def _use(draw: Draw) -> Use:
    return draw.one(FAMILIES)(draw)


def _count(draw: Draw) -> int:
    return draw.one((1, 2, 2, 3, 3))


def _call(use: Use) -> Message:
    return calls((use.name, use.arguments))


def _key(use: Use) -> str:
    return json.dumps({"name": use.name, "arguments": use.arguments})


def call_tool(draw: Draw) -> Chat:
    """One to three tools, one of which fits."""
    use = _use(draw)
    before: tuple[Message, ...] = ()
    if not draw.held_out and draw.chance(0.15):
        asked = any_answer(draw)
        before = user(asked.question), assistant(asked.answer)
    messages = (*maybe_system(draw), *before, user(use.request), _call(use))
    return Chat(messages, _offer(draw, use, _count(draw)), key=_key(use))


def call_renamed(draw: Draw) -> Chat:
    """A call of tools whose names nobody can guess."""
    chat = call_tool(draw)
    names: dict[str, str] = {}
    for tool in chat.tools:
        name, noun = str(tool["function"]["name"]), draw.one(NOUNS)
        head, *rest = name.split("_")
        camel = head + "".join(word.capitalize() for word in rest)
        names[name] = draw.one(
            (name, f"{name}_{noun}", f"{noun}_{name}", f"my_{name}", f"{camel}{noun.capitalize()}")
        )
    wanted = json.loads(chat.key)
    *before, asked, _ = chat.messages
    request = str(asked["content"])
    for verb in ("Use", "Call"):
        request = request.replace(f"{verb} {wanted['name']} ", f"{verb} {names[wanted['name']]} ")
    wanted["name"] = names[wanted["name"]]
    tools = (
        {**tool, "function": {**tool["function"], "name": names[tool["function"]["name"]]}}
        for tool in chat.tools
    )
    last = calls((wanted["name"], wanted["arguments"]))
    return Chat((*before, user(request), last), tuple(tools), key=json.dumps(wanted))


def call_with_renamed_arguments(draw: Draw) -> Chat:
    """A call of tools whose names, and whose parameters' names, nobody can guess."""
    chat = call_renamed(draw)
    wanted = json.loads(chat.key)
    tools = []
    for tool in chat.tools:
        function = dict(tool["function"])
        names = _unguessable(draw, list(function["parameters"]["properties"]))
        function["parameters"] = _renamed(function["parameters"], names)
        tools.append({**tool, "function": function})
        if function["name"] == wanted["name"]:
            wanted["arguments"] = {names[k]: v for k, v in wanted["arguments"].items()}
    last = calls((wanted["name"], wanted["arguments"]))
    return Chat((*chat.messages[:-1], last), tuple(tools), key=json.dumps(wanted))


def _unguessable(draw: Draw, parameters: list[str]) -> dict[str, str]:
    nouns = draw.random.sample(NOUNS, len(parameters))
    if len(parameters) == 1:
        return {parameters[0]: draw.one((draw.blend(nouns[0]), f"{parameters[0]}_{nouns[0]}"))}
    form = draw.one(("{parameter}", "{parameter}_{noun}", "{noun}_{parameter}", "my_{parameter}"))
    return {
        parameter: form.format(parameter=parameter, noun=noun)
        for parameter, noun in zip(parameters, nouns, strict=True)
    }


def _renamed(parameters: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    properties = {names[key]: value for key, value in parameters["properties"].items()}
    required = [names[key] for key in parameters["required"]]
    return {**parameters, "properties": properties, "required": required}


def think_and_call(draw: Draw) -> Chat:
    """A call that is thought about first."""
    use = _use(draw)
    thought = f"The user needs the tool {use.name}. I will call it."
    messages = user(use.request), {**_call(use), "reasoning_content": thought}
    return Chat(messages, _offer(draw, use, _count(draw)), thinking=True, key=_key(use))


def call_several(draw: Draw) -> Chat:
    """One tool for two things in one sentence."""
    family = draw.one(REPEATABLE)
    while True:
        first = family(draw)
        (parameter, thing), *more = first.arguments.items()
        other = next(iter(family(draw).arguments.values()))
        if thing != other:
            break
    request = first.request.replace(thing, f"{thing} and {other}")
    wanted = calls((first.name, first.arguments), (first.name, {parameter: other, **dict(more)}))
    return Chat((*maybe_system(draw), user(request), wanted), _offer(draw, first, _count(draw)))


def do_without(draw: Draw) -> Chat:
    """Tools are there, and none of them is needed or none fits."""
    if draw.held_out or draw.chance(0.7):
        asked = any_answer(draw)
        # A sum does need a calculator that is there.
        tools = _offer(draw, None, _count(draw), without=calculator)
        messages = (*maybe_system(draw), user(asked.question), assistant(asked.answer))
        return Chat(messages, tools, key=asked.key)
    use = _use(draw)
    tools = _offer(draw, None, _count(draw), without=use.family)
    return Chat((*maybe_system(draw), user(use.request), assistant(NO_TOOL)), tools, key=NO_TOOL)


def answer_from_result(draw: Draw) -> Chat:
    """A call, its result, and the answer that uses it."""
    use = draw.one(INFORMERS if draw.held_out or draw.chance(0.8) else FAMILIES)(draw)
    messages = (
        *maybe_system(draw),
        user(use.request),
        _call(use),
        result(use.result),
        assistant(use.answer),
    )
    return Chat(messages, _offer(draw, use, _count(draw)), key=use.key)


def conversation(draw: Draw) -> Chat:
    """Several requests for the tools of one prompt, with their results, among other questions."""
    firsts = [family(draw) for family in draw.random.sample(_REUSABLE, draw.one((1, 2, 3)))]
    messages: list[Message] = [*maybe_system(draw)]
    for _ in range(draw.random.randint(3, 6)):
        if draw.chance(0.2):
            asked = any_answer(draw)
            messages += user(asked.question), assistant(asked.answer)
        elif draw.chance(0.1):
            offered = {first.family for first in firsts}
            other = draw.one([family for family in _REUSABLE if family not in offered])
            messages += user(other(draw).request), assistant(NO_TOOL)
        else:
            use = _again(draw, draw.one(firsts))
            messages += user(use.request), _call(use)
            messages += result(use.result), assistant(use.answer)
    return Chat(tuple(messages), tuple(first.tool for first in firsts))


def _again(draw: Draw, first: Use) -> Use:
    """Another request for a tool: one of its family, with this one's names for the parameters."""
    while True:
        other = first.family(draw)
        names, others = _parameters(first), _parameters(other)
        alike = _description(first) == _description(other) and len(names) == len(others)
        if alike and (first.family is not timer or names == others):
            break
    renamed = dict(zip(others, names, strict=True))
    arguments = {renamed[name]: value for name, value in other.arguments.items()}
    return replace(other, tool=first.tool, arguments=arguments)


def _parameters(use: Use) -> list[str]:
    return list(use.tool["function"]["parameters"]["properties"])


def _description(use: Use) -> str:
    return str(use.tool["function"]["description"])
