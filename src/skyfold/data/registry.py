"""Public data that can be fetched by name: where they are, whose they are, and what is known of their contents."""

from __future__ import annotations

from dataclasses import dataclass

_GCE = "https://raw.githubusercontent.com/yitiansun/gce-prob-prog"
_FPP = "https://raw.githubusercontent.com/smsharma/fermi-prob-prog"
_DSPS = "https://portal.nersc.gov/project/hacc/aphearin/DSPS_data"
_UNSTATED = "not known: ask those who publish them before you pass the files on"


@dataclass(frozen=True)
class PublicFile:
    """A file that its owner publishes.

    Parameters
    ----------
    name : what it is called on disk.
    url : where it is.
    sha256 : checksum that its owner publishes, or None where none is known: the one of the first download is then
        kept, and later ones are held against it.
    size : bytes, or None where it is not known.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class DataSet:
    """Files that belong together.

    Parameters
    ----------
    title : what they are, in a line.
    files : the files.
    licence : terms of use, as far as they are known.
    source : who publishes them, and where.
    reference : what to cite.
    """

    title: str
    files: tuple[PublicFile, ...]
    licence: str
    source: str
    reference: str

    @property
    def size(self) -> int | None:
        """Bytes of all files, None where that of one is not known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None


def _listed(base: str, names: tuple[str, ...]) -> tuple[PublicFile, ...]:
    return tuple(PublicFile(name, f"{base}/{name}") for name in names)


_MAPS = (
    *(f"fermidata_{name}.npy" for name in ("counts", "exposure", "pscmask_3fgl", "pscmask_4fgl")),
    *(f"template_{f}{kind}.npy" for f in "OAF" for kind in ("pi", "ic")),
    *(
        f"template_{name}.npy"
        for name in (
            "bub",
            "bub_alt",
            "dif",
            "dsk_z0p3",
            "dsk_z1p0",
            "iso",
            "nfw_g1p0",
            "nfw_g1p2",
            "psc_3fgl",
            "psc_4fgl",
        )
    ),
)

#: Data sets by the name that `skyfold data fetch` takes. Addresses of GitHub hold the commit, so that what is there
#: does not change. Of none of these files a published checksum or size is known.
DATA_SETS: dict[str, DataSet] = {
    "fermi-573w": DataSet(
        title="Fermi-LAT counts, exposure, masks and templates, 2-20 GeV, 573 weeks, HEALPix nside 128",
        files=_listed(f"{_GCE}/b8ec5b74d89bd24d4c252760f65c3c6f5b05f5ab/data/fermi_data_573w/fermi_data_128", _MAPS),
        licence=_UNSTATED,
        source="https://github.com/yitiansun/gce-prob-prog",
        reference="Sun, Mishra-Sharma, Slatyer & Wu, arXiv:2604.08648; data of the Fermi Science Support Center",
    ),
    "fermi-bulges": DataSet(
        title="Templates of the Galactic bulge (Macias et al. 2019, Coleman et al. 2020), plate-carree FITS",
        files=_listed(
            f"{_GCE}/ac73b20a4fc986ba5ef483ad63f4b3868257fca8/data/bulge_templates",
            (
                "BoxyBulge_arxiv1901.03822_Normalized.fits",
                "Bulge_modulated_Coleman_etal_2019_Normalized.fits",
            ),
        ),
        licence=_UNSTATED,
        source="https://github.com/yitiansun/gce-prob-prog",
        reference="Macias et al. 2019, arXiv:1901.03822; Coleman et al. 2020",
    ),
    "lat-psf": DataSet(
        title="PSF of the Fermi LAT, P8R3_ULTRACLEANVETO_V3, FITS",
        files=_listed(
            f"{_FPP}/e28bb6ea177c835f6dcc16b2df4481dd571ba647/data/fermi_psf",
            ("psf_P8R3_ULTRACLEANVETO_V3_PSF.fits",),
        ),
        licence=_UNSTATED,
        source="https://github.com/smsharma/fermi-prob-prog",
        reference="Fermi-LAT collaboration, instrument response functions P8R3_V3",
    ),
    "dsps-fsps": DataSet(
        title="Simple stellar populations of FSPS 3.2 in the DSPS layout, HDF5",
        files=_listed(_DSPS, ("ssp_data_fsps_v3.2_lgmet_age.h5",)),
        licence=_UNSTATED,
        source="https://portal.nersc.gov/project/hacc/aphearin/DSPS_data",
        reference="Conroy, Gunn & White 2009, ApJ 699, 486; Hearin et al. 2023, MNRAS 521, 1741",
    ),
    "dsps-fsps-continuum": DataSet(
        title="Simple stellar populations of FSPS 3.2 in the DSPS layout, HDF5, continuum only",
        files=_listed(_DSPS, ("ssp_data_continuum_fsps_v3.2_lgmet_age.h5",)),
        licence=_UNSTATED,
        source="https://portal.nersc.gov/project/hacc/aphearin/DSPS_data",
        reference="Conroy, Gunn & White 2009, ApJ 699, 486; Hearin et al. 2023, MNRAS 521, 1741",
    ),
}
