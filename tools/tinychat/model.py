"""The network that is trained: llama's architecture in plain PyTorch.

It computes what llama.cpp computes for the architecture "llama", so that the weights move into a
GGUF file as they are: RMSNorm before each half of a block, rotary positions on neighbouring pairs,
grouped-query attention, SwiGLU, and the embedding again as the output head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor, nn

from tools.tinychat.export import Shape

__all__ = ["Llama", "Shape"]

# Attention goes through the queries in blocks: what lies after a block is then never computed, and
# its scores stay in the cache.
_QUERY_BLOCK = 128


class Llama(nn.Module):
    """The network. The weights of all blocks are stacked: `model.q[i]` belongs to block i.

    Args:
        shape: Its hyperparameters.
        dtype: What matrix products are computed in; the weights and the residual stream stay
            float32.
        compiled: Whether what happens between the products is compiled. It takes some seconds
            once; norms, rotations and gates then take a quarter of their time.
    """

    def __init__(
        self, shape: Shape, *, dtype: torch.dtype = torch.float32, compiled: bool = False
    ) -> None:
        super().__init__()
        self.shape = shape
        self.dtype = dtype
        width, kv = shape.n_embd, shape.n_head_kv * shape.n_head_dim
        layers, wide = shape.n_layer, shape.n_ff
        # What adds to the residual stream starts smaller, the deeper the network (GPT-2).
        small = 1 / math.sqrt(2 * layers)
        self.embedding = nn.Parameter(torch.randn(shape.n_vocab, width) * 0.02)
        self.q = _matrices(layers, width, width)
        self.k = _matrices(layers, kv, width)
        self.v = _matrices(layers, kv, width)
        self.o = _matrices(layers, width, width, small)
        self.gate = _matrices(layers, wide, width)
        self.up = _matrices(layers, wide, width)
        self.down = _matrices(layers, width, wide, small)
        self.attention_norm = nn.Parameter(torch.ones(layers, width))
        self.ffn_norm = nn.Parameter(torch.ones(layers, width))
        self.final_norm = nn.Parameter(torch.ones(width))
        self._norm = _maybe_compiled(_norm, compiled)
        self._rotate = _maybe_compiled(_rotate, compiled)
        self._gated = _maybe_compiled(_gated, compiled)

    def hidden(self, tokens: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return what the head sees for tokens [batch, time]: [batch * time, n_embd].

        Args:
            tokens: Their ids.
            rows: Which of the batch * time are wanted; None wants all.
        """
        shape, eps = self.shape, self.shape.norm_eps
        batch, time = tokens.shape
        heads = shape.n_head + 2 * shape.n_head_kv
        cos, sin = _turns(shape, time, tokens.device)
        qkv, o, gate_up, down = self._products()
        x = F.embedding(tokens.flatten(), self.embedding)
        for i in range(shape.n_layer):
            h = self._norm(x, self.attention_norm[i], eps, self.dtype)
            projected = F.linear(h, qkv[i]).view(batch, time, heads, shape.n_head_dim)
            rotated = self._rotate(projected[:, :, : -shape.n_head_kv], cos, sin)
            y = _Attention.apply(
                rotated[:, :, : shape.n_head],
                rotated[:, :, shape.n_head :],
                projected[:, :, -shape.n_head_kv :],
            )
            y = y.view(batch * time, -1)
            if rows is not None and i == shape.n_layer - 1:  # no later block needs the others
                x, y = x.index_select(0, rows), y.index_select(0, rows)
            x = x + F.linear(y, o[i])
            h = self._norm(x, self.ffn_norm[i], eps, self.dtype)
            x = x + F.linear(self._gated(F.linear(h, gate_up[i])), down[i])
        return self._norm(x, self.final_norm, eps, self.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of rows of `hidden`: [rows, n_vocab]."""
        return F.linear(hidden, self.embedding.to(self.dtype))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of tokens [batch, time]: [batch, time, n_vocab]."""
        return self.logits(self.hidden(tokens)).view(*tokens.shape, -1)

    def _products(self) -> tuple[tuple[Tensor, ...], ...]:
        # Per block, the matrices as they are multiplied: in the fast type, those with the same
        # input joined. Rotary pairs are neighbours in the weights, as llama.cpp wants them, and
        # half a head apart here, where they are cheaper to turn: scores do not see the order.
        halves = torch.arange(self.shape.n_head_dim, device=self.q.device).view(-1, 2).t().flatten()
        scale = self.shape.n_head_dim**-0.5

        def halved(weights: Tensor) -> Tensor:
            return weights.unflatten(1, (-1, halves.numel()))[:, :, halves].flatten(1, 2)

        joined = torch.cat((halved(self.q) * scale, halved(self.k), self.v), 1)
        gate_up = torch.cat((self.gate, self.up), 1)
        return tuple(w.to(self.dtype).unbind() for w in (joined, self.o, gate_up, self.down))


def _matrices(layers: int, rows: int, columns: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(layers, rows, columns) * (scale / math.sqrt(columns)))


def _maybe_compiled(function: Callable[..., Tensor], compiled: bool) -> Callable[..., Tensor]:
    return torch.compile(function) if compiled else function


def _norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight).to(dtype)


