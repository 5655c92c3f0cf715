"""``MtpContext``: decoding with a model's head for multi-token prediction (MTP)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from ..errors import DecodeError, InvalidArgumentError
from ..native.backend import bridge
from .context import Context

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class MtpContext(Context):
    """The memory of a head that predicts the token after next from a token and the state before it.

    The target's decodes keep their hidden states from now on.

    Args:
        target: What decodes with the layers of the model.

    Raises:
        InvalidArgumentError: The model has no such head, or the target pools its states.
        ContextError: The context cannot be created.
        OutOfMemoryError: It does not fit into memory.
    """

    def __init__(self, target: Context) -> None:
        if target.pooling_type != raw.LLAMA_POOLING_TYPE_NONE:
            raise InvalidArgumentError("multi-token prediction needs a context that does not pool")
        params = type(target.params).from_buffer_copy(target.params)
        params.ctx_type = raw.LLAMA_CONTEXT_TYPE_MTP
        params.n_batch = params.n_ubatch = min(target.n_batch, target.n_ubatch)
        params.n_outputs_max = params.n_seq_max
        params.n_rs_seq = 0
        params.embeddings = False
        params.swa_full = True
        super().__init__(target.model, params, poll=target.poll)
        give = bridge("bridge_give_hidden_states")
        target.call(give, False)
        self.call(give, True)


def hidden_states(context: Context, count: int) -> npt.NDArray[np.float32]:
    """A copy of the states after the entries of the last decode, or after its outputs in a head's.

    Args:
        context: An ``MtpContext`` or its target.
        count: How many there are.

    Returns:
        Shape (count, n_embd_out).

    Raises:
        DecodeError: The last decode gave none.
    """
    import numpy as np

    pointer = context.acquire()
    try:
        rows = bridge("bridge_hidden_states")(pointer)
        if not rows:
            raise DecodeError("the last decode gave no hidden states")
        shape = (count, context.model.n_embd_out)
        copied: npt.NDArray[np.float32] = np.ctypeslib.as_array(rows, shape).copy()
        return copied
    finally:
        context.release()
