"""Chat templates that Python renders: what they can do, and what they cannot."""

from __future__ import annotations

import gc
import threading
import weakref
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from llama_cpp.chat.sandbox import ChatTemplate, strftime_now, tojson
from llama_cpp.errors import ChatTemplateError, InvalidArgumentError

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": 'Ä "<b>"'}]
# Long enough for what is right, so that endless ones end soon.
SOON = 0.2


def rendered(source: str, **variables: Any) -> str:
    return ChatTemplate(source, seconds=SOON).render(messages=MESSAGES, **variables)


def doubled(expression: str) -> str:
    """A template in which a value grows by itself."""
    loop = "{% for i in range(64) %}{% set ns.x = " + expression + " %}{% endfor %}{{ ns.x }}"
    return "{% set ns = namespace(x='ab') %}" + loop


# What works.


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m['content'] }}\n{% endfor %}",
         'user: Hi\nassistant: Ä "<b>"\n'),
        ("{% if messages %}\n  {% set x = 1 %}\nx={{ x }}\n{% endif %}\nend", "x=1\nend"),
        ("{{ messages[-1] | tojson }}", '{"role": "assistant", "content": "Ä \\"<b>\\""}'),
        ("{{ 'Ä' | tojson(ensure_ascii=true) }}{{ [1] | tojson(indent=1) }}",
         '"\\u00c4"[\n 1\n]'),
        ("{{ {'b': 1, 'a': 2} | tojson(separators=(',', ':'), sort_keys=true) }}",
         '{"a":2,"b":1}'),
        (("{% for i in [1, 2, 3, 4] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}"
         "{% if i == 3 %}{% break %}{% endif %}{% endfor %}"), "13"),
        ("{% generation %}{% set q = 5 %}a{{ messages[0].content }}{% endgeneration %}{{ q }}",
         "aHi5"),
        (("{% set ns = namespace(n=0) %}{% for m in messages if m.role == 'user' %}"
         "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"), "1"),
        (("{% macro f(a, b='y') %}{{ a }}{{ b }}{{ caller() }}{% endmacro %}"
         "{% call f('x') %}z{% endcall %}"), "xyz"),
        ("{% set a, b = 1, (2,) %}{{ a ~ b ~ [a, {'k': b}] }}", "1(2,)[1, {'k': (2,)}]"),
        ("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
         "123"),
        (("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content')"
         " | join(', ') }}{{ [2, 1] | sort }}{{ 'a-b'.split('-') | join(' ') }}"), "Hi[1, 2]a b"),
        (("{{ 'a,b' | replace(',', ';') }}{{ '%s=%d' % ('x', 3) }}{{ '{}!{a:>3}'.format(1, a=2) }}"
         "{{ '%05.1f' | format(2.5) }}{{ 'x\ny' | indent(2) }}"), "a;bx=31!  2002.5x\n  y"),
        ("{{ messages[1:][0].role[::-1] }}{{ 7 // 2 }}{{ 2 ** 3 * 'a' }}{{ -7 % 3 }}{{ 1 / 2 }}",
         "tnatsissa3aaaaaaaa20.5"),
        ("{{ unknown }}{{ unknown is defined }}{{ messages.unknown | default('d') }}", "Falsed"),
        ("{% filter upper %}a{% endfilter %}{% block b %}{{ 1 }}{% endblock %}{{ self.b() }}",
         "A11"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{{ loop.last }}{% endfor %}", "a1True"),
    ],
)  # fmt: skip
def test_templates_render(source: str, text: str) -> None:
    assert rendered(source) == text


def test_variables_may_have_any_name() -> None:
    names = {"self": 1, "source": 2, "context": 3, "environment": 4}
    assert ChatTemplate("{{ source }}{{ context }}{{ environment }}").render(**names) == "234"


def test_helpers() -> None:
    assert strftime_now("%Y") == str(datetime.now().year) == rendered("{{ strftime_now('%Y') }}")
    assert tojson({"b": "é</", "a": None}, sort_keys=True) == '{"a": null, "b": "é</"}'
    assert tojson("é", ensure_ascii=True, indent=2) == '"\\u00e9"'
    with pytest.raises(InvalidArgumentError, match="2000 characters"):
        strftime_now("%p" * 1000)


def test_tinychat_template_renders() -> None:
    path = Path(__file__).parents[3] / "tools" / "tinychat" / "template.jinja"
    text = rendered(path.read_text("utf-8"), add_generation_prompt=True)
    assert "<|im_start|>user\nHi<|im_end|>\n" in text


