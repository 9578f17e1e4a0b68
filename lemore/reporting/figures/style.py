"""The look of the figures, with colours for the colour-blind and for print; saving."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lemore.runtime.files import write_atomic

# Okabe and Ito's palette; every series has a hatch as well, so that no figure needs its colours
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "oo", "++")
DASHES = ("-", "--", ":", "-.")
INK, GREY, ALARM = "#222222", "#767676", "#A51C1C"
SCENES_TEXT = "scenes: measured on drawn scenes, not on the real dataset"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "pdf.fonttype": 42,
    "legend.frameon": False,
}


def pick_color(k: int) -> str:
    """Returns the colour of the k-th series."""
    return COLORS[k % len(COLORS)]


def pick_hatch(k: int) -> str:
    """Returns the k-th series' hatch; from the ninth on, colours and hatches pair differently."""
    return HATCHES[(k + k // len(COLORS)) % len(HATCHES)]


def pick_dashes(k: int) -> str:
    """Returns the k-th series' line style, which tells apart series of one colour."""
    return DASHES[(k // len(COLORS)) % len(DASHES)]


def apply_style():
    """Returns the context in which a figure is made."""
    return matplotlib.rc_context(STYLE)


def add_banner(figure: Figure, text: str = SCENES_TEXT) -> None:
    """Writes at the top of a figure that its measured numbers come from drawn scenes."""
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#FFF3F0", "edgecolor": ALARM}
    figure.suptitle(text, color=ALARM, fontsize=8.5, fontweight="bold", bbox=box)


def make_key(marker: str, face: str, edge: str, text: str, **look: Any) -> Line2D:
    """Makes a marker with its text, for a legend."""
    colors = {"markerfacecolor": face, "markeredgecolor": edge}
    return Line2D([], [], linestyle="none", marker=marker, label=text, **colors, **look)


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int, **look: Any) -> None:
    """Puts a legend below all axes of a figure."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, **look)


def save_figure(figure: Figure, prefix: str, title: str, description: str) -> None:
    """Writes PREFIX.png (200 dpi) and PREFIX.pdf, the same bytes for the same figure.

    The description is kept in the files: the report reads it from there as alternative text.
    """
    png = {"Title": title, "Description": description, "Software": None}
    pdf = {"Title": title, "Subject": description, "CreationDate": None}
    for suffix, metadata in (("png", png), ("pdf", pdf)):
        content = io.BytesIO()
        figure.savefig(
            content, format=suffix, dpi=200, metadata=metadata, bbox_inches="tight", pad_inches=0.08
        )
        write_atomic(f"{prefix}.{suffix}", content.getvalue())
