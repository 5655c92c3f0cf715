"""Chat templates that Python renders, with jinja2: they come with models from anywhere.

jinja2's sandbox keeps a template away from everything but its variables. Here it gets limits too:
what a template makes is counted, and the clock is looked at wherever it may go round.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import update_wrapper
from typing import Any, Final, NoReturn

from jinja2 import (
    TemplateError,
    TemplateSyntaxError,
    filters,
    nodes,
    pass_context,
    pass_eval_context,
)
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from ..errors import ChatTemplateError, InvalidArgumentError
from . import sandbox_limits as limits
from .sandbox_limits import Budget, budget

_SECONDS: Final = 10.0
_SOURCE_MAX: Final = 1 << 18
_FORMAT_MAX: Final = 1000
_REASON_MAX: Final = 1000
_LINE_MAX: Final = 80


class ChatTemplate:
    """A chat template in Jinja.

    Args:
        source: The template. One that does not parse raises when it is rendered.
        seconds: How long rendering it may take.
    """

    def __init__(self, source: str, *, seconds: float = _SECONDS) -> None:
        self.source = source
        self._seconds = seconds
        self._compiled: Any = None

    def render(self, /, **variables: Any) -> str:
        """Render the template.

        Args:
            **variables: What its names stand for.

        Returns:
            The text.

        Raises:
            ChatTemplateError: It does not parse, fails, takes too long or makes too much. The
                message has the line.
        """
        token = budget.set(Budget(self._seconds))
        try:
            if self._compiled is None:
                if len(self.source) > _SOURCE_MAX:
                    raise TemplateError(f"it has more than {_SOURCE_MAX} characters")
                self._compiled = _ENVIRONMENT.from_string(self.source)
            text: str = self._compiled.render(variables)
            return text
        except Exception as error:
            explained = self._explained(error)
            error.__traceback__ = None  # it keeps all that the template has made
            raise ChatTemplateError(explained) from None
        finally:
            budget.reset(token)

    def _explained(self, error: Exception) -> str:
        if isinstance(error, TemplateSyntaxError):
            reason, line = error.message or "", error.lineno
        else:
            reason, line = str(error), _line_of_template(error)
        reason = (reason or type(error).__name__)[:_REASON_MAX]
        message = f"the chat template cannot be rendered: {reason}"
        lines = self.source.splitlines()
        if not 0 < line <= len(lines):
            return message
        return f"{message} (line {line}: {lines[line - 1].strip()[:_LINE_MAX]})"


def syntax_error(source: str) -> str | None:
    """Say what is wrong with how a template is written, and in which line.

    Args:
        source: The template.

    Returns:
        None if jinja2 finds nothing wrong.
    """
    if len(source) <= _SOURCE_MAX:
        try:
            _ENVIRONMENT.parse(source)
        except (TemplateSyntaxError, RecursionError) as error:
            return ChatTemplate(source)._explained(error)
    return None


def strftime_now(format: str) -> str:  # noqa: A002 - as templates name it
    """Return the present local time.

    Args:
        format: As ``strftime`` has it.

    Raises:
        InvalidArgumentError: It is much too long.
    """
    if len(format) > _FORMAT_MAX:
        raise InvalidArgumentError(
            f"a time format has {len(format)} characters, at most {_FORMAT_MAX} go"
        )
    return datetime.now().strftime(format)


def tojson(
    x: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write a value as JSON, without jinja2's HTML escapes; the arguments are ``json.dumps``'s."""
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _line_of_template(error: BaseException) -> int:
    """The innermost line of the template in a traceback, 0 without one."""
    line, step = 0, error.__traceback__
    while step is not None:
        if (template := step.tb_frame.f_globals.get("__jinja_template__")) is not None:
            line = template.get_corresponding_lineno(step.tb_lineno)
        step = step.tb_next
    return line


@pass_context  # jinja2 would compute constant expressions while it compiles otherwise
def _printed(context: Context, value: Any) -> str:
    """The text of an expression between ``{{`` and ``}}``."""
    now = budget.get()
    now.size(value)
    return str(now.made(str(value)))


