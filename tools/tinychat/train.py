"""Training: documents to weights, on one machine, repeatable for a seed."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from tools.tinychat.model import Llama, Shape

Weights: TypeAlias = dict[str, npt.NDArray[np.float32]]
"""Arrays by the names of `Llama`'s parameters."""

__all__ = ["Corpus", "Muon", "TrainSettings", "main", "train"]

logger = logging.getLogger(__name__)

# Batches are filled with documents of like length out of so many batches' worth of random ones.
_POOL = 50


@dataclass(frozen=True)
class Corpus:
    """Tokenized documents, one after the other.

    Attributes:
        tokens: Of all documents, each from its BOS to its end token.
        weights: Per token 1 if predicting it counts in the loss, else 0.
        offsets: Where each document starts, and where the last one ends.
    """

    tokens: npt.NDArray[np.uint16]
    weights: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def load(cls, path: Path) -> Corpus:
        """Read what `python -m tools.tinychat corpus` wrote."""
        with np.load(path) as arrays:
            return cls(arrays["tokens"], arrays["weights"], arrays["offsets"])

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.offsets) - 1


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
        epochs: Passes over the corpus, each in an order of its own.
        batch_tokens: Tokens per batch, padding included. The documents of a batch are of like
            length, and so of like kind.
        n_batches: Batches per step. With several of them a step sees a mixture of kinds.
        matrix_lr: Peak learning rate of Muon, for the matrices of the blocks.
        other_lr: Peak learning rate of AdamW, for the embedding and the norms.
        weight_decay: Of the matrices of the blocks, decoupled.
        warmup: Steps in which the learning rates rise from 0.
        decay: Share of the steps, the last ones, in which they fall to 0 again.
        stop: Share of the steps after which to stop.
        clip: Largest norm of all gradients together.
        seed: Of the initial weights and of the order of the documents.
        log_every: Steps between two lines in the log.
        save_seconds: Seconds between two checkpoints.
    """

    epochs: int = 1
    batch_tokens: int = 4096
    n_batches: int = 1
    matrix_lr: float = 0.005
    other_lr: float = 0.003
    weight_decay: float = 0.0
    warmup: int = 50
    decay: float = 0.44
    stop: float = 1.0
    clip: float = 1.0
    seed: int = 0
    log_every: int = 20
    save_seconds: float = 180.0

    def rate(self, step: int, steps: int) -> float:
        """Return the factor on the learning rates: warm-up, stable, linear decay (WSD)."""
        # Hu et al. 2024, MiniCPM; the linear decay to 0: Haegele et al. 2024.
        left = (steps - step) / max(1.0, self.decay * steps)
        return min(1.0, (step + 1) / max(1, self.warmup), left)


SETTINGS = (
    TrainSettings(stop=0.735),
    TrainSettings(matrix_lr=0.004, other_lr=0.002, n_batches=3, decay=1.0, stop=0.5224),
    TrainSettings(
        matrix_lr=0.0025, other_lr=0.00125, n_batches=3, decay=1.0, warmup=20, stop=0.7215
    ),
    TrainSettings(matrix_lr=0.0025, other_lr=0.00125, n_batches=3, decay=1.0, warmup=20),
    TrainSettings(matrix_lr=0.004, other_lr=0.002, n_batches=3, decay=1.0),
    TrainSettings(matrix_lr=0.002, other_lr=0.001, n_batches=3, decay=1.0, warmup=20),
    TrainSettings(matrix_lr=0.002, other_lr=0.001, n_batches=3, decay=1.0, warmup=20),
    TrainSettings(matrix_lr=0.0025, other_lr=0.00125, n_batches=3, decay=1.0, warmup=20),
    TrainSettings(matrix_lr=0.0025, other_lr=0.00125, n_batches=3, decay=1.0, warmup=20),
)
"""How the shipped model is trained on each part of its corpus."""


AVERAGES: Mapping[int, Mapping[int, float]] = {
    6: {3: 0.25, 5: 0.75},
    len(SETTINGS): {6: 1 / 3, 7: 1 / 3, 8: 1 / 3},
}
"""What a part begins with in place of the last weights, and what is exported in the end: earlier
weights by their part, with their shares (Wortsman et al. 2022, model soups).

