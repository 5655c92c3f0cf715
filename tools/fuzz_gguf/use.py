"""Does with a file what programs do. As a process, it answers each path of stdin with a line."""

from __future__ import annotations

import base64
import json
import sys

from llama_cpp.errors import LlamaError
from llama_cpp.handles import Batch, Context, LoraAdapter, Model
from llama_cpp.handles.media import MediaProjector, interleave
from llama_cpp.handles.media_chunk import MediaChunk
from llama_cpp.llama import Llama

TEXT = b"Hello <|im_start|> \xc3\xa9 wo\xf0\x9f\x99\x82rld 123\n"
# A GIF and a WAV: a dot, and a tenth of a second of silence.
_IMAGE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==")
_SOUND = (
    b"RIFF\xa4\x0c\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\x80\x0c\0\0"
    + bytes(3200)
)


def use_model(path: str) -> None:
    """Open it, and write, chat, embed and go on from a state."""
    with Llama(path, n_ctx=256, n_batch=64, n_threads=2, verbose=False) as llm:
        llm.detokenize(llm.tokenize(TEXT, special=True))
        llm("Once upon a time", max_tokens=4, temperature=0, logprobs=1)
        llm.create_chat_completion([{"role": "user", "content": "Hi"}], max_tokens=4)
        llm.load_state(llm.save_state())
        llm.embed("Hello")


def use_adapter(path: str, base: str) -> None:
    """Load a LoRA adapter for a model, and decode with it."""
    with Model(base) as model, LoraAdapter(model, path) as adapter, Context(model) as context:
        context.set_adapters([(adapter, 1.0)])
        batch = Batch(4)
        batch.add_sequence([5] * 4)
        context.decode(batch)


def use_projector(path: str, base: str) -> None:
    """Load a projector for a model, and encode an image or a sound with it."""
    with Model(base) as model, MediaProjector(model, path, n_threads=2) as projector:
        bitmap = projector.read(_IMAGE if projector.sees else _SOUND)
        for part in projector.tokenize(interleave("What? <__media__>", [bitmap])):
            if isinstance(part, MediaChunk):
                projector.encode(part)


def outcome_of(path: str, kind: str = "model", base: str = "") -> str:
    """Say what became of it: ``used``, or what exception refused it."""
    try:
        if kind == "model":
            use_model(path)
        else:
            (use_adapter if kind == "adapter" else use_projector)(path, base)
    except LlamaError as error:
        return f"refused: {type(error).__name__}"
    except Exception as error:
        return f"UNEXPECTED {type(error).__name__}: {error}"[:300]
    return "used"


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(outcome_of(line.strip(), *sys.argv[1:])), flush=True)