def _gated(x: Tensor) -> Tensor:
    gate, up = x.float().chunk(2, -1)
    return (F.silu(gate) * up).to(x.dtype)


def _turns(shape: Shape, time: int, device: torch.device) -> tuple[Tensor, Tensor]:
    pairs = torch.arange(0, shape.n_head_dim, 2, device=device)
    positions = torch.arange(time, device=device, dtype=torch.float32)
    angles = torch.outer(positions, shape.rope_base ** (-pairs / shape.n_head_dim))[:, None]
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)


class _Attention(torch.autograd.Function):
    """Causal grouped-query attention; q: [batch, time, heads, dim] holds the scale already."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, time, heads, dim = q.shape
        groups = heads // k.shape[2]
        # Heads that share keys become neighbouring rows of one matrix: [batch * kv, time * group].
        q = q.view(batch, time, -1, groups, dim).transpose(1, 2).reshape(-1, time * groups, dim)
        k, v = (x.transpose(1, 2).reshape(-1, time, dim) for x in (k, v))
        out = torch.empty_like(q)
        kept = []
        for start in range(0, time, _QUERY_BLOCK):
            stop = min(start + _QUERY_BLOCK, time)
            rows = slice(start * groups, stop * groups)
            scores = q[:, rows] @ k[:, :stop].transpose(1, 2)
            scores[:, :, start:] += _future(stop - start, groups, scores)
            kept.append(scores.softmax(-1))
            out[:, rows] = kept[-1] @ v[:, :stop]
        ctx.save_for_backward(q, k, v, *kept)
        ctx.groups = groups
        return _tokens_first(out, batch, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, *kept = ctx.saved_tensors
        groups, (batch, time) = ctx.groups, grad.shape[:2]
        dim = q.shape[-1]
        grad = grad.view(batch, time, -1, groups, dim).transpose(1, 2).reshape(q.shape)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for probabilities, start in zip(kept, range(0, time, _QUERY_BLOCK), strict=True):
            stop = min(start + _QUERY_BLOCK, time)
            rows = slice(start * groups, stop * groups)
            grad_v[:, :stop] += probabilities.transpose(1, 2) @ grad[:, rows]
            grad_p = grad[:, rows] @ v[:, :stop].transpose(1, 2)
            grad_s = torch._softmax_backward_data(grad_p, probabilities, -1, grad_p.dtype)
            grad_q[:, rows] = grad_s @ k[:, :stop]
            grad_k[:, :stop] += grad_s.transpose(1, 2) @ q[:, rows]
        return (
            _tokens_first(grad_q, batch, groups),
            _tokens_first(grad_k, batch, 1),
            _tokens_first(grad_v, batch, 1),
        )


def _future(length: int, groups: int, like: Tensor) -> Tensor:
    hidden = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
    return hidden.triu(1).repeat_interleave(groups, 0)


def _tokens_first(x: Tensor, batch: int, groups: int) -> Tensor:
    # [batch * kv, time * group, dim] -> [batch, time, heads, dim]
    time, dim = x.shape[1] // groups, x.shape[2]
    return x.view(batch, -1, time, groups, dim).transpose(1, 2).reshape(batch, time, -1, dim)
