"""Check which way imports go, and that the core has no word of a domain.

The house has floors (`FLOORS`): a module imports its own floor and those below. Every module is read with `ast`, and
nothing of skyfold is imported. What counts as an import:

* a statement anywhere in a file, inside functions and under ``TYPE_CHECKING`` too;
* a string that is a module's name (``"skyfold.plots.corner"``), as lists of what is imported when first used have.

The few ways upwards that are allowed are `DOORS`, each with its reason. Besides, no two rooms may import each other,
except through those doors; `inference/` has at most `MOST_ENTRIES` entries; and the core has none of the words `WORDS`,
not even in a docstring. Exits 1 and lists what breaks a rule.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).resolve().parents[1] / "src"

#: From the ground up. A name stands for a module or a folder; the longest that fits a module says where it is.
CORE = (
    "errors whole_file lazy",
    "compiled compilation",
    "wording",
    "parameters priors quantiles",
    "naming",
    "component",
    "terms",
    "axis",
    "likelihoods",
    "observation",
    "kernel information",
    "posterior",
    "simulated",
    "inference.running",
    "inference.density",
    "inference.frames",
    "inference.search",
    "inference.importance",
    "inference.convergence",
    "inference.chains",
    "inference.nested_sampling",
    "inference.variational",
    "inference",
    "results",
    "profiles",
    "checks",
    "plots",
    "report",
    "catalogs",
    "jobs",
    "surrogate numpyro_bridge",
)
DOMAINS = ("xray", "gammaray", "galaxy")
FLOORS = (*CORE, " ".join(DOMAINS), "data", "cli")

#: Imports upwards that are allowed: from, to, and why.
DOORS = (
    ("posterior", "inference", "Posterior.fit"),
    ("posterior", "results", "Posterior.fit"),
    ("posterior", "numpyro_bridge", "Posterior.from_numpyro and Posterior.numpyro_model"),
    ("results", "plots", "Result.plot_* and Result.save_figures"),
    ("checks", "plots", "Calibration.plot"),
)

#: Packages whose ``__init__`` lists public names, wherever they live; it is left out when circles are looked for.
LISTS = ("skyfold", *(f"skyfold.{domain}" for domain in DOMAINS))

#: Words of the domains, as XSPEC, OGIP, HEALPix and stellar populations have them; capitals count in the first line.
WORDS = re.compile(
    r"(?<![A-Za-z])(?:keV|MeV|nH|PhoIndex|RMF|ARF|PHA|SED|Msun"
    r"|(?i:ogip|tbabs|healpix|nside|redshifts?|photometry|photometric|spectroscopy|spectroscopic|magnitudes"
    r"|x-?rays?|gamma-?rays?|galaxy|galaxies|stellar|angstrom|kpc))(?![A-Za-z])"
)

MOST_ENTRIES = 27


class Import(NamedTuple):
    """A line of `module` that imports `target`."""

    path: Path
    line: int
    module: str
    target: str


def modules(source: Path) -> dict[str, Path]:
    """File of every module below a folder, by the module's name."""
    found = {}
    for path in sorted((source / "skyfold").rglob("*.py")):
        pieces = path.relative_to(source).with_suffix("").parts
        found[".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)] = path
    return found


def imports(path: Path, module: str, known: dict[str, Path]) -> Iterator[Import]:
    """Everything of skyfold that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known:
            names = [node.value]
        for name in names:
            target = name if name in known else name.rpartition(".")[0]
            if target.split(".")[0] == "skyfold" and target != module:
                yield Import(path, getattr(node, "lineno", 0), module, target)


def floor(module: str) -> int | None:
    """Number of the floor that a module is on, None for the package itself and where no floor has its name."""
    name = module.partition(".")[2]
    while name:
        for number, names in enumerate(FLOORS):
            if name in names.split():
                return number
        name = name.rpartition(".")[0]
    return None


def within(module: str, part: str) -> bool:
    """Whether a module is `part` of skyfold or lies in it."""
    return f"{module}.".startswith(f"skyfold.{part}.")


def is_door(found: Import) -> bool:
    """Whether an import goes through one of `DOORS`."""
    return any(within(found.module, start) and within(found.target, end) for start, end, _ in DOORS)


def upwards(found: Import) -> str | None:
    """Return the rule that an import breaks, None where it may."""
    here, there = floor(found.module), floor(found.target)
    if found.module == "skyfold":
        return None
    if here is None:
        return "this module has no floor in scripts/check_imports.py"
    if there is None:
        return None if found.target == "skyfold" else "what it imports has no floor in scripts/check_imports.py"
    domains = [[d for d in DOMAINS if within(m, d)] for m in (found.module, found.target)]
    if all(domains) and domains[0] != domains[1]:
        return "domains never import each other"
    if there <= here or is_door(found):
        return None
    return "imports never go up"


def room(module: str, known: dict[str, Path]) -> str:
    """Folder of a module; a file that lies beside folders is a room of its own, or shares one with its floor."""
    number = floor(module)
    if number is not None and module.partition(".")[2] in FLOORS[number].split():
        return FLOORS[number]
    package = module if known[module].name == "__init__.py" else module.rpartition(".")[0]
    return module if any(known[package].parent.glob("*/__init__.py")) else package.partition(".")[2]


def circles(found: list[Import], known: dict[str, Path]) -> list[str]:
    """Rooms that import each other, in however many steps."""
    reached: dict[str, set[str]] = {}
    for each in found:
        if not is_door(each) and each.module not in LISTS and each.target not in LISTS:
            reached.setdefault(room(each.module, known), set()).add(room(each.target, known))
    for middle in list(reached):
        for ends in reached.values():
            if middle in ends:
                ends |= reached[middle]
    rings = {tuple(sorted(b for b in reached[a] if a in reached.get(b, ()))) for a in reached if a in reached[a]}
    return [f"these import each other: {', '.join(ring)}" for ring in sorted(rings) if len(ring) > 1]


def words(path: Path) -> Iterator[str]:
    """Lines with a word of a domain."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for word in WORDS.findall(line):
            yield f"{number}: '{word}' is a word of a domain"


def problems(source: Path) -> list[str]:
    """Everything that breaks a rule below a folder that holds ``skyfold``."""
    known = modules(source)
    found = list(dict.fromkeys(each for module, path in known.items() for each in imports(path, module, known)))
    broken = []
    for each in found:
        rule = upwards(each)
        if rule:
            broken.append(f"{each.path.relative_to(source)}:{each.line}: imports {each.target}: {rule}")
    broken += circles(found, known)
    for module, path in known.items():
        number = floor(module)
        if number is not None and number < len(CORE):
            broken += [f"{path.relative_to(source)}:{text}" for text in words(path)]
    entries = {name.split(".")[2] for name in known if name.startswith("skyfold.inference.")} | {"__init__"}
    if len(entries) > MOST_ENTRIES:
        broken.append(f"inference/ has {len(entries)} entries, more than {MOST_ENTRIES}: some belong into a room")
    return broken


def main() -> int:
    """Check every module; return the exit code."""
    broken = problems(SOURCE)
    print("\n".join(broken) or f"{len(modules(SOURCE))} modules: imports go the right way")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
