"""Marginals and pairs of models of the inner Galaxy, by every method that has fitted them.

Reads the draws that ``galactic_centre.py`` leaves in its folder of checkpoints; for the model of 12 parameters the
long chains of another program, too.

    python benchmarks/galactic_centre_corner.py disk --work FOLDER --reference REFERENCE --out FOLDER/disk
    python benchmarks/galactic_centre_corner.py full --work FOLDER --out FOLDER/full
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from galactic_centre import REFERENCES, quantile
from scipy.ndimage import gaussian_filter1d

from skyfold.plots.style import BLACK, BLUE, GREEN, PURPLE, VERMILION, context, new_figure, plain_axis

#: Methods in the order in which they are drawn, with their colours and lines.
METHODS = {
    "nuts": (BLUE, "-"),
    "auto": (VERMILION, "-"),
    "vi": (GREEN, "--"),
    "psis": (PURPLE, ":"),
    "mcmc": (VERMILION, "-."),
}
LABELS = {"vi": "flow", "psis": "flow, weighted", "mcmc": "flow, then chains"}
#: Parameters in the figures, and their names there; left out are slopes of which the data say nothing.
SYMBOLS = {
    "disk": {
        "pib.norm": r"$S_\mathrm{pib}$",
        "ics.norm": r"$S_\mathrm{ics}$",
        "iso.norm": r"$S_\mathrm{iso}$",
        "bub.norm": r"$S_\mathrm{bub}$",
        "psc.norm": r"$S_\mathrm{psc}$",
        "nfw.norm": r"$S_\mathrm{nfw}$",
        "dsk.Sps": r"$S_\mathrm{ps}$",
        "dsk.n1": "$n_1$",
        "dsk.Sb1": r"$S_\mathrm{b1}$",
        "dsk.lambda": r"$\lambda$",
    },
    "full": {
        "pib.norm": r"$S_\mathrm{pib}$",
        "ics.norm": r"$S_\mathrm{ics}$",
        "iso.norm": r"$S_\mathrm{iso}$",
        "bub.norm": r"$S_\mathrm{bub}$",
        "gce.norm": r"$S_\mathrm{gce}$",
        "gce_ps.Sps": r"$S_\mathrm{ps,gce}$",
        "dsk_ps.Sps": r"$S_\mathrm{ps,dsk}$",
        "gce_ps.Sb1": r"$S_\mathrm{b1,gce}$",
        "gce_shape.fraction": r"$f_\mathrm{nfw,ps}$",
        "gce_shape_nfw.gamma": r"$\gamma_\mathrm{ps}$",
    },
}
#: Bins of marginals and of pairs, and the Gaussians (in bins) that smooth them.
BINS, PAIR_BINS, SMOOTH, PAIR_SMOOTH = 60, 44, 2.0, 2.5


def density(values: np.ndarray, weights: np.ndarray, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed marginal density at the middles of bins."""
    height, edges = np.histogram(values, BINS, limits, weights=weights)
    return 0.5 * (edges[1:] + edges[:-1]), gaussian_filter1d(height / weights.sum() / np.diff(edges), SMOOTH)


def pair(axis: Any, x: np.ndarray, y: np.ndarray, weights: np.ndarray, limits: Any, colour: str, line: str) -> None:
    """Draw the regions of 68% and 95% of the draws."""
    height, *edges = np.histogram2d(x, y, PAIR_BINS, limits, weights=weights)
    smooth = gaussian_filter1d(gaussian_filter1d(height, PAIR_SMOOTH, axis=0), PAIR_SMOOTH, axis=1)
    ordered = np.sort(smooth.ravel())[::-1]
    mass = np.cumsum(ordered) / ordered.sum()
    levels = [float(ordered[np.searchsorted(mass, share)]) for share in (0.95, 0.68)]
    middles = [0.5 * (e[1:] + e[:-1]) for e in edges]
    axis.contour(*middles, smooth.T, levels=levels, colors=[colour], linewidths=0.9, linestyles=[line])


