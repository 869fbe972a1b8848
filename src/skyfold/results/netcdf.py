"""netCDF: a result as a file in ArviZ's InferenceData layout, written and read without ArviZ.

Groups ``posterior`` (equally weighted draws), ``sample_stats`` and ``observed_data`` are ArviZ's. Group ``draws`` keeps
the draws as the method made them, and group ``skyfold`` what a result needs besides: texts in JSON, and the tables
of plots. Nothing in a file is ever executed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.inference.running import Draws
from skyfold.results.description import Description
from skyfold.results.tables import PlotTable
from skyfold.whole_file import whole_file

#: Version of the layout of groups ``draws`` and ``skyfold``.
LAYOUT = 1

_ARRAYS = ("latent", "log_likelihood", "log_weights")


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes
    ----------
    description, draws : of the posterior, and of the method.
    samples : values by name, (chains, draws, *shape).
    equal : equally weighted values by name, (chains, draws, *shape); `index` their places among the draws.
    observed : data by observation.
    facts : what was computed with the posterior: best values, statistics, goodness.
    summary : content of ``Result.to_dict``.
    tables : of plots, by name.
    """

    description: Description
    draws: Draws
    samples: dict[str, np.ndarray]
    equal: dict[str, np.ndarray]
    index: np.ndarray
    observed: dict[str, np.ndarray]
    facts: dict[str, Any]
    summary: dict[str, Any]
    tables: dict[str, PlotTable]


def write(path: str | os.PathLike[str], saved: Saved) -> Path:
    """Write a file; one that exists is replaced at once when the new one is complete.

    Raises
    ------
    SkyfoldError
        If there is no such folder, or the file cannot be written there.
    """
    import netCDF4

    target = Path(path)
    if target.is_dir() or not target.name:
        raise SkyfoldError(f"{path}: this is a folder; name a file in it, such as {target / 'result.nc'}.")
    if not target.parent.is_dir():
        raise SkyfoldError(f"{path}: there is no folder {target.parent}; make it first, or name another.")
    try:
        with whole_file(target) as name, netCDF4.Dataset(name, "w", format="NETCDF4") as file:
            file.setncattr_string("skyfold", json.dumps(saved.summary))
            file.setncattr_string("inference_library", "skyfold")
            file.setncattr_string("inference_library_version", saved.description.versions.get("skyfold", ""))
            _write_posterior(file, saved)
            _write_draws(file.createGroup("draws"), saved)
            own = file.createGroup("skyfold")
            own.layout = LAYOUT
            for key, content in _texts(saved).items():
                own.createVariable(key, str)[...] = np.array(json.dumps(content), dtype=object)
            for key, table in saved.tables.items():
                _write_table(own.createGroup(f"plot_data/{key}"), table)
    except OSError as error:
        raise SkyfoldError(
            f"{path}: the file cannot be written ({error.strerror or error}); name another folder."
        ) from None
    return target


def read(path: str | os.PathLike[str]) -> Saved:
    """Read a file that `write` made.

    Raises
    ------
    FileFormatError
        If the file is missing, damaged, or not one of skyfold's.
    """
    import netCDF4

    if not Path(path).is_file():
        raise FileFormatError(f"{path}: there is no such file.")
    try:
        file = netCDF4.Dataset(path, "r")
    except OSError as error:
        raise FileFormatError(
            f"{path}: this is not a complete netCDF file ({error}). Save the result again with result.save(...)."
        ) from error
    with file:
        if "skyfold" not in file.groups or "draws" not in file.groups:
            raise FileFormatError(
                f"{path}: the groups 'skyfold' and 'draws' of a saved result are missing. Give a file of result.save()."
            )
        own = file.groups["skyfold"]
        if own.layout > LAYOUT:
            raise FileFormatError(
                f"{path}: the file has layout {own.layout}, this skyfold reads up to {LAYOUT}. Install a newer skyfold."
            )
        file.set_auto_maskandscale(False)
        try:
            return _read(file, own)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise FileFormatError(
                f"{path}: the saved result is damaged ({type(error).__name__}: {error}). Save it again with "
                "result.save(...)."
            ) from error


def _read(file: Any, own: Any) -> Saved:
    texts = {key: json.loads(str(own.variables[key][...])) for key in ("description", "draws", "facts", "summary")}
    raw = file.groups["draws"]
    arrays: dict[str, Any] = {key: _values(raw.variables[key]) for key in _ARRAYS if key in raw.variables}
    plots = own.groups["plot_data"].groups if "plot_data" in own.groups else {}
    content = _unpack(texts["draws"])
    return Saved(
        description=Description.from_dict(texts["description"]),
        draws=Draws(**{**content, "messages": tuple(content["messages"])}, **arrays),
        samples=_named(raw.groups["values"]),
        equal=_named(file.groups["posterior"]),
        index=_values(raw.variables["equal_weight_index"]),
        observed=_named(file.groups["observed_data"]),
        facts=_unpack(texts["facts"]),
        summary=texts["summary"],
        tables={key: _read_table(group) for key, group in plots.items()},
    )


# -- groups ----------------------------------------------------------------------------------------------------------


