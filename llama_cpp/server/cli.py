"""The command line of the server."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import types
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .. import __version__
from ..errors import LlamaError
from .config_file import ConfigFile
from .environment import PREFIX, config_file_path
from .logs import configure_logging
from .settings import ConfigFileSettings, ModelSettings, ServerSettings, Settings
from .wrong_settings import explained, with_origin

T = TypeVar("T", bound=type[BaseModel])

__all__ = ["T", "add_args_from_model", "main", "parse_model_from_args"]


def _scalar(annotation: Any) -> Any:
    """What a value on the command line is made to: the simplest type that the field takes."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return str if len(kinds) > 1 else _scalar(kinds[0])
    if origin is list:
        return _scalar(get_args(annotation)[0])
    if origin is dict:
        return json.loads
    return annotation if annotation in (int, float, str, bool) else str


def _flag(text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "on", "t", "y"):
        return True
    if text.lower() in ("false", "0", "no", "off", "f", "n"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} must be true or false")


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(
        get_origin(kind) is list for kind in get_args(annotation)
    )


def _help(field: FieldInfo) -> str:
    default = "" if field.default in (None, "", [], PydanticUndefined) else f" ({field.default})"
    return (field.description or "") + default


def add_args_from_model(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """Add a flag for each field of a settings class.

    Args:
        parser: Gets them; names that it has already are left alone.
        model: The class.
    """
    for name, field in model.model_fields.items():
        options = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        kind = _scalar(field.annotation)
        with suppress(argparse.ArgumentError):  # it has a flag of that name
            parser.add_argument(
                *options,
                dest=name,
                type=_flag if kind is bool else kind,
                nargs="*" if _is_list(field.annotation) else ("?" if kind is bool else None),
                const=True if kind is bool else None,
                default=argparse.SUPPRESS,
                help=_help(field).replace("%", "%%"),
                metavar="JSON" if kind is json.loads else kind.__name__.upper(),
            )


def parse_model_from_args(model: type[BaseModel], args: argparse.Namespace) -> Any:
    """Make settings of the flags that were given.

    Args:
        model: The settings class.
        args: What the parser returned.

    Raises:
        ValidationError: A value is out of range.
    """
    given = {name: value for name, value in vars(args).items() if name in model.model_fields}
    return model(**{name: value for name, value in given.items() if value is not None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop.

    Args:
        arguments: Those of the command line; None takes the process's.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m llama_cpp.server",
        usage="%(prog)s --model MODEL [--SETTING VALUE ...], or --help for all settings",
        allow_abbrev=False,  # a misspelt setting must not be another one
        description="Serve models in OpenAI's wire format. Each setting is a flag, an environment "
        f"variable ({PREFIX}N_CTX for --n_ctx; without the prefix too, where llama-cpp-python has "
        "the setting), or an entry of the file of configuration.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config_file", "--config-file", help="A file of settings: JSON or YAML.")
    add_args_from_model(parser, Settings)
    given = parser.parse_args(arguments)
    configure_logging()
    # Of the engine, verbose says how much is logged.
    logging.getLogger("llama_cpp.server").setLevel(logging.INFO)
    try:
        server, models = _settings(given)
        configure_logging(server.log_format)
        from .serve import serve

        serve(server, models)
    except ValidationError as error:
        parser.print_usage(sys.stderr)
        for problem in explained(error, Settings.model_fields, _flags(given)):
            sys.stderr.write(f"{parser.prog}: error: {problem}\n")
        return 2
    except (LlamaError, OSError) as error:
        message = with_origin(str(error), _flags(given), _config_file(given))
        sys.stderr.write(f"{parser.prog}: error: {message}\n")
        return 1
    except KeyboardInterrupt:  # before it served, or twice
        return 130
    return 0


def _flags(given: argparse.Namespace) -> dict[str, Any]:
    flags = {name: value for name, value in vars(given).items() if value is not None}
    flags.pop("config_file", None)
    return flags


def _config_file(given: argparse.Namespace) -> ConfigFile | None:
    """The file of settings, if there is one and it can be read."""
    path = config_file_path(given.config_file)
    with suppress(LlamaError):
        return None if path is None else ConfigFile(path)
    return None


def _settings(given: argparse.Namespace) -> tuple[ServerSettings, list[ModelSettings]]:
    path = config_file_path(given.config_file)
    if path is not None:
        config = ConfigFileSettings.from_file(path, _flags(given))
        return config, config.models
    return parse_model_from_args(ServerSettings, given), [
        parse_model_from_args(ModelSettings, given)
    ]