Part 4 mixes its words in another way; what it forgot, the first average has again. The last three
parts are alike, and their average is better than each.
"""


def main(work: Path) -> None:
    """Train on the parts of the corpus, one after the other; leave `work/weights.npz`."""
    results: list[Weights] = []
    for part, settings in enumerate(SETTINGS):
        folder = work / f"part-{part}"
        corpus = Corpus.load(folder / "corpus.npz")
        start = _next_weights(results)
        results.append(train(corpus, Shape(), settings, start=start, folder=folder))
    np.savez(work / "weights.npz", **_next_weights(results))  # type: ignore[arg-type]


def _next_weights(results: Sequence[Weights]) -> Weights | None:
    shares = AVERAGES.get(len(results))
    if shares is None:
        return results[-1] if results else None
    return average([(share, results[part]) for part, share in shares.items()])


def average(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Return the weighted sum of weights of one shape."""
    return {
        name: sum((np.float32(share) * weights[name] for share, weights in parts), np.float32(0))
        for name in parts[0][1]
    }


def train(
    corpus: Corpus,
    shape: Shape,
    settings: TrainSettings,
    *,
    start: Weights | None = None,
    folder: Path | None = None,
) -> Weights:
    """Train a network, or go on where a checkpoint in the folder stopped.

    Args:
        corpus: What to learn. No document has more than `shape.n_ctx` + 1 tokens.
        shape: The network.
        settings: How to train.
        start: The weights to begin with; None begins with random ones.
        folder: Where `checkpoint.pt` (to resume) and `weights.npz` (to export) are kept up to
            date; None keeps nothing.

    Returns:
        The weights, as `export` takes them.

    Raises:
        ValueError: A document is too long, or the checkpoint is of another run.
    """
    if np.diff(corpus.offsets).max() > shape.n_ctx + 1:
        raise ValueError(f"a document has more than n_ctx + 1 = {shape.n_ctx + 1} tokens")
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Llama(shape, dtype=torch.bfloat16, compiled=True).to(device)
    if start is not None:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in start.items()})
    run = _Run(model, settings, folder, _identity(corpus, shape, settings))
    batches = _plan(corpus, settings)
    first_step = run.resume()
    last_line = last_saved = time.perf_counter()
    seen = seen_before = 0
    losses: list[Tensor] = []
    steps = len(batches) // settings.n_batches
    last_step = round(steps * settings.stop)
    for step in range(first_step, last_step):
        rate = settings.rate(step, steps)
        first = step * settings.n_batches
        for documents in batches[first : first + settings.n_batches]:
            tokens, counted = _batch(corpus, documents, device)
            losses.append(run.add(tokens, counted))
            seen += counted.numel()
        run.step(rate)
        if (step + 1) % settings.log_every == 0 or step + 1 == last_step:
            loss, now = float(torch.stack(losses).mean()), time.perf_counter()
            speed = (seen - seen_before) / (now - last_line)
            progress = f"step {step + 1} of {last_step}, {seen} tokens"
            logger.info("%s, loss %.4f, %.0f tokens/s, rate %.3f", progress, loss, speed, rate)
            last_line, seen_before = now, seen
            losses.clear()
        if time.perf_counter() - last_saved > settings.save_seconds:
            run.save(step + 1)
            last_saved = time.perf_counter()
    run.save(last_step)
    return run.weights()


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalized, for stacks of matrices [layers, rows, columns].

    Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with the scale of Liu et al. 2025 (Muon
    is Scalable for LLM Training): an update has the size that AdamW's would have.
    `torch.optim.Muon` takes one matrix at a time, this one those of all layers together.
    """

    def __init__(
        self,
        stacks: list[torch.nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(stacks, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update the weights from their gradients, with Nesterov's momentum."""
        for group in self.param_groups:
            for weights in group["params"]:
                state = self.state[weights]
                if not state:
                    state["momentum"] = torch.zeros_like(weights)
                momentum = state["momentum"].lerp_(weights.grad, 1 - group["momentum"])
                update = _orthogonal(weights.grad.lerp(momentum, group["momentum"]))
                size = 0.2 * max(weights.shape[1:]) ** 0.5
                weights.mul_(1 - group["lr"] * group["weight_decay"])
                weights.add_(update, alpha=-group["lr"] * size)


def _orthogonal(x: Tensor) -> Tensor:
    # Newton-Schulz iteration with the coefficients of Jordan et al.: it brings all singular values
    # near 1, in bfloat16 and without a decomposition.
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    y = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(torch.bfloat16)
    y = y.transpose(1, 2) if tall else y
    for _ in range(5):
        square = y @ y.transpose(1, 2)
        y = torch.baddbmm(y, torch.baddbmm(square, square, square, beta=b, alpha=c), y, beta=a)
    return (y.transpose(1, 2) if tall else y).to(x.dtype)