# Errors.


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{% if %}\n", r"expression.* \(line 2: {% if %}\)"),
        ("a\n\n{% for x in y %}", r"\(line 3: {% for x in y %}\)"),
        ("{{", r"unexpected 'end of template' \(line 1: {{\)"),
        ("a\n{{ 'x' | nothing }}", r"No filter named 'nothing'. \(line 2:"),
        ("a\n{% if true %}\n  {{ raise_exception('Rôles!') }}{% endif %}",
         r"Rôles! \(line 3: {{ raise_exception\('Rôles!'\) }}"),
        ("\n\n{{ 1 + none }}", r"unsupported operand.* \(line 3: {{ 1 \+ none }}\)"),
        ("{% macro f() %}\n{{ a.b.c }}\n{% endmacro %}\n{{ f() }}", r"\(line 2: {{ a.b.c }}\)"),
        ("{% include 'a' %}", "no loader"),
        ("{{ strftime_now('%p' * 1000) }}", "2000 characters"),
        ("{{ messages[0] | tojson(indent={}) }}", "line 1"),
        ("x" * 300_000, "262144 characters"),
    ],
)  # fmt: skip
def test_errors_name_the_line(source: str, message: str) -> None:
    template = ChatTemplate(source)
    for _ in range(2):
        with pytest.raises(ChatTemplateError, match=message):
            template.render(messages=MESSAGES)


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{{ " + "[" * 20_000,
        "{{ " + "not " * 20_000 + "1 }}",
        "{{ 1" + "+1" * 20_000 + " }}",
        "{{ a" + ".b" * 20_000 + " }}",
        "{% if x %}" * 5000 + "{% endif %}" * 5000,
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    ],
)
def test_deep_recursion_is_refused(source: str) -> None:
    with pytest.raises(ChatTemplateError, match="recursion"):
        ChatTemplate(source).render()


# What takes too long, or too much.


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
        (
            "{% for a in range(99999) %}{{ a }}{% for b in range(99999) %}{% continue %}"
            "{% endfor %}{% endfor %}"
        ),
        (
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(64) }}"
        ),
        (
            "{% macro f(n) %}{{ caller(n) }}{% endmacro %}{% macro g(n) %}{% call(n) f(n) %}"
            "{% if n %}{{ g(n - 1) }}{{ g(n - 1) }}{% endif %}{% endcall %}{% endmacro %}"
            "{{ g(24) }}"
        ),
        "".join(
            f"{{% block b{i} %}}{f'{{{{ self.b{i + 1}() }}}}' * 2}{{% endblock %}}"
            for i in range(40)
        )
        + "{% block b40 %}{% endblock %}",
        (
            "{% for x in [0, 1] recursive %}{% if loop.depth < 64 %}{{ loop([0, 1]) }}{% endif %}"
            "{% endfor %}"
        ),
        "{% set x = range(99999) | list %}" + "{% if 0.5 in x %}{% endif %}" * 1000,
    ],
)
def test_endless_templates_end(source: str) -> None:
    with pytest.raises(ChatTemplateError, match=r"takes too long: more than 0.2 s \(line 1: "):
        rendered(source)


@pytest.mark.parametrize(
    "source",
    [
        *map(doubled, (
            "ns.x ~ ns.x", "ns.x + ns.x", "ns.x * 2", "[ns.x, ns.x]", "(ns.x, ns.x)",
            "{'a': ns.x, 'b': ns.x}", "dict(a=ns.x, b=ns.x)", "[ns.x, ns.x] | list",
            "ns.x.replace('a', ns.x)", "ns.x | replace('a', ns.x)", "[ns.x, ns.x] | join(ns.x)",
            "'{}{}'.format(ns.x, ns.x)", "ns.x.join([ns.x, ns.x])", "[ns.x] * 2",
            "{'a': ns.x, 'b': ns.x}.items() | list",
        )),
        ("{% set ns = namespace(x='ab') %}{% for i in range(64) %}{% set x %}{{ ns.x }}{{ ns.x }}"
        "{% endset %}{% set ns.x = x %}{% endfor %}"),
        "{% macro f(x, n) %}{{ f([x, x], n - 1) if n else x }}{% endmacro %}{{ f(1, 64) }}",
        "{% for i in range(99999) %}" + "text " * 9999 + "{% endfor %}",
        "{% set x %}{% for i in range(99999) %}" + "text " * 9999 + "{% endfor %}{% endset %}",
        "{{ 'a' * 10 ** 9 }}", "{{ [0] * 10 ** 9 }}", "{{ 10 ** 9 * 'a' }}",
        "{{ 'a' | center(10 ** 9) }}", "{{ 'a'.center(10 ** 9) }}", "{{ 'a'.ljust(10 ** 9) }}",
        "{{ 'a'.zfill(10 ** 9) }}", "{{ 'a' | indent(10 ** 9, true) }}",
        "{{ ['a'] | map('center', 10 ** 9) | list }}", "{{ [1] | tojson(indent=10 ** 9) }}",
        "{{ 5 | round(-10 ** 9) }}", "{{ 1.5 | round(10 ** 9, 'floor') }}",
        "{{ ('a' * 10 ** 7).split('a') }}", "{{ ('ä' * 10 ** 7) | list }}",
    ],
)  # fmt: skip
def test_templates_that_make_too_much_are_refused(source: str) -> None:
    with pytest.raises(ChatTemplateError, match=r"more than 512 MiB of texts and lists"):
        ChatTemplate(source).render()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ '%1000000000d' % 1 }}", "too large a width"),
        ("{{ '%*d' % (1000000000, 1) }}", "too large a width"),
        ("{{ '%(a)-999999s' | format(a=1) }}", "too large a width"),
        ("{{ '{:>1000000000}'.format(1) }}", "too large a width"),
        ("{{ '{:>{}}'.format(1, 1000000000) }}", "too large a width"),
        ("{{ 9 ** (9 ** 9) }}", "too many digits"),
        ("{{ 2 ** 60000 * 2 ** 60000 }}", "too many digits"),
        ("{{ 7 is divisibleby(('f' * 999999) | int(0, 16)) }}", "too many digits"),
        ("{{ range(10 ** 12) | list }}", "Range too big"),
        ("{% set x = 'a' * 9999999 %}{{ x.strip(x) }}", "characters to strip"),
        (("{% set ns = namespace(x=1) %}{% for i in range(200) %}{% set ns.x = [ns.x] %}"
         "{% endfor %}"), "nested more than 100 levels"),
        ("{{ 'a'.expandtabs(10 ** 9) }}", "is unsafe"),
        ("{{ (1).to_bytes(10 ** 9, 'big') }}", "is unsafe"),
        ("{{ 'a'.translate({97: 'b'}) }}", "is unsafe"),
        ("{{ lipsum(10 ** 9) }}", "undefined"),
        ("{{ [0] | batch(10 ** 9, 0) | list }}", "No filter"),
    ],
)  # fmt: skip
def test_what_could_blow_up_is_refused(source: str, message: str) -> None:
    with pytest.raises(ChatTemplateError, match=message):
        ChatTemplate(source).render()