def _limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is counted."""
    check = limits.FILTERS.get(name)
    first = int(hasattr(function, "jinja_pass_arg"))

    def limited(*args: Any, **kwargs: Any) -> Any:
        if check is not None:
            check(*args[first:], *kwargs.values())
        return budget.get().made(function(*args, **kwargs))

    return update_wrapper(limited, function)


@pass_eval_context
def _joined(context: nodes.EvalContext, value: Any, d: str = "", attribute: Any = None) -> Any:
    """jinja2's filter, but that it knows how many items there are before it joins them."""
    items = budget.get().made(list(value))
    limits.check_joined(d, items)
    return filters.do_join(context, items, d, attribute)


class _Namespace(Namespace):
    """It prints nothing of what it holds, which may be itself."""

    def __repr__(self) -> str:
        return "<namespace>"


class _Generation(Extension):
    """``{% generation %}`` marks what a model wrote, for its training: here it is its body."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Limits(NodeTransformer):
    """Looks at the clock wherever a template may go round or compares, and counts what it makes."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        if node.test is not None:
            node.test = nodes.And(_clock(node), node.test, lineno=node.lineno)
        return self._with_clock(node)

    def _with_clock(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_clock(node), lineno=node.lineno))
        return _node(node)

    visit_Macro = visit_CallBlock = visit_Block = _with_clock  # noqa: N815

    def _after_clock(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return nodes.And(_clock(node), node, lineno=node.lineno)

    visit_Compare = visit_Test = _after_clock  # noqa: N815

    def _counted(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        is_target = getattr(node, "ctx", "load") != "load"
        return _node(node) if is_target else _filtered(node, "{literal}")

    visit_List = visit_Tuple = visit_Dict = _counted  # noqa: N815

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        is_slice = isinstance(node.arg, nodes.Slice)
        return self._counted(node) if is_slice else self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "{concat}")


def _clock(node: nodes.Node) -> nodes.Expr:
    return nodes.EnvironmentAttribute("clock", lineno=node.lineno)


def _filtered(node: nodes.Expr, name: str) -> nodes.Expr:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _node(node: Any) -> nodes.Node:
    assert isinstance(node, nodes.Node)
    return node


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=_printed,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        del self.globals["lipsum"]
        self.globals.update(
            namespace=_Namespace, raise_exception=_raise_exception, strftime_now=strftime_now
        )
        functions = {**self.filters, "join": _joined, "tojson": tojson}
        self.filters = {
            name: _limited(name, function)
            for name, function in functions.items()
            if name not in limits.FILTERS_LEFT_OUT
        }
        # No template can write these names.
        self.filters["{literal}"] = lambda value: budget.get().made(value)
        self.filters["{concat}"] = self._concatenated

    @property
    def clock(self) -> bool:
        """Always true, but too late it raises."""
        budget.get().tick()
        return True

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        _Limits().visit(template)
        template.set_environment(self)
        return template

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Leave tracebacks as they are; jinja2 would put them into a reference cycle."""
        raise

    def concat(self, parts: Iterable[str]) -> str:
        """The text of a template, a macro or a block."""
        return "".join(self._charged(parts))

    @staticmethod
    def _charged(parts: Iterable[str]) -> Iterator[str]:
        now = budget.get()
        for part in parts:
            now.charge(len(part))
            yield part

    @staticmethod
    def _concatenated(parts: list[Any]) -> str:
        now = budget.get()
        now.room(now.size(parts))
        return str(now.made("".join(map(str, parts))))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | int) and attr in limits.METHODS_LEFT_OUT:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        function = super().wrap_str_format(value)
        if function is None:
            return None

        def limited(*args: Any, **kwargs: Any) -> str:
            limits.check_braces(value.__self__, *args, *kwargs.values())
            return function(*args, **kwargs)

        return limited

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        limits.check_operation(operator, left, right)
        return budget.get().made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str) and (check := limits.METHODS.get(obj.__name__)) is not None:
            check(owner, *args)
        return budget.get().made(super().call(context, obj, *args, **kwargs))


_ENVIRONMENT: Final = _Environment()