def _write_posterior(file: Any, saved: Saved) -> None:
    labels = {p.name: p for p in saved.description.parameters}
    shape = next(iter(saved.equal.values())).shape[:2]
    posterior = _group(file, "posterior", shape)
    for name, values in saved.equal.items():
        variable = _array(posterior, name, values, ("chain", "draw"))
        variable.units, variable.long_name = labels[name].unit, labels[name].description
        variable.prior = labels[name].prior
    for key in ("method", "converged", "seed"):
        value = saved.summary[key]
        posterior.setncattr(key, int(value) if isinstance(value, bool) else value)
    posterior.setncattr_string("model", "; ".join(f"{o.model} ~ {o.name}" for o in saved.description.observations))
    stats = _group(file, "sample_stats", shape)
    chosen = saved.draws.log_likelihood.ravel()[saved.index].reshape(shape)
    _array(stats, "total_log_likelihood", chosen, ("chain", "draw"))
    if all(p.exact for p in saved.description.parameters):
        z = saved.draws.latent.reshape(-1, saved.description.ndim)[saved.index].reshape(*shape, -1)
        prior = -0.5 * np.sum(z**2, axis=-1) - 0.5 * z.shape[-1] * np.log(2 * np.pi)
        _array(stats, "lp", chosen + prior, ("chain", "draw"))
    observed = file.createGroup("observed_data")
    for name, values in saved.observed.items():
        _array(observed, name, values, ())


def _write_draws(group: Any, saved: Saved) -> None:
    _dimensions(group, saved.draws.latent.shape[:2])
    for key in _ARRAYS:
        values = getattr(saved.draws, key)
        if values is not None:
            _array(group, key, values, ("chain", "draw"))
    _array(group, "equal_weight_index", saved.index, ())
    values = group.createGroup("values")
    for name, array in saved.samples.items():
        _array(values, name, array, ("chain", "draw"))


def _write_table(group: Any, table: PlotTable) -> None:
    group.createDimension("row", len(table))
    group.setncattr_string("meta", json.dumps(table.meta))
    for number, (name, values) in enumerate(table.columns.items()):
        text = values.dtype.kind in "OUS"
        variable = group.createVariable(f"column_{number}", str if text else values.dtype, ("row",))
        variable[:] = values.astype(object) if text else values
        variable.setncattr_string("name", name)
        variable.setncattr_string("units", table.units.get(name, ""))


def _read_table(group: Any) -> PlotTable:
    columns, units = {}, {}
    for number in range(len(group.variables)):
        variable = group.variables[f"column_{number}"]
        values = variable[:]
        columns[variable.getncattr("name")] = values.astype(str) if values.dtype.kind == "O" else np.asarray(values)
        if variable.units:
            units[variable.getncattr("name")] = variable.units
    return PlotTable(columns, units, json.loads(group.meta))


def _group(file: Any, name: str, shape: tuple[int, ...]) -> Any:
    group = file.createGroup(name)
    _dimensions(group, shape)
    for axis, length in zip(("chain", "draw"), shape, strict=True):
        group.createVariable(axis, "i8", (axis,))[:] = np.arange(length)
    return group


def _dimensions(group: Any, shape: tuple[int, ...]) -> None:
    for axis, length in zip(("chain", "draw"), shape, strict=True):
        group.createDimension(axis, length)


def _array(group: Any, name: str, values: np.ndarray, leading: tuple[str, ...]) -> Any:
    """Write one array; dimensions after the leading ones are called ``<name>_dim_0`` and so on."""
    safe = name.replace("/", "|").strip() or "_"
    values = np.asarray(values)
    axes = list(leading)
    for number, length in enumerate(values.shape[len(leading) :]):
        axis = f"{safe}_dim_{number}"
        group.createDimension(axis, length)
        if leading and group.path == "/posterior":
            group.createVariable(axis, "i8", (axis,))[:] = np.arange(length)
        axes.append(axis)
    variable = group.createVariable(safe, values.dtype, tuple(axes))
    variable[...] = values
    variable.setncattr_string("name", name)
    return variable


def _named(group: Any) -> dict[str, np.ndarray]:
    return {v.getncattr("name"): _values(v) for v in group.variables.values() if "name" in v.ncattrs()}


def _values(variable: Any) -> np.ndarray:
    return np.asarray(variable[...])


# -- texts -----------------------------------------------------------------------------------------------------------


def _texts(saved: Saved) -> dict[str, Any]:
    draws = {f.name: getattr(saved.draws, f.name) for f in fields(Draws) if f.name not in _ARRAYS}
    return {
        "description": saved.description.to_dict(),
        "draws": _pack(draws),
        "facts": _pack(saved.facts),
        "summary": saved.summary,
    }


def _pack(content: Any) -> Any:
    """Turn arrays into tagged lists, so that JSON keeps them to the last digit."""
    if isinstance(content, dict):
        return {str(k): _pack(v) for k, v in content.items()}
    if isinstance(content, list | tuple):
        return [_pack(v) for v in content]
    if isinstance(content, np.generic):
        return content.item()
    if content is None or isinstance(content, str | int | float | bool):
        return content
    array = np.asarray(content)
    if array.dtype.kind not in "biuf":
        return str(content)
    return {"__array__": array.ravel().tolist(), "shape": list(array.shape), "dtype": str(array.dtype)}


def _unpack(content: Any) -> Any:
    if isinstance(content, dict):
        if "__array__" in content:
            return np.array(content["__array__"], dtype=content["dtype"]).reshape(content["shape"])
        return {k: _unpack(v) for k, v in content.items()}
    return [_unpack(v) for v in content] if isinstance(content, list) else content
