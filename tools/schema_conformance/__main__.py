"""Prints how many verdicts of the test suite are right: FOLDER is its folder ``tests``."""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_cpp.errors import GrammarError

from .readers import Reader, gbnf, llguidance_alone, ours, spellings
from .suite import DRAFTS, Case, cases

READERS: dict[str, Callable[[Any], Reader]] = {
    "here": ours, "llguidance alone": llguidance_alone, "GBNF converter": gbnf,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the suite's folder `tests`")
    parser.add_argument("--wrong", action="store_true", help="print each wrong verdict of `here`")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| | schemas | taken | instances | right | wrongly accepted | wrongly refused |")
    print("|---|---|---|---|---|---|---|")
    for draft in DRAFTS:
        found = list(cases(arguments.folder, draft))
        for name, make in READERS.items():
            told, counts = verdicts(found, make)
            n_schemas = counts["taken"] + counts["refused"]
            print(
                f"| {draft}, {name} | {n_schemas} | {counts['taken']} | {len(told)} "
                f"| {counts['right']} | {counts['accepted']} | {counts['lost']} |"
            )
            if arguments.wrong and name == "here":
                for case, accepted in told:
                    if accepted != case.is_valid:
                        print(f"{'accepts' if accepted else 'refuses'} {case.name}")


def verdicts(
    found: list[Case], make: Callable[[Any], Reader]
) -> tuple[list[tuple[Case, bool]], Counter[str]]:
    """Have each instance read.

    Args:
        found: The cases.
        make: Makes a reader of a schema; a schema that it refuses counts as one that accepts
            nothing.

    Returns:
        The verdict of each case, and counts of schemas and of verdicts.
    """
    counts: Counter[str] = Counter()
    readers: dict[str, Reader | None] = {}
    told: list[tuple[Case, bool]] = []
    for case in found:
        key = json.dumps(case.schema)
        if key not in readers:
            try:
                readers[key] = make(case.schema)
            except (GrammarError, ValueError):
                readers[key] = None
            counts["taken" if readers[key] else "refused"] += 1
        reader = readers[key]
        accepted = reader is not None and any(map(reader, spellings(case.instance)))
        told.append((case, accepted))
        right = accepted == case.is_valid
        counts["right" if right else "accepted" if accepted else "lost"] += 1
    return told, counts


if __name__ == "__main__":
    main()
