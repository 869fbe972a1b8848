"""Maps of the Galactic bulge: plate-carree images brought to the HEALPix sphere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError
from skyfold.gammaray.fits_sky import factor, number, opened
from skyfold.gammaray.healpix import Source, centres, check_nside, children
from skyfold.gammaray.templates import Template

#: Largest latitude of the reference point, degrees, at which the image is taken to be aligned with Galactic latitude.
_ALIGNED = 0.5


def read_plate_carree(path: Source, nside: int, *, parts: int = 8) -> np.ndarray:
    """Flux map of a plate-carree (CAR) image in Galactic coordinates on the HEALPix sphere.

    A HEALPix pixel takes the mean of the image over ``parts**2`` equal parts of it, each with the value of the pixel
    of the image that it falls into; outside the image the flux is zero. So flux is conserved, but for the finite number
    of parts (to 1e-4 for nside 128 and pixels of 0.2 degrees; images of smaller pixels want more parts).

    Parameters
    ----------
    path : FITS image of brightness (per solid angle) with the keywords CTYPE, CRVAL, CRPIX, CDELT.
    nside : resolution of the result.
    parts : divisions of a pixel along each side, a power of two.

    Returns
    -------
    (12 nside^2,) array in ring order, of the unit of the image.

    Raises
    ------
    FileFormatError
        Where the file is missing, is no such image, or has values that are not finite or negative.
    """
    check_nside(nside, "read_plate_carree")
    check_nside(parts, "read_plate_carree: parts")
    image, start, step = _read(Path(path))
    rows, columns = image.shape
    period = 360.0 / abs(step[0])
    reach = np.radians(np.abs(start) + np.abs(step) * np.array([columns, rows])).max()
    everywhere = np.arange(12 * nside**2)
    longitude, latitude = centres(nside, everywhere)
    margin = 2.0 / nside
    near = everywhere[(np.abs(longitude) < reach + margin / np.cos(latitude)) & (np.abs(latitude) < reach + margin)]
    result = np.zeros(12 * nside**2)
    # a block of pixels at a time: their parts are many
    for block in np.array_split(near, 1 + near.size * parts**2 // 2_000_000):
        if not block.size:
            continue
        longitude, latitude = centres(nside * parts, children(nside, block, nside * parts).ravel())
        # columns go round the sky: the first one's left edge is where they begin
        column = np.floor(((np.degrees(longitude) - start[0]) / step[0] + 0.5) % period).astype(int)
        if columns > period - 0.5:  # all the way round, but for the last digit of the step
            column = np.minimum(column, columns - 1)
        row = np.rint((np.degrees(latitude) - start[1]) / step[1]).astype(int)
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        values = np.where(inside, image[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)], 0.0)
        result[block] = values.reshape(len(block), -1).mean(axis=1)
    return result


def bulge(path: Source, nside: int, norm: Any = 1.0, *, name: str = "bulge", **settings: Any) -> Template:
    """Template of a plate-carree image of the bulge: a flux, to be multiplied by the exposure.

    Parameters
    ----------
    path, nside : as for `read_plate_carree`; `nside` is that of the counts.
    norm, name, **settings : as for `skyfold.gammaray.Template`; ``exposure=False`` as in the published analysis.

    Examples
    --------
    >>> boxy = bulge("BoxyBulge_arxiv1901.03822_Normalized.fits", 128, name="boxy")  # doctest: +SKIP
    """
    return Template(read_plate_carree(path, nside), norm, name=name, **{"exposure": True, "units": "flux", **settings})


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (latitude, longitude), centre of its first pixel, and step of its pixels, both (2,) in degrees."""
    with opened(path) as hdus:
        header, shape = hdus[0].header, hdus[0].shape
        promised = int(np.prod(shape, dtype=object)) * abs(int(number(header, "BITPIX", f"{path}, HDU 0"))) // 8
        if promised > path.stat().st_size and path.suffix not in (".gz", ".bz2"):
            raise FileFormatError(f"{path}, HDU 0: the header promises more than the file holds. Fetch it anew")
        image = hdus[0].data
    types = tuple(str(header.get(f"CTYPE{i}", "")).upper() for i in (1, 2))
    if types != ("GLON-CAR", "GLAT-CAR") or image is None or image.ndim != 2:
        raise FileFormatError(
            f"{path}, HDU 0: not a plate-carree image in Galactic coordinates (CTYPE1, CTYPE2 = {types}, not GLON-CAR, "
            "GLAT-CAR). Reproject the image first"
        )
    where = f"{path}, HDU 0"
    value, pixel, step = (
        np.array([number(header, f"{k}{i}", where) for i in (1, 2)]) for k in ("CRVAL", "CRPIX", "CDELT")
    )
    scale = np.array([factor(header.get(f"CUNIT{i}"), "deg", f"{where}, CUNIT{i}", "an angle") for i in (1, 2)])
    value, step = value * scale, step * scale
    plain = dict.fromkeys(("PC1_2", "PC2_1", "CD1_2", "CD2_1", "CROTA1", "CROTA2"), 0.0) | {"PC1_1": 1.0, "PC2_2": 1.0}
    turned = [key for key, usual in plain.items() if number(header, key, where, usual) != usual]
    if abs(value[1]) > _ALIGNED or turned:
        raise FileFormatError(
            f"{where}: the image is rotated ({', '.join(turned) or 'no'}) or its reference point (CRVAL2 = "
            f"{value[1]:g}) lies off the Galactic plane, so its rows are not of one latitude. Reproject it first"
        )
    edges = value[1] + (np.array([0.5, image.shape[0] + 0.5]) - pixel[1]) * step[1]
    if np.any(step == 0) or abs(step[0]) * image.shape[1] > 360.0 + _ALIGNED or np.abs(edges).max() > 90.0 + _ALIGNED:
        raise FileFormatError(
            f"{where}: {image.shape[1]} x {image.shape[0]} pixels of {step[0]:g} x {step[1]:g} degrees reach the "
            f"latitudes {edges.min():g} to {edges.max():g} and are more than the sky. Correct CDELT, CRPIX or CRVAL"
        )
    image = np.asarray(image, dtype=np.float64)
    bad = ~(np.isfinite(image) & (image >= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise FileFormatError(
            f"{path}, HDU 0: row {row}, column {column} holds {image[row, column]}; brightness is finite and not "
            "negative. Set such pixels to zero"
        )
    return image, value + (1.0 - pixel) * step, step