def chosen(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Values (n, k) of the named parameters and weights (n,) of a file of draws."""
    found = np.load(path, allow_pickle=False)
    columns = [list(found["names"]).index(n) for n in names]
    return {"values": found["values"][:, columns], "weights": found["weights"]}


def corner(draws: dict[str, Any], symbols: dict[str, str], reference: dict[str, Any]) -> Any:
    """Draw all methods into one triangle; grey lines are mean and mean +- sd of the reference, if there is one."""
    names = list(symbols)
    limits = []
    for i in range(len(names)):
        ends = [[quantile(d["values"][:, i], d["weights"], q) for q in (0.001, 0.999)] for d in draws.values()]
        limits.append((min(e[0] for e in ends), max(e[1] for e in ends)))
    with context():
        figure = new_figure(13.0, 13.0)
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        grid = figure.subplots(len(names), len(names))
        for i, row in enumerate(names):
            for j, column in enumerate(names):
                axis = grid[i, j]
                if j > i:
                    axis.remove()
                    continue
                for method, d in draws.items():
                    colour, line = METHODS[method]
                    if i == j:
                        x, y = density(d["values"][:, i], d["weights"], limits[i])
                        axis.plot(x, y, color=colour, ls=line, label=LABELS.get(method, method))
                        continue
                    both = [d["values"][:, k] for k in (j, i)]
                    pair(axis, *both, d["weights"], (limits[j], limits[i]), colour, line)
                if i == j:
                    true = reference.get(REFERENCES.get(row, "S_" + row.removesuffix(".norm")))
                    for offset, style in ((-1, ":"), (0, "--"), (1, ":")) if true else ():
                        axis.axvline(true["mean"] + offset * true["sd"], color="0.45", lw=0.9, ls=style, zorder=0)
                    axis.set_ylim(0, None)
                    axis.set_yticks(())
                else:
                    axis.set_ylim(limits[i])
                    plain_axis(axis.yaxis, 4, "both")
                axis.set_xlim(limits[j])
                plain_axis(axis.xaxis, 4, "both")
                axis.tick_params(labelbottom=i == len(names) - 1, labelleft=j == 0 and i > 0, labelsize=8)
                for label in axis.get_xticklabels():
                    label.set_rotation(40)
                if i == len(names) - 1:
                    axis.set_xlabel(symbols[column])
                if j == 0 and i > 0:
                    axis.set_ylabel(symbols[row])
        figure.align_labels()
        handles, labels = grid[0, 0].get_legend_handles_labels()
        from matplotlib.lines import Line2D

        if reference:
            handles += [Line2D([], [], color="0.45", ls="--"), Line2D([], [], color="0.45", ls=":")]
            labels += ["reference: mean", "reference: mean ± sd"]
        figure.legend(handles, labels, loc="upper right", bbox_to_anchor=(0.97, 0.97), fontsize=14, edgecolor=BLACK)
    return figure


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=SYMBOLS)
    parser.add_argument("--work", type=Path, required=True, help="folder with the draws")
    parser.add_argument("--reference", type=Path, help="folder of the published chains of the model of 12 parameters")
    parser.add_argument("--out", type=Path, required=True, help="the figure, without .png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    symbols = SYMBOLS[options.case]
    files = {m: options.work / f"{options.case}.{m}.{options.seed}.draws.npz" for m in METHODS}
    draws = {m: chosen(path, list(symbols)) for m, path in files.items() if path.exists()}
    wanted = {}
    if options.reference and options.case == "disk":
        chains = options.reference / "posterior_small_models_nuts.json"
        wanted = json.loads(chains.read_text(encoding="utf-8"))["np"]
    corner(draws, symbols, wanted).savefig(f"{options.out}.png", dpi=110)


if __name__ == "__main__":
    main()
