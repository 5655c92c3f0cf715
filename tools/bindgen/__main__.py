"""Write the generated bindings, or check that the ones in the tree are up to date."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from .generate import differing, generate
from .headers import ROOT
from .unit import BindgenError

_SHOWN_LINES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the generator; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.bindgen", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if anything would change"
    )
    options = parser.parse_args(arguments)
    try:
        output = generate()
    except BindgenError as error:
        print(f"bindgen: {error}", file=sys.stderr)
        return 1
    changed = list(differing(output.files))
    for path in changed:
        if options.check:
            _show_difference(path, output.files[path])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(output.files[path], encoding="utf-8", newline="\n")
            print(f"wrote {path.relative_to(ROOT)}")
    print(output.summary())
    return 1 if output.unlisted or (options.check and changed) else 0


def _show_difference(path: Path, text: str) -> None:
    old = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    name = str(path.relative_to(ROOT))
    lines = list(difflib.unified_diff(old, text.splitlines(), name, "generated now", lineterm=""))
    print("\n".join(lines[:_SHOWN_LINES]))
    if len(lines) > _SHOWN_LINES:
        print(f"... and {len(lines) - _SHOWN_LINES} more lines of differences in {name}")


if __name__ == "__main__":
    sys.exit(main())
