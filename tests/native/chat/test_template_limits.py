"""Chat templates without end, without measure, and on the way out of the interpreter.

They come with models from anywhere: none may hang the process, eat its memory or end it.
"""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Iterator

import pytest
from chat_kit import QUESTION, WEATHER, templates, user
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import ChatTemplateError
from llama_cpp.handles.chat_templates import ChatTemplates
from llama_cpp.native.backend import bridge

cases = Cases(__file__)

TOO_LONG = r"takes too long: more than 0.2 s \(line \d+: "
TOO_MUCH = r"makes more than 256 MiB of texts and lists \(line \d+: "
TOO_DEEP = "holds itself, or too much"
LONG_TEXT = "too long a text of a short conversation"
NAMESPACE = "{% set ns = namespace(x='ab') %}"
# 2 MB, and an empty list.
TEXT = "{% set l = [] %}{% set x = 'ab' * 1000 %}" + "{% set x = x ~ x %}" * 10
TOOL_CALLS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}CALL"
    "{% endfor %}{% endfor %}"
)


@contextlib.contextmanager
def limited(seconds: float = 0.2) -> Iterator[None]:
    bridge("bridge_chat_templates_limit_time")(seconds)
    try:
        yield
    finally:
        bridge("bridge_chat_templates_limit_time")(10)


def rendered(template: str) -> str:
    prompt = ChatTemplates(template).apply(QUESTION, tools=[WEATHER])["prompt"]
    assert isinstance(prompt, str)
    return prompt


def refused(message: str, *sources: str, always: bool = False) -> None:
    """``always``: also when the engine tries the template out, with messages that it makes up."""
    for text in sources:
        with pytest.raises(ChatTemplateError, match=message):
            if always:
                rendered(text)
            else:
                template = ChatTemplates("{% if use %}" + text + "{% endif %}")
                template.apply(QUESTION, chat_template_kwargs={"use": 1})
        assert "weather" in templates("tinychat").apply(QUESTION)["prompt"]


def doubled(expression: str) -> str:
    """A template in which a value grows by itself."""
    loop = "{% for i in range(64) %}{% set ns.x = " + expression + " %}{% endfor %}"
    return NAMESPACE + loop + "{{ ns.x | length }}"


@cases.add
def templates_without_end_are_stopped(files: Files) -> None:
    text = TEXT + "{% set y = x | replace('b', 'a') %}{% set z = y ~ y %}"
    with limited():
        refused(
            TOO_LONG,
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "{% for a in range(9999) %}{% for b in range(9999) if not a %}{% endfor %}{% endfor %}",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(64) }}",
            "{% macro f(n) %}{{ caller() }}{% endmacro %}{% macro g(n) %}{% call f(n) %}"
            "{% if n %}{{ g(n - 1) }}{{ g(n - 1) }}{% endif %}{% endcall %}{% endmacro %}"
            "{{ g(64) }}",
            text + "{{ y ~ 'b' in z }}",
            text + "{{ z.split(y ~ 'b') }}",
            text + "{{ z.rsplit(y ~ 'b') }}",
            text + "{{ z.replace(y ~ 'b', '') }}",
            text + "{{ z.split('a') | length }}",
            text + "{{ z.replace('a', 'bbb') | length }}",
            text + "{% set l = [z, z, z, z, z, z, z, z] %}"
            "{% for i in range(99) %}{{ (l + l) | sort | length }}{{ y in l }}{% endfor %}",
            "{{ (' ' * 4000000) | trim }}",
            "{% for i in range(99999) %}{% set x = range(9999) %}{% endfor %}",
        )


@cases.add
def all_renderings_of_a_call_share_its_time(files: Files) -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    with limited():
        # The engine finds out about tools with messages that it makes up, and swallows errors.
        refused(TOO_LONG, "{% if tools %}" + endless + "{% endif %}", always=True)
        refused(TOO_LONG, TOOL_CALLS.replace("CALL", endless), always=True)
        template = ChatTemplates("{{ x }}\n{% if y %}" + endless + "{% endif %}")
        assert template.apply(QUESTION, chat_template_kwargs={"x": 1})["prompt"] == "1\n"
        with pytest.raises(ChatTemplateError, match=TOO_LONG.replace(r"\d+", "2")):
            template.apply(QUESTION, chat_template_kwargs={"y": 1})
        assert template.describe()["supports_thinking"] is False
        assert template.apply(QUESTION, chat_template_kwargs={"x": 2})["prompt"] == "2\n"


