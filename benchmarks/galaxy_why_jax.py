"""Measure the page "Why JAX" section by section, and write it: every number on it comes from its own code.

    taskset -c 0 env XLA_FLAGS=--xla_cpu_multi_thread_eigen=false SKYFOLD_SSP=ssp.h5 \
        python benchmarks/galaxy_why_jax.py --out docs/why_jax.json
    python benchmarks/galaxy_why_jax.py --out docs/why_jax.json --sections sampling     # some sections anew
    python benchmarks/galaxy_why_jax.py --out docs/why_jax.json --page docs/why_jax.md  # the page from the file
    python benchmarks/galaxy_why_jax.py --out docs/why_jax.json --notebook why_jax.ipynb

Timings are the least of several repeats, after a first call that is not counted, each waited for. Figures lie in a
folder that is called as the file is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple


class Section(NamedTuple):
    """Part of the page: title, text, code, and the variables of the code that the file keeps."""

    title: str
    text: str
    code: str
    kept: tuple[str, ...] = ()


SECTIONS: dict[str, Section] = {
    "setup": Section(
        "Set-up",
        "The grid of populations is the file that the environment variable `SKYFOLD_SSP` names, or the synthetic one.",
        '''import os
import time
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import hyp2f1, ndtri

import skyfold as sf
from skyfold import galaxy
from skyfold.compiled.jit import jit

warnings.simplefilter("ignore")


def least(function, repeats=9):
    """Least time of several calls, s; the first is not counted."""
    jax.block_until_ready(function())
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        spent.append(time.perf_counter() - begin)
    return min(spent)


path = os.environ.get("SKYFOLD_SSP")
ssp = galaxy.SSP.read(path, solar_z=float(os.environ.get("SKYFOLD_SOLAR_Z", 0.02))) if path else galaxy.synthetic_ssp()
print(ssp)''',
    ),
    "galaxy": Section(
        "A galaxy of seven parameters",
        "Double power law, metallicity, dust of two components; five SDSS bands at 5%, redshift 0.1. `posterior` uses "
        "populations that are contracted with the filters beforehand, `exact` all wavelengths in every call.",
        """NAMES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"]
TRUTH = {
    "dpl.log_peak_sfr": 1.0, "dpl.tau": 3.0, "dpl.alpha": 2.0, "dpl.beta": 2.0,
    "metallicity.logzsol": -0.3, "charlot_fall.tau_bc": 0.8, "charlot_fall.tau_diff": 0.4,
}
model = galaxy.Galaxy(
    ssp,
    sfh=galaxy.DoublePowerLaw(),
    metallicity=sf.Uniform(-2.0, 0.2),
    dust=galaxy.CharlotFall(tau_bc=sf.Uniform(0, 2), tau_diff=sf.Uniform(0, 1.5)),
    redshift=0.1,
)
flux = 3631e9 * 10 ** (-0.4 * galaxy.magnitudes(model.with_values(TRUTH), NAMES))
noisy = flux * (1 + 0.05 * np.random.default_rng(7).standard_normal(5))
posterior = sf.Posterior((model, galaxy.Photometry(NAMES, noisy, 0.05 * flux)))
exact = sf.Posterior((model, galaxy.Photometry(NAMES, noisy, 0.05 * flux, projected=False)))
print(posterior)""",
    ),
    "jit": Section(
        "JIT: from Python to machine code",
        "The same calculation in NumPy and SciPy: the mass of every cell of the grid of ages in closed form, the "
        "spectra of young and of old stars, dust, filters. It agrees with the compiled one.",
        """filters = [galaxy.Filter.load(n) for n in NAMES]
wave, ages, log_z = (np.asarray(x) for x in (ssp.wave, ssp.ages, ssp.log_z))
matrix = float(model.dimming()) * np.stack([f.weights(wave * 1.1) for f in filters])
populations, age = np.asarray(ssp.flux), float(model.universe_age())


