"""Bar charts of what the benchmarks measured, for those who ask with ``--plot``."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path


def plot_file(name: str) -> Path:
    """The type of the argument, which is refused before minutes of measuring, not after them."""
    if importlib.util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError('a plot needs matplotlib: pip install ".[bench]"')
    path = Path(name)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    return path


def save_bars(path: Path, title: str, unit: str, bars: Mapping[str, Mapping[str, float]]) -> None:
    """Draw groups of bars.

    Args:
        path: The picture to write; its suffix is its format.
        title: Stands above.
        unit: Of the values.
        bars: Values by group, and by series within each group. All groups have the same series.
    """
    # From the extra "bench", which only those need who want pictures.
    from matplotlib import pyplot

    series = list(next(iter(bars.values())))
    width = 0.8 / len(series)
    figure, axes = pyplot.subplots(figsize=(2 + 1.4 * len(bars), 4), layout="constrained")
    for number, name in enumerate(series):
        places = [group + number * width for group in range(len(bars))]
        axes.bar(places, [values[name] for values in bars.values()], width, label=name)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(bars))], list(bars))
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)