def test_a_namespace_that_holds_itself_prints_nothing() -> None:
    assert rendered("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}") == "<namespace>"
    assert rendered(doubled("namespace(a=ns.x, b=ns.x)")) == "<namespace>"


def test_what_a_failed_template_made_is_freed() -> None:
    class Content(str):
        pass

    content = Content("a")
    freed = weakref.ref(content)
    gc.disable()
    try:
        ChatTemplate("{% set y = x %}{{ 1 + none }}").render(x=content)
    except ChatTemplateError as error:
        assert "unsupported" in str(error)
    finally:
        del content
        alive = freed()
        gc.enable()
    assert alive is None


def test_each_rendering_has_a_clock_of_its_own() -> None:
    endless = ChatTemplate("{% for i in range(99999) %}{{ f() }}{% endfor %}", seconds=SOON)
    short = ChatTemplate("{{ endless() }}", seconds=60)
    begun, finished = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def pause() -> str:
        begun.set()
        finished.wait(0.01)
        return ""

    def run() -> None:
        try:
            endless.render(f=pause)
        except ChatTemplateError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    assert short.render(endless=lambda: "text") == "text"
    thread.join()
    assert "too long" in str(errors[0])
    # One inside the other: the outer one goes on with what it had.
    inner = ChatTemplate("{{ 1 }}", seconds=60)
    assert ChatTemplate("{{ f() }}{{ 2 }}", seconds=60).render(f=inner.render) == "12"


# Ways out of the sandbox.


@pytest.mark.parametrize(
    "source",
    [
        # The published payload of CVE-2024-34359.
        (
            '{% for x in ().__class__.__base__.__subclasses__() %}{% if "warning" in x.__name__ %}'
            "{{x()._module.__builtins__['__import__']('os').popen(\"touch PATH\").read()}}"
            "{%endif%}{% endfor %}"
        ),
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ messages[0].__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch PATH').read() }}",
        "{{ namespace.__init__.__globals__.sys }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ strftime_now.__globals__['json'].codecs }}",
        "{{ ''['__class__'].x }}",
        "{{ ('{0.__class__.__init__.__globals__}' | attr('format'))(messages).x.y }}",
        "{{ '{0.__class__.__mro__}'.format(messages) ~ 1 + none }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment.x }}",
        "{{ (messages | map)._x.gi_frame.f_back }}",
        "{{ caller.__code__.co_consts }}",
        "{% from 'os' import popen %}{{ popen('touch PATH') }}",
    ],
)
def test_the_sandbox_holds(source: str, tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    messages = [dict(message) for message in MESSAGES]
    with pytest.raises(ChatTemplateError):
        ChatTemplate(source.replace("PATH", str(target))).render(messages=messages)
    assert not target.exists()
    assert messages == MESSAGES


@pytest.mark.parametrize(
    "source",
    [
        "{{ '{0.__class__}'.format(1) }}",
        "{{ self._TemplateReference__context }}",
        "{{ 'a' | attr('__class__') }}",
        "{{ '' | attr('__class__') | attr('__mro__') | first }}",
        "{{ raise_exception.__globals__ }}",
        "{{ (messages | map(attribute='role')).gi_frame }}",
    ],
)
def test_the_sandbox_shows_nothing(source: str) -> None:
    try:
        assert rendered(source) == ""
    except ChatTemplateError as error:
        assert "unsafe" in str(error)