class _Run:
    """The model with its optimizers, and the files they are kept in."""

    def __init__(
        self, model: Llama, settings: TrainSettings, folder: Path | None, identity: dict[str, Any]
    ) -> None:
        self._model, self._settings, self._folder = model, settings, folder
        self._identity = identity
        blocks = [p for p in model.parameters() if p.ndim == 3]
        others = [p for p in model.parameters() if p.ndim != 3]
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (
                Muon(blocks, lr=0, weight_decay=settings.weight_decay),
                settings.matrix_lr,
            ),
            (
                torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0, fused=True),
                settings.other_lr,
            ),
        ]

    def add(self, tokens: Tensor, counted: Tensor) -> Tensor:
        """Add the gradients of a batch to those of the step; return its loss."""
        loss = _loss(self._model, tokens, counted)
        (loss / self._settings.n_batches).backward()
        return loss.detach()

    def step(self, rate: float) -> None:
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.clip)
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def weights(self) -> Weights:
        state = self._model.state_dict()
        return {name: tensor.cpu().numpy().copy() for name, tensor in state.items()}

    def save(self, step: int) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        state = {
            "identity": self._identity,
            "step": step,
            "model": self._model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
        }
        # Renamed when complete, so that a run that is stopped leaves the last good one.
        torch.save(state, self._folder / "checkpoint.pt.new")
        (self._folder / "checkpoint.pt.new").replace(self._folder / "checkpoint.pt")
        np.savez(self._folder / "new.npz", **self.weights())  # type: ignore[arg-type]
        (self._folder / "new.npz").replace(self._folder / "weights.npz")

    def resume(self) -> int:
        if self._folder is None or not (self._folder / "checkpoint.pt").is_file():
            return 0
        state = torch.load(self._folder / "checkpoint.pt", weights_only=True)
        if state["identity"] != self._identity:
            raise ValueError(
                f"{self._folder / 'checkpoint.pt'} is of another corpus, shape or settings: "
                "remove it to start anew"
            )
        self._model.load_state_dict(state["model"])
        for (optimizer, _), kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        logger.info("going on at step %d", state["step"])
        return int(state["step"])


def _identity(corpus: Corpus, shape: Shape, settings: TrainSettings) -> dict[str, Any]:
    # All that a run depends on; how often it reports may change in between.
    chosen = {**asdict(shape), **asdict(settings)}
    del chosen["log_every"], chosen["save_seconds"]
    return {**chosen, "documents": len(corpus), "crc32": zlib.crc32(corpus.tokens.tobytes())}


def _plan(corpus: Corpus, settings: TrainSettings) -> list[npt.NDArray[np.int64]]:
    """Return the documents of each batch, by their number."""
    lengths = np.diff(corpus.offsets) - 1
    # A batch in which nothing counts would have no loss: the mean of nothing.
    useful = np.flatnonzero(np.add.reduceat(corpus.weights, corpus.offsets[:-1], dtype=np.int64))
    random = np.random.default_rng(settings.seed)
    batches: list[npt.NDArray[np.int64]] = []
    for _ in range(settings.epochs):
        order = random.permutation(useful)
        filled = np.cumsum(lengths[order]) // (settings.batch_tokens * _POOL)
        for pool in np.split(order, np.flatnonzero(np.diff(filled)) + 1):
            cut = list(_cut(pool[np.argsort(lengths[pool], kind="stable")], lengths, settings))
            batches += [cut[i] for i in random.permutation(len(cut))]
    return batches


def _cut(
    ascending: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], settings: TrainSettings
) -> Iterator[npt.NDArray[np.int64]]:
    start = 0
    for i in range(1, len(ascending) + 1):
        # With document i the batch would be as wide as it, and too big.
        full = i < len(ascending) and (
            (i + 1 - start) * lengths[ascending[i]] > settings.batch_tokens
        )
        if full or i == len(ascending):
            yield ascending[start:i]
            start = i


def _batch(
    corpus: Corpus, documents: npt.NDArray[np.int64], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return tokens [batch, time + 1] and, per token after the first, whether it counts."""
    starts, ends = corpus.offsets[documents], corpus.offsets[documents + 1]
    positions = starts[:, None] + np.arange((ends - starts).max())
    inside = positions < ends[:, None]
    positions = np.where(inside, positions, 0)
    tokens = np.where(inside, corpus.tokens[positions], 0).astype(np.int64)
    counted = inside & (corpus.weights[positions] > 0)
    return torch.from_numpy(tokens).to(device), torch.from_numpy(counted[:, 1:]).to(device)


def _loss(model: Llama, tokens: Tensor, counted: Tensor) -> Tensor:
    rows = counted.flatten().nonzero().squeeze(1)
    hidden = model.hidden(tokens[:, :-1], rows)
    targets = tokens[:, 1:].flatten().index_select(0, rows)
    return F.cross_entropy(model.logits(hidden).float(), targets)
