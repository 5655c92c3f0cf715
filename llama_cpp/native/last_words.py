"""What the log gets when an assertion of the engine ends the process."""

from __future__ import annotations

import atexit
import faulthandler
import tempfile
from typing import Any

from .generated.bridge import bridge_last_words
from .logs import logger


@bridge_last_words
def log_last_words(assertion: bytes) -> None:
    """Log the assertion and where every thread of Python is."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        stacks = file.read().decode("utf-8", "replace")
    logger.critical(
        "the engine ends the process: %s\n%s", assertion.decode("utf-8", "replace"), stacks
    )


def keep_silent_at_exit(catch_assertions: Any) -> None:
    """Have no Python called any more when the interpreter is gone."""
    atexit.register(catch_assertions, bridge_last_words(0))
