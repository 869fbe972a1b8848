"""Dust: attenuation of starlight and its re-emission.

Every law has ``transmission(wave)``, the factors on the light of stars younger and older than ``t_birth``; every
emission has ``emission(wave)``, the spectrum of one absorbed solar luminosity.
"""

from skyfold.galaxy.dust.calzetti import Calzetti
from skyfold.galaxy.dust.cardelli import Cardelli
from skyfold.galaxy.dust.casey import Casey2012
from skyfold.galaxy.dust.greybody import ModifiedBlackBody
from skyfold.galaxy.dust.kriek_conroy import KriekConroy
from skyfold.galaxy.dust.law import DustEmission, DustLaw, Screen
from skyfold.galaxy.dust.powerlaw import PowerLawDust
from skyfold.galaxy.dust.salim import Salim
from skyfold.galaxy.dust.smc import SMC
from skyfold.galaxy.dust.tables import Dale2014, DraineLi2007, read_dale2014, read_draine_li2007
from skyfold.galaxy.dust.two_components import CharlotFall, TwoComponent

__all__ = [
    "SMC",
    "Calzetti",
    "Cardelli",
    "Casey2012",
    "CharlotFall",
    "Dale2014",
    "DraineLi2007",
    "DustEmission",
    "DustLaw",
    "KriekConroy",
    "ModifiedBlackBody",
    "PowerLawDust",
    "Salim",
    "Screen",
    "TwoComponent",
    "read_dale2014",
    "read_draine_li2007",
]
