"""``python -m tools.fuzz_gguf MODEL...``: open files that lie, and count what becomes of it.

Every case runs in a process of its own, together with others until one ends it. A file may be
refused with an exception of the package, or opened and used; it must not end the process, hang it,
or raise anything else. The files that did are kept. Adapters and projectors need the model they are
for: ``--kind adapter --base MODEL``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from .lies import Liar, Lie, drawn

_TIME_LIMIT_S = 60
_MEMORY = Path("/dev/shm")


class Child:
    """The process that opens the files.

    Args:
        kind: "model", "adapter" or "projector".
        base: The model that an adapter or a projector is for.
    """

    def __init__(self, kind: str = "model", base: str = "") -> None:
        self._command = [
            sys.executable, "-X", "faulthandler", "-m", "tools.fuzz_gguf.use", kind, base,
        ]  # fmt: skip
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )  # fmt: skip

    def outcome(self, path: Path) -> str:
        """Say what became of a file; a process that ended is replaced."""
        assert self._process.stdin
        assert self._process.stdout
        alarm = threading.Timer(_TIME_LIMIT_S, self._process.kill)
        alarm.start()
        line = ""
        with suppress(BrokenPipeError):
            print(path, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        is_late = not alarm.is_alive()
        alarm.cancel()
        if line:
            return str(json.loads(line))
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace")
        self.close()
        self._start()
        return f"ENDED {'late' if is_late else code}: {said[:2000]}"

    def close(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError), self._process:  # closes its pipes
            self._errors.close()


def fuzz(path: Path, process: Child, count: int, seed: int, kept: Path) -> Counter[str]:
    """Open ``count`` files that lie about ``path``; those that do harm are kept."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        liar, target = Liar(path), Path(folder, "lie.gguf")
        for number, lies in enumerate(drawn(liar, count, seed)):
            liar.write(target, *lies)
            outcome = process.outcome(target)
            is_harm = not outcome.startswith(("used", "refused"))
            counts[outcome.partition(":")[0] if is_harm else outcome] += 1
            if is_harm:
                keep(kept, target, f"{path.stem}-{seed}-{number}", lies, outcome)
    return counts


def keep(folder: Path, file: Path, name: str, lies: tuple[Lie, ...], outcome: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / f"{name}.gguf")
    told = "; ".join(lie.name for lie in lies)
    (folder / f"{name}.txt").write_text(f"{told}\n{outcome}\n", encoding="utf-8")
    sys.stderr.write(f"{name}: {told}: {outcome[:300]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_gguf", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--kind", choices=("model", "adapter", "projector"), default="model")
    parser.add_argument("--base", default="", help="the model that they are for")
    parser.add_argument("--count", type=int, default=1000, help="files for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "lying-files")
    options = parser.parse_args()
    process = Child(options.kind, options.base)
    total: Counter[str] = Counter()
    for path in options.files:
        total += fuzz(path, process, options.count, options.seed, options.keep)
    process.close()
    for outcome, count in total.most_common():
        print(f"{count:6} {outcome}")


if __name__ == "__main__":
    main()
