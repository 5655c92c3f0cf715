"""``python -m tools.fuzz_gguf MODEL...``: open files that lie, and count what becomes of it.

Every case runs in a process of its own, together with others until one ends it. A file may be
refused with an exception of the package, or opened and used; it must not end the process, hang it,
or raise anything else. The files that did are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

from llama_cpp.errors import LlamaError
from llama_cpp.llama import Llama

from .lies import Liar, Lie, drawn

_TIME_LIMIT_S = 60
_CHILD = (sys.executable, "-X", "faulthandler", "-m", "tools.fuzz_gguf", "--child")


def use(path: str) -> None:
    """Do with a model what programs do."""
    with Llama(path, n_ctx=256, n_batch=64, n_threads=2, verbose=False) as llm:
        tokens = llm.tokenize(
            b"Hello <|im_start|> \xc3\xa9 wo\xf0\x9f\x99\x82rld 123\n", special=True
        )
        llm.detokenize(tokens)
        llm("Once upon a time", max_tokens=4, temperature=0, logprobs=1)
        llm.create_chat_completion([{"role": "user", "content": "Hi"}], max_tokens=4)
        llm.load_state(llm.save_state())
        llm.embed("Hello")


def outcome_of(path: str) -> str:
    try:
        use(path)
    except LlamaError as error:
        return f"refused: {type(error).__name__}"
    except Exception as error:
        return f"UNEXPECTED {type(error).__name__}: {error}"[:300]
    return "used"


def child() -> None:
    """Answer each path of stdin with a line."""
    for line in sys.stdin:
        print(json.dumps(outcome_of(line.strip())), flush=True)


class Child:
    """The process that opens the files."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            _CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )  # fmt: skip

    def outcome(self, path: Path) -> str:
        """What became of it; a process that ended is replaced."""
        assert self._process.stdin
        assert self._process.stdout
        alarm = subprocess.Popen(
            ["sh", "-c", f"sleep {_TIME_LIMIT_S}; kill -ABRT {self._process.pid}"]
        )
        try:
            print(path, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late = alarm.poll() is not None
            alarm.kill()
            alarm.wait()
        if line:
            return str(json.loads(line))
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace")
        self.close()
        self._start()
        return f"ENDED {'late' if late else code}: {said[:2000]}"

    def close(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError), self._process:  # closes its pipes
            self._errors.close()


def fuzz(path: Path, count: int, seed: int, kept: Path) -> Counter[str]:
    """Open ``count`` files that lie about ``path``; those that do harm are kept."""
    counts: Counter[str] = Counter()
    process = Child()
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    ) as folder:
        liar, target = Liar(path), Path(folder, "lie.gguf")
        for number, lies in enumerate(drawn(liar, count, seed)):
            liar.write(target, *lies)
            outcome = process.outcome(target)
            counts[outcome.partition(":")[0] if outcome[0] in "EU" else outcome] += 1
            if outcome[0] in "EU":
                keep(kept, target, f"{path.stem}-{seed}-{number}", lies, outcome)
    process.close()
    return counts


def keep(folder: Path, file: Path, name: str, lies: tuple[Lie, ...], outcome: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / f"{name}.gguf")
    told = "; ".join(lie.name for lie in lies)
    (folder / f"{name}.txt").write_text(f"{told}\n{outcome}\n", encoding="utf-8")
    sys.stderr.write(f"{name}: {told}: {outcome[:300]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_gguf", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="files for each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "lying-files")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child()
        return
    total: Counter[str] = Counter()
    for path in options.models:
        total += fuzz(path, options.count, options.seed, options.keep)
    for outcome, count in total.most_common():
        print(f"{count:6} {outcome}")


if __name__ == "__main__":
    main()
