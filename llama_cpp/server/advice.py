"""What errors of the library say to who is at the other end of a connection.

The library advises who calls it in Python. A client cannot make another ``Llama``: it can send
something else, or have the server set up otherwise.
"""

from __future__ import annotations

import re

from ..errors import LlamaError

_SERVER = "start the server with"

_TOLD = tuple(
    (re.compile(pattern), told)
    for pattern, told in (
        ("create the model with a larger n_ctx", f"{_SERVER} a larger n_ctx"),
        (r"create (the model|it) with n_ctx(, n_batch and n_ubatch of |=)(\d+) or more",
         rf"{_SERVER} n_ctx\2\3 or more"),
        ("or cut it with truncate=True", 'or send "truncate": true'),
        ("remove or shorten a sequence, split the batch, or create a larger context",
         f"try again when others are done, or {_SERVER} a larger n_ctx"),
        (r"give Llama\(chat_handler=MTMDChatHandler\(clip_model_path=\.\.\.\)\)",
         f"{_SERVER} clip_model_path, the projector of the model"),
        (r"this \w+ has no projector: create it with clip_model_path",
         f"there is no projector: {_SERVER} clip_model_path"),
        (", or create the handler with allow_files=True", ""),
        ("create the handler with allow_remote=True", f"{_SERVER} allow_media_urls"),
        (r"\bload_lora\(name, path\) loads one", "lora_adapters of the server's settings has them"),
        ("does not continue texts: use embed", "does not continue texts: use /v1/embeddings"),
        ("to give: load one for", "to give: ask one for"),
        ("this Llama has only a vocabulary", "this model is loaded as a vocabulary only"),
        (r" \(vocab_only=True\)(: it can tokenize and nothing else), and has no .*", r"\1"),
        ("the model is closed: create a new Llama", "the model was unloaded: try again"),
        (r"^this \w+ is closed: .*", "the model was unloaded: try again"),
        (r"Raise params\.n_ubatch or shorten the text",
         f"Shorten the text, or {_SERVER} a larger n_ubatch"),
        (r"\blogprobs=True", '"logprobs": true'),
        ("call with add_special=False", 'send "add_special": false'),
        ("must be a LlamaGrammar, or rules as a text", "must be a text of rules"),
        ("the native log", "the server's log"),
        # Where the server has its files is nobody's business.
        (r"^.* (takes (images|sounds) only)", r"the model \1"),
        (r"(^the sound lasts [\d.]+ seconds: ).* (takes [\d.]+ to)", r"\1the model \2"),
    )
)  # fmt: skip


def for_client(error: LlamaError) -> str:
    """The message of an error, with advice for clients and operators of a server.

    What the native code logged is left out: it is about the server.
    """
    message = error.message
    for pattern, told in _TOLD:
        message = pattern.sub(told, message)
    return message