def numpy_photometry(log_peak, tau, alpha, beta, metal, tau_bc, tau_diff):
    p = alpha + beta

    def formed(t):
        s = (np.maximum(t, 1e-9) / tau) ** p
        return [
            tau**k / p * s**c / c * hyp2f1(1.0, c, c + 1.0, -s)
            for k, c in ((1, (beta + 1) / p), (2, (beta + 2) / p))
        ]

    x = (beta / alpha) ** (1 / p)
    scale = 1e9 * 10**log_peak * (x**alpha + x**-beta)
    when = np.append(ages, 0.01)
    mass, moment = formed(np.maximum(age - when, 0.0))
    end, first = (v[0] for v in formed(np.array([age])))
    younger = end - mass
    running = when * younger - (age * younger - (first - moment))
    born, until = younger[-1], running[-1]
    cells = np.diff(np.concatenate([[0], np.diff(running[:-1]) / np.diff(ages), [end]]))
    early = np.where(ages < 0.01, running[:-1], until + born * (ages - 0.01))
    young = np.diff(np.concatenate([[0], np.diff(early) / np.diff(ages), [born]]))
    place = np.clip(metal + np.log10(ssp.solar_z), log_z[0], log_z[-1])
    shares = np.array([np.interp(place, log_z, row) for row in np.eye(len(log_z))])
    by_age = scale * np.stack([young, cells - young])
    light = np.einsum("ya,m,maw->yw", by_age, shares, populations, optimize=True)
    diffuse = tau_diff * (wave / 5500) ** -0.7
    birth = tau_bc * (wave / 5500) ** -0.7
    return matrix @ (light[0] * np.exp(-diffuse - birth) + light[1] * np.exp(-diffuse))


z = jnp.asarray(exact.draw_prior(1, seed=3)[0])
values = [float(v) for v in exact.values(z).values()]
compiled = np.asarray(next(iter(exact.predict(z).values())))
print("largest relative difference:", np.max(np.abs(numpy_photometry(*values) / compiled - 1)))

# of the parameters alone, the rest a constant of the program
whole, table = exact.kernel, posterior.kernel
one_exact = jax.jit(lambda z: whole.expected(z)[0])
one_table = jax.jit(lambda z: table.expected(z)[0])
# of data and grid too, one program for all data of one shape, which is what the methods use
expected = jit(lambda kernel, z: kernel.expected(z)[0])
t_numpy = least(lambda: numpy_photometry(*values))
t_exact = least(lambda: one_exact(z), 300)
t_table = least(lambda: one_table(z), 300)
t_shared = least(lambda: expected(table, z), 300)
for name, t in (
    ("NumPy", t_numpy),
    ("compiled, all wavelengths", t_exact),
    ("compiled, contracted with the filters", t_table),
    ("the same, called for any data and grid", t_shared),
):
    print(f"{name:39s} {1e3 * t:7.3f} ms  {t_numpy / t:5.0f} times as fast as NumPy")
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.barh(["NumPy", "compiled, exact", "compiled, contracted"], [1e3 * t for t in (t_numpy, t_exact, t_table)])
ax.set_xscale("log")
ax.set_xlabel("time of one forward pass [ms]")
plt.tight_layout()""",
        ("t_numpy", "t_exact", "t_table", "t_shared"),
    ),
    "gradient": Section(
        "Derivatives: gradients are cheap",
        "One reverse pass gives all seven derivatives. The ratio of times is measured on batches of 256 points, so "
        "that what is compared is arithmetic and not the price of a call.",
        '''def in_blocks(function, size=16):
    """Function of many points, so many at a time that what they need stays in the processor's cache."""
    return jit(lambda kernel, z: jax.lax.map(jax.vmap(lambda x: function(kernel, x)), z.reshape(-1, size, z.shape[1])))