@cases.add
def each_thread_has_its_own_time(files: Files) -> None:
    endless = ChatTemplates("{% if x %}{% for a in range(9999) %}{% for b in range(9999) %}"
                            "{% endfor %}{% endfor %}{% endif %}")  # fmt: skip
    errors: list[str] = []

    def run() -> None:
        with pytest.raises(ChatTemplateError) as caught:
            endless.apply(QUESTION, chat_template_kwargs={"x": 1})
        errors.append(str(caught.value))

    with limited(1):
        thread = threading.Thread(target=run)
        thread.start()
        assert "weather" in templates("tinychat").apply(QUESTION)["prompt"]
        thread.join()
    assert "too long" in errors[0]


@cases.add
def texts_that_grow_are_refused(files: Files) -> None:
    refused(
        TOO_MUCH,
        *map(doubled, (
            "ns.x ~ ns.x", "ns.x + ns.x", "ns.x * 2", "ns.x.replace('a', ns.x)",
            "ns.x | replace('', ns.x)", "[ns.x, ns.x] | join(ns.x)",
            "'{}{}'.format(ns.x, ns.x)", "('a\\n' ~ ns.x) | indent(ns.x)",
        )),
        "{{ 'a' * 9999999999 }}", "{{ 9223372036854775807 * 'a' }}",
        "{{ 'a' | indent(9999999999, true) }}",
        TEXT + "{{ x | replace('', x) }}", TEXT + "{{ x.replace('a', x) }}", TEXT + "{{ x * 200 }}",
        TEXT + "{% for i in range(9999) %}{{ x }}{% endfor %}",
        TEXT + "{% for i in range(9999) %}{% set ns = namespace(x=x ~ i) %}{{ ns.x }}{% endfor %}",
        TEXT + "".join(f"{{% set x{i} %}}{'{{ x }}' * 30}{{% endset %}}" for i in range(9)),
        TEXT + "{% for i in range(9999) %}{% set _ = l.append(x ~ i) %}{% endfor %}",
        TEXT + "{% for i in range(9999) %}{% set _ = l.append((x ~ i).split('y')) %}{% endfor %}",
        NAMESPACE + "{% for i in range(64) %}{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}"
        "{% set ns.x = x %}{% endfor %}",
        "{% for i in range(99999) %}" + "text " * 9999 + "{% endfor %}",
        "{% macro f(x) %}{{ x ~ f(x ~ x) }}{% endmacro %}{{ f('ab') }}",
    )  # fmt: skip


@cases.add
def lists_that_grow_are_refused(files: Files) -> None:
    refused(
        TOO_MUCH,
        "{{ range(999999999999) }}", "{{ range(0, -9223372036854775807, -1) }}",
        "{{ range(9223372036854775800, 9223372036854775807, 100) }}", TEXT + "{{ x.rsplit('a') }}",
        # Numbers that something else holds than what made them.
        "{% set l = [] %}{% for i in range(9999) %}{% set a = range(100000) %}"
        "{% set _ = l.append(a | list) %}{% endfor %}",
        "{% set x = range(400000) %}{% macro f() %}{% for i in x %}{{ f() }}{% endfor %}"
        "{% endmacro %}{{ f() }}",
    )  # fmt: skip
    refused(TOO_DEEP, *map(doubled, (
        "[ns.x, ns.x]", "(ns.x, ns.x)", "{'a': ns.x, 'b': ns.x}", "namespace(a=ns.x, b=ns.x)",
        "dict(a=ns.x, b=ns.x)", "[ns.x, ns.x] | list", "[[ns.x]] + [[ns.x]]",
    )))  # fmt: skip
    refused(
        TOO_DEEP,
        "{% macro f(x, n) %}{% if n %}{{ f([x, x], n - 1) }}{% else %}{{ x }}{% endif %}"
        "{% endmacro %}{{ f(1, 64) }}",
        "{% macro f(x, n) %}{% if n %}{{ f((x, x), n - 1) }}{% else %}{{ {x: x == x} }}{% endif %}"
        "{% endmacro %}{{ f(1, 64) }}",
        "{% macro f(n, x=[x, x]) %}{% if n %}{{ f(n - 1) }}{% else %}{{ x }}{% endif %}"
        "{% endmacro %}{% set x = 1 %}{{ f(64) }}",
        "{% set x = (1, 1) %}" + "{% for x in [(x, x)] %}" * 64 + "{{ x == x }}"
        + "{% endfor %}" * 64,
    )  # fmt: skip


