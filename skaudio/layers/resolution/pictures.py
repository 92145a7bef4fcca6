"""Pictures of a clip before and after a resolution layer."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["clip_panels", "draw_clips", "draw_panels", "figure_size"]

MAX_CLIPS = 10
DYNAMIC_RANGE = 80.0
"""Decibels below a clip's peak that the colours span."""
MAX_EDGES = 60
"""Most slot edges that are marked in a picture; more would merge into a bar."""


def draw_clips(ret: dict[str, Any], savepath: str | PathLike[str]) -> None:
    """Draw each clip of a result into a PNG of its own, ten at most.

    Parameters
    ----------
    ret : dict
        What a resolution layer returned for features in natural-log scale.
    savepath : str or path-like
        Folder, made where missing, for ``0.png``, ``1.png`` and so on.
    """
    # Figure, not pyplot: no global state, no window, nothing to close.
    from matplotlib.figure import Figure

    folder = Path(savepath)
    folder.mkdir(parents=True, exist_ok=True)
    for clip in range(min(len(ret["x"]), MAX_CLIPS)):
        panels = clip_panels(ret, clip)
        figure = Figure(figsize=figure_size(panels))
        draw_panels(panels, figure)
        figure.savefig(folder / f"{clip}.png", dpi=150)


def figure_size(panels: list[tuple]) -> tuple[float, float]:
    """Compute width and height, in inches, for a figure of these panels."""
    return 7.0, 1.35 * sum(_heights(panels))


def draw_panels(panels: list[tuple], figure: Any) -> list[Any]:
    """Draw panels below one another, and return their axes.

    Parameters
    ----------
    panels : list of tuple
        What :func:`clip_panels` returned.
    figure : matplotlib.figure.Figure or SubFigure

    Returns
    -------
    list of matplotlib.axes.Axes
    """
    inches = figure.bbox.height / figure.dpi
    grid = figure.add_gridspec(
        len(panels),
        2,
        width_ratios=(45, 1),
        height_ratios=_heights(panels),
        left=0.08,
        right=0.91,
        top=1 - 0.3 / inches,
        bottom=0.45 / inches,
        wspace=0.04,
        hspace=0.5,
    )
    axes = []
    for row, (draw, title, *content) in enumerate(panels):
        axis = figure.add_subplot(grid[row, 0])
        draw(axis, grid[row, 1], *content)
        axis.set_title(title, fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        axes.append(axis)
    return axes


def _heights(panels: list[tuple]) -> list[float]:
    return [1.0 if panel[0] is _draw_score else 1.8 for panel in panels]


def clip_panels(ret: dict[str, Any], clip: int) -> list[tuple]:
    """List the panels of one clip of a result.

    Parameters
    ----------
    ret : dict
        What a resolution layer returned.
    clip : int
        Clip of the batch.

    Returns
    -------
    list of tuple
        A function that draws, a title, and the function's further arguments, for each panel.
    """
    n_frames, kept = int(ret["x_lengths"][clip]), int(ret["lengths"][clip])
    before = _decibels(ret["x"][clip, :n_frames])
    after = _decibels(ret["feature"][clip, 0, :kept])
    peak = float(before.max())
    colours: dict[str, Any] = {"vmin": max(float(before.min()), peak - DYNAMIC_RANGE), "vmax": peak}
    panels: list[tuple] = []
    for suffix, what in [("", _axis_name(ret)), ("_t", "frame"), ("_f", "band")]:
        if ret.get(f"score{suffix}") is not None:
            score = _numpy(ret[f"score{suffix}"][clip]).ravel()
            empty = _numpy(ret[f"score_mask{suffix}"][clip]).ravel()
            if what == "frame":
                score, empty = score[:n_frames], empty[:n_frames]
            panels.append(
                (_draw_score, f"Importance of each {what} (grey: empty)", score, empty, what)
            )
    edges, step = _edges(ret, clip)
    title = f"Spectrogram, {before.shape[1]} frames of {before.shape[0]} bands"
    if edges is not None:
        title += f" (ticks: where every {step}. slot ends)" if step > 1 else " (ticks: slots' ends)"
    panels.append((_draw_map, title, before, ("band", "dB"), colours, edges))
    title = f"After the layer, {after.shape[1]} frames of {after.shape[0]} bands"
    panels.append((_draw_map, title, after, ("band", "dB"), colours, None))
    if ret["resolution_enc"] is not None:
        encoding = _numpy(ret["resolution_enc"][clip, :kept]).T
        colours = {"vmin": -1, "vmax": 1, "cmap": "RdBu_r"}
        panels.append((_draw_map, "Resolution encoding", encoding, ("column", ""), colours, None))
    return panels


def _axis_name(ret: dict[str, Any]) -> str:
    score = ret.get("score")
    return "band" if score is not None and score.shape[1] == 1 != score.shape[2] else "frame"


def _edges(ret: dict[str, Any], clip: int) -> tuple[NDArray[np.float64] | None, int]:
    """Compute the frames at which slots end, of every n-th slot, and n."""
    score = ret["score_t"] if ret.get("score_t") is not None else ret.get("score")
    if score is None or score.shape[2] != 1:
        return None, 1
    share = _numpy(score[clip, : int(ret["x_lengths"][clip]), 0]).astype(np.float64)
    end = np.concatenate([[0.0], np.cumsum(share)])
    step = max(1, math.ceil(end[-1] / MAX_EDGES))
    return np.interp(np.arange(step, end[-1], step), end, np.arange(len(end))), step


def _draw_score(
    axis: Any, beside: Any, score: NDArray[Any], empty: NDArray[np.bool_], what: str
) -> None:
    place = np.arange(len(score))
    axis.fill_between(place, score, step="mid", color="C0", alpha=0.35, linewidth=0)
    axis.step(place, score, where="mid", color="C0", linewidth=0.9)
    axis.fill_between(place, 0, 1.02, where=empty, step="mid", color="0.85", zorder=0)
    axis.set(xlim=(-0.5, len(score) - 0.5), ylim=(0, 1.02))
    axis.set_ylabel("share of a slot", fontsize=8)
    axis.set_xlabel(what, fontsize=8, labelpad=1)


def _draw_map(
    axis: Any,
    beside: Any,
    values: NDArray[Any],
    labels: tuple[str, str],
    colours: dict[str, Any],
    edges: NDArray[np.float64] | None,
) -> None:
    image = axis.imshow(values, aspect="auto", origin="lower", interpolation="none", **colours)
    bar = axis.figure.colorbar(image, cax=axis.figure.add_subplot(beside))
    bar.ax.tick_params(labelsize=7)
    bar.set_label(labels[1], fontsize=8)
    axis.set_ylabel(labels[0], fontsize=8)
    axis.set_xlabel("frame", fontsize=8, labelpad=1)
    if edges is not None:
        top = len(values) - 0.5
        axis.vlines(edges - 0.5, top * 0.94, top, color="white", linewidth=0.7)


def _decibels(log_power: Tensor) -> NDArray[Any]:
    return _numpy(log_power).T * (10 / math.log(10))


def _numpy(x: Tensor) -> NDArray[Any]:
    x = x.detach().cpu()
    return (x.float() if x.is_floating_point() else x).numpy()