points = jnp.asarray(posterior.draw_prior(256, seed=4))
value = in_blocks(lambda kernel, x: kernel.log_density(x))
gradient = in_blocks(lambda kernel, x: jax.grad(kernel.log_density)(x))
ratio = {}
for name, one in (("contracted", posterior), ("exact", exact)):
    t_value = least(lambda: value(one.kernel, points)) / 256
    t_gradient = least(lambda: gradient(one.kernel, points)) / 256
    ratio[name] = t_gradient / t_value
    print(f"{name:11s} log density {1e6 * t_value:7.1f} us, gradient {1e6 * t_gradient:7.1f} us: "
          f"ratio {ratio[name]:.2f}")''',
        ("ratio",),
    ),
    "field": Section(
        "The field of gradients over the likelihood",
        "Over diffuse dust and metallicity, the rest at the truth; values and gradients of all points in one call.",
        """dust, metal = np.linspace(0.02, 1.48, 30), np.linspace(-1.95, 0.15, 30)
held = {k: v for k, v in TRUTH.items() if k not in ("metallicity.logzsol", "charlot_fall.tau_diff")}
plane = sf.Posterior((model.with_values(held), galaxy.Photometry(NAMES, noisy, 0.05 * flux)))
bounds = {"metallicity.logzsol": (-2.0, 2.2), "charlot_fall.tau_diff": (0.0, 1.5)}
mesh = dict(zip(("charlot_fall.tau_diff", "metallicity.logzsol"), np.meshgrid(dust, metal), strict=True))
unit = np.stack([(mesh[n] - bounds[n][0]) / bounds[n][1] for n in plane.names], axis=-1).reshape(-1, 2)
field = jit(lambda kernel, z: jax.vmap(jax.value_and_grad(kernel.log_likelihood))(z))
level, slope = (np.asarray(v) for v in field(plane.kernel, jnp.asarray(ndtri(unit))))
# from latent coordinates to those of the axes, in units of their ranges
slope = slope * np.sqrt(2 * np.pi) * np.exp(0.5 * ndtri(unit) ** 2)
slope = {n: slope[:, i].reshape(30, 30)[::3, ::3] for i, n in enumerate(plane.names)}
fig, ax = plt.subplots(figsize=(6.5, 4.5))
picture = ax.contourf(dust, metal, np.maximum(level.reshape(30, 30), level.max() - 200), 20)
along, up = slope["charlot_fall.tau_diff"], slope["metallicity.logzsol"]
size = np.maximum(np.hypot(along, up), 1e-12)
ax.quiver(dust[::3], metal[::3], along / size, up / size, color="white", scale=30, width=0.003)
ax.plot(TRUTH["charlot_fall.tau_diff"], TRUTH["metallicity.logzsol"], "r*", markersize=14)
ax.set_xlabel("optical depth of diffuse dust")
ax.set_ylabel("log Z/Zsun")
fig.colorbar(picture, label="log-likelihood")
plt.tight_layout()""",
    ),
    "vmap": Section(
        "`vmap`: many galaxies without a loop",
        "The photometry of a batch of galaxies in one call, and of the same galaxies by one compiled call each.",
        """batch = jit(lambda kernel, z: jax.vmap(lambda x: kernel.expected(x)[0])(z))
sizes, together, looped = [1, 2, 5, 10, 20, 50, 100, 500], [], []
for n in sizes:
    some = jnp.asarray(posterior.draw_prior(n, seed=n))
    each = list(some)
    together.append(least(lambda: batch(posterior.kernel, some)) / n)
    looped.append(least(lambda: [one_table(x) for x in each], 3) / n)
    print(f"{n:4d} galaxies: batch {1e6 * together[-1]:8.1f} us each, loop {1e6 * looped[-1]:8.1f} us each")
blocks = in_blocks(lambda kernel, x: kernel.expected(x)[0], 20)
thousand = jnp.asarray(posterior.draw_prior(1000, seed=9))
t_thousand = {name: least(lambda: blocks(one.kernel, thousand)) / 1000
              for name, one in (("contracted", posterior), ("exact", exact))}
for name, t in t_thousand.items():
    print(f"1,000 galaxies in blocks of 20, {name}: {1e6 * t:.1f} us each")
fig, ax = plt.subplots(figsize=(6, 3.6))
ax.loglog(sizes, 1e6 * np.array(together), "o-", label="vmap")
ax.loglog(sizes, 1e6 * np.array(looped), "s--", label="Python loop over compiled calls")
ax.set_xlabel("galaxies in a batch")
ax.set_ylabel("time per galaxy [us]")
ax.legend()
plt.tight_layout()""",
        ("t_thousand",),
    ),
    "composed": Section(
        "JIT, gradient and `vmap` together",
        "Gradients of the log density at 1,024 points.",
        """many = jnp.asarray(posterior.draw_prior(1024, seed=9))
t_gradients = least(lambda: gradient(posterior.kernel, many))
print(f"1,024 gradients of seven parameters: {1e3 * t_gradients:.1f} ms")""",
        ("t_gradients",),
    ),
    "sampling": Section(
        "Compile once, sample for ever",
        "The highest rate of star formation only scales the light. `galaxy.MassMarginal` integrates it out in closed "
        "form and draws it again afterwards, which leaves six dimensions without the thin ridge along which the rate "
        "makes up for everything else. NUTS with four chains of 1,000 draws (with somewhat longer steps than by "
        "default), and `auto`: the first fit compiles, or reads a cache on disk; the second is of *other data* of the "
        "same shape and uses the same executables.",
        """shape = galaxy.Galaxy(
    ssp,
    sfh=galaxy.DoublePowerLaw(log_peak_sfr=0.0),
    metallicity=sf.Uniform(-2.0, 0.2),
    dust=galaxy.CharlotFall(tau_bc=sf.Uniform(0, 2), tau_diff=sf.Uniform(0, 1.5)),
    redshift=0.1,
)
rate = sf.LogUniform(10**-1.0, 10**2.5)
again = noisy * (1 + 0.01 * np.random.default_rng(8).standard_normal(5))
first, other = (
    sf.Posterior((shape, galaxy.MassMarginal(galaxy.Photometry(NAMES, data, 0.05 * flux), prior=rate)))
    for data in (noisy, again)
)
fits = {}
for name, method in (("auto", "auto"), ("NUTS", sf.NUTS(draws=1000, max_draws=1000, target_accept=0.85))):
    for what, one in (("first", first), ("second", other), ("third", other)):
        begin = time.perf_counter()
        draws = one.fit(method, seed=2, progress=False).draws
        spent = time.perf_counter() - begin
        told = {k: float(draws.diagnostics[k]) for k in ("rhat", "khat", "ess", "effective") if k in draws.diagnostics}
        fits[f"{name}, {what}"] = {"seconds": spent, "converged": bool(draws.converged), **told}
        shown = ", ".join(f"{k} {v:.4g}" for k, v in told.items())
        print(f"{name}, {what:6s} fit: {spent:5.2f} s, converged: {draws.converged}, {shown}")""",
        ("fits",),
    ),
}
MARKS = ("<!-- why jax begins -->", "<!-- why jax ends -->")
SUMMARY = ("<!-- summary begins -->", "<!-- summary ends -->")


def measure(chosen: list[str], out: Path) -> None:
    """Run the sections, with those that all need, and keep what the chosen ones print, draw and measure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    needed = {"setup", "galaxy"} | ({"jit", "gradient"} if {"vmap", "composed"} & set(chosen) else set())
    kept = json.loads(out.read_text()) if out.is_file() else {}
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        if name not in chosen and name not in needed:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # the code of this very file, no data
            exec(compile(section.code, f"<{name}>", "exec"), names)
        print(name, printed.getvalue(), sep="\n", flush=True)
        if name in chosen:
            kept[name] = {"printed": printed.getvalue().rstrip(), **{k: names[k] for k in section.kept}}
            for figure in map(plt.figure, plt.get_fignums()):
                figure.savefig(folder / f"{name}.png", dpi=110)
        plt.close("all")
    temporary = out.with_name(f".{os.getpid()}.{out.name}")
    temporary.write_text(json.dumps({n: kept[n] for n in SECTIONS if n in kept}, indent=1) + "\n")
    os.replace(temporary, out)


def page(out: Path) -> list[str]:
    """Lines of the page between its marks."""
    kept, lines = json.loads(out.read_text()), []
    for name, section in SECTIONS.items():
        lines += [f"## {section.title}", "", section.text, "", "```python", section.code, "```", ""]
        if kept.get(name, {}).get("printed"):
            lines += ["```text", kept[name]["printed"], "```", ""]
        if (out.with_suffix("") / f"{name}.png").is_file():
            lines += [f"![{section.title.replace('`', '')}]({out.stem}/{name}.png)", ""]
    return lines


def summary(out: Path) -> list[str]:
    """Table of what was aimed at and what was found."""
    kept = json.loads(out.read_text())
    jit, batch, fits = kept["jit"], kept["vmap"]["t_thousand"], kept["sampling"]["fits"]
    nuts, auto = fits["NUTS, second"], fits["auto, second"]
    ratio = max(kept["gradient"]["ratio"].values())
    rows = [
        ("forward, all wavelengths", "0.25 ms", f"{1e3 * jit['t_exact']:.3f} ms"),
        ("forward, contracted with the filters", "50 us", f"{1e6 * jit['t_table']:.0f} us"),
        ("1,000 galaxies, contracted, each", "20 us", f"{1e6 * batch['contracted']:.1f} us"),
        ("1,000 galaxies, all wavelengths, each", "120 us", f"{1e6 * batch['exact']:.1f} us"),
        ("gradient over log density, the larger of both", "2.5", f"{ratio:.2f}"),
        (
            "NUTS, 4 chains of 1,000, warm",
            "2 s, R-hat below 1.01",
            f"{nuts['seconds']:.2f} s, R-hat {nuts['rhat']:.4f}",
        ),
        ("`auto`, warm", "0.5 s", f"{auto['seconds']:.2f} s"),
    ]
    head = ["| on one core, five bands, seven parameters | aimed at | measured |", "|---|---|---|"]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows)]


def put(text: str, marks: tuple[str, str], lines: list[str]) -> str:
    """Text with lines between two marks."""
    before, rest = text.split(marks[0])
    return "\n".join([before + marks[0], "", *lines, "", marks[1] + rest.split(marks[1])[1]])


def notebook(out: Path) -> dict[str, Any]:
    """Notebook of the sections, with what they printed and drew."""
    import base64

    kept = json.loads(out.read_text())
    cells: list[dict[str, Any]] = []
    for name, section in SECTIONS.items():
        text = f"## {section.title}\n\n{section.text}"
        cells.append({"cell_type": "markdown", "id": f"{name}-text", "metadata": {}, "source": text})
        outputs: list[dict[str, Any]] = []
        if kept.get(name, {}).get("printed"):
            outputs.append({"output_type": "stream", "name": "stdout", "text": kept[name]["printed"] + "\n"})
        figure = out.with_suffix("") / f"{name}.png"
        if figure.is_file():
            data = {"image/png": base64.b64encode(figure.read_bytes()).decode()}
            outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
        cells.append(
            {
                "cell_type": "code",
                "id": name,
                "metadata": {},
                "execution_count": None,
                "source": section.code,
                "outputs": outputs,
            }
        )
    kernel = {"name": "python3", "display_name": "Python 3"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def main() -> None:
    """Measure, or write the page or the notebook."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of the numbers")
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--page", type=Path, help="page whose marks the sections are put between")
    parser.add_argument("--notebook", type=Path, help="notebook to write")
    args = parser.parse_args()
    if args.page is None and args.notebook is None:
        measure(args.sections, args.out)
    if args.page is not None:
        text = put(args.page.read_text(), SUMMARY, summary(args.out))
        args.page.write_text(put(text, MARKS, page(args.out)))
    if args.notebook is not None:
        args.notebook.write_text(json.dumps(notebook(args.out), indent=1) + "\n")


if __name__ == "__main__":
    main()