@cases.add
def deep_values_do_not_overflow_the_stack(files: Files) -> None:
    """Lists and objects that are put into each other, the outer ones last."""
    with limited(60):
        for new, link in (
            ("[]", "{% set _ = a.append(l[i + 1]) %}"),
            ("namespace()", "{% set a.x = l[i + 1] %}"),
        ):
            template = ChatTemplates(
                # Only what is asked for has the variable, not what the engine tries out.
                "{% if use and add_generation_prompt %}{% set l = [] %}"
                "{% macro clear() %}{% for i in range(n) %}{{ l.pop() is none }}{% endfor %}"
                "{% endmacro %}{% macro two(x, y) %}2{% endmacro %}"
                "{% for i in range(n) %}{% set _ = l.append(" + new + ") %}"
                "{% endfor %}{% for i in range(n - 1) %}{% set a = l[i] %}" + link + "{% endfor %}"
                "{% if use == 1 %}{{ l[0] }}{{ l[0] | string }}"
                "{% elif use == 2 %}{{ l[0] | tojson }}"
                # What holds the items of the chain goes first.
                "{% else %}{{ two(l[0], clear()) }}{% endif %}{% endif %}"
            )
            for use in (1, 2):
                with pytest.raises(ChatTemplateError, match=TOO_DEEP):
                    template.apply(QUESTION, chat_template_kwargs={"use": use, "n": 15_000})
            variables = {"use": 3, "n": 100_000 if new == "[]" else 1000}
            assert template.apply(QUESTION, chat_template_kwargs=variables)["prompt"] == "2"


@cases.add
def values_that_hold_themselves_are_freed(files: Files) -> None:
    for _ in range(3):
        refused(
            TOO_DEEP,
            TEXT + NAMESPACE + "{% set ns.x = [ns, x * 4] %}",
            TEXT + "{% set a = [x * 4] %}{% set b = [a] %}{% set _ = a.append(b) %}",
            TEXT + "{% set a = namespace(x=x * 4) %}{% set a.b = [namespace(a=a)] %}",
        )
    assert peak_mib() < 1500


@cases.add
def what_is_printed_is_measured_by_the_conversation(files: Files) -> None:
    refused(
        LONG_TEXT, "x" * 200_000, "\r\n" * 400_000, "{{ 'x' * 200000 }}", "{{ 'x' }}" * 100_000,
        "{{ {'a': [1]} | tojson(indent=9999999999) }}",
        TOOL_CALLS.replace("CALL", "{{ 'x' * 200000 }}"), always=True,
    )  # fmt: skip
    long = user("The weather. " * 400_000)
    template = templates("tinychat")
    assert template.apply([long])["prompt"].count("The weather. ") == 400_000
    messages = [user("Hi"), {"role": "assistant", "content": "Hello."}] * 1000
    assert template.apply([*messages, *QUESTION])["prompt"].count("Hello.") == 1000


@cases.add
def what_the_engine_reads_again_is_not_too_deep(files: Files) -> None:
    call = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}'
    deep = call + ", \"x\": {{ '[' * 20000 }}{{ ']' * 20000 }} }"
    refused("nests JSON too deeply", TOOL_CALLS.replace("CALL", deep), always=True)
    assert "weather" in rendered(TOOL_CALLS.replace("CALL", call + "}"))


@cases.add
def odd_values_are_sorted_and_cut(files: Files) -> None:
    """Without order, and with steps beyond the range of numbers."""
    values = "['5', 10, 9, '95', none, 1.5, 'nan' | float, [1], '', -1]"
    sort = "{{ l | sort | length }},{{ l | sort(reverse=true) | length }}"
    grow = "{% for i in range(7) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{% set l = ns.l %}"
    prefix = "{% set ns = namespace(l=" + values + ") %}" + grow
    assert rendered(prefix + sort) == "1280,1280"
    order = ",".join(str(i) for start in (0, 1) for i in range(start, 100, 2))
    assert (
        rendered(
            "{% set l = [] %}{% for i in range(100) %}{% set _ = l.append({'k': i % 2, 'v': i}) %}"
            "{% endfor %}{{ l | sort(attribute='k') | map(attribute='v') | join(',') }}"
        )
        == order
    )  # as it was, where nothing else is said
    extremes = ("-9223372036854775807 - 1", "-9223372036854775807", "9223372036854775807")
    cut = [f"{{{{ 'abc'[{start}::({step})] }}}}" for start in ("0", "2") for step in extremes]
    assert [rendered(each) for each in cut] == ["a", "a", "a", "c", "c", "c"]


@cases.add
def far_too_many_names_are_refused(files: Files) -> None:
    names = [f"x{i}" for i in range(2000)]
    refused("too many names", "".join(f"{{% set {name} = 1 %}}" for name in names))
    assert rendered("".join(f"{{% set {name} = 1 %}}" for name in names[:500])) == ""


@cases.add
def line_ends_of_windows_are_read(files: Files) -> None:
    assert rendered("{#" + "\r\n" * 400_000 + "#}{{ messages[0].role }}\r\nx\ry") == "user\nx\ny"


@cases.add
def messages_of_exceptions_are_cut(files: Files) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        rendered("{{ raise_exception('Hello ' * 999999) }}")
    assert "line 1" in str(caught.value)
    assert len(str(caught.value)) < 20_000


@cases.add
def there_is_no_way_out(files: Files) -> None:
    target = files.scratch / "pwned"
    popen = f"popen('touch {target}')"
    published = (  # for CVE-2024-34359
        "{% for x in ().__class__.__base__.__subclasses__() %}"
        "{% if \"warning\" in x.__name__ %}{{x()._module.__builtins__['__import__']('os')."
        + popen
        + ".read()}}{%endif%}{% endfor %}"
    )
    for text in (
        published, published.replace("().__class__", "[].__class__"),
        "{{ ''.__class__.__mro__ }}", "{{ messages.__init__.__globals__ }}",
        "{{ messages[0].__class__.__base__.__subclasses__() }}", "{{ [].__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os." + popen + " }}", "{{ ''['__class__']['__mro__'] }}",
        "{{ namespace.__init__.__globals__ }}", "{{ raise_exception.__globals__ }}",
        "{{ self.__init__ }}", "{{ messages['__init__'] }}", "{{ messages[0]['__class__'] }}",
        "{{ '' | attr('__class__') }}", "{{ '{0.__class__}'.format(1) }}",
        "{{ __import__('os')." + popen + " }}", f"{{{{ open('{target}', 'w') }}}}",
        "{% include '/etc/hostname' %}", "{% import 'os' as os %}", "{% extends 'x' %}",
        "{% from 'os' import popen %}",
    ):  # fmt: skip
        with contextlib.suppress(ChatTemplateError):
            assert rendered(text) == ""
    assert not target.exists()
    assert "weather" in templates("tinychat").apply(QUESTION)["prompt"]


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@cases.add
def all_of_this_takes_little_memory(files: Files) -> None:
    """The last of the cases, in the process of the others."""
    assert peak_mib() < 1500


@pytest.mark.parametrize("name", cases.names)
def test_chat_template_limits(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
