"""Flows: normalizing flows of FlowJAX as guides; they start as the identity, so as the Laplace approximation."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.variational.guides import FullRank, Guide

#: The splines of a flow act between minus and plus this many standard deviations of the Laplace approximation: the ends
#: of a bent posterior lie far out by its curvature at the mode.
_INTERVAL = 12.0


class Structure:
    """What of a flow is not trained; there is one for each choice of settings, so that executables are shared."""

    def __init__(self, parts: Any, *, two_way: bool) -> None:
        self.parts = parts
        self.two_way = two_way


class Flow(Guide):
    """y = shift + L f(e): a flow, then any linear map, trained together."""

    affine: FullRank
    trained: Any
    structure: Structure = eqx.field(static=True)

    @property
    def two_way(self) -> bool:  # type: ignore[override]
        """Whether the inverse costs about as much as the flow; that of an autoregressive one costs ndim times more."""
        return self.structure.two_way

    def _bijection(self) -> Any:
        import paramax

        return paramax.unwrap(eqx.combine(self.trained, self.structure.parts, is_leaf=_frozen))

    def forward(self, e: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, log_det = self._bijection().transform_and_log_det(e)
        y, linear = self.affine.forward(x)
        return y, log_det + linear

    def inverse(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, linear = self.affine.inverse(y)
        e, log_det = self._bijection().inverse_and_log_det(x)
        return e, linear - log_det


def first_flow(method: Any, ndim: int) -> Flow:
    """Flow with a method's settings (`flow`, `layers`, `knots`, `width`), the identity but for the coordinates' order.

    Raises
    ------
    SkyfoldError
        If FlowJAX is not installed.
    """
    try:
        import flowjax  # noqa: F401
    except ImportError as error:
        raise SkyfoldError(
            "The family 'flow' needs FlowJAX: pip install 'skyfold[flows]'; the families 'meanfield', 'fullrank' and "
            "'lowrank' do without."
        ) from error
    trained, structure = _build(method.flow, ndim, method.layers, method.knots, method.width)
    return Flow(FullRank.identity(ndim), trained, structure)


@lru_cache(maxsize=64)
def _build(kind: str, ndim: int, layers: int, knots: int, width: int) -> tuple[Any, Structure]:
    import jax.nn
    from flowjax.bijections import Vmap
    from flowjax.distributions import StandardNormal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    from skyfold.inference.variational.splines import Spline

    spline = Spline.identity(knots, _INTERVAL)
    bijection: Any
    if ndim == 1:  # nothing to condition on: one spline
        bijection = Vmap(spline, axis_size=1)
    else:
        make = coupling_flow if kind == "coupling" else masked_autoregressive_flow
        bijection = make(
            jax.random.key(0),
            base_dist=StandardNormal((ndim,)),  # type: ignore[call-arg]
            transformer=spline,
            flow_layers=layers,
            nn_width=width,
            nn_activation=jax.nn.tanh,
            invert=False,
        ).bijection
        bijection = _stilled(bijection)
    trained, parts = eqx.partition(bijection, eqx.is_inexact_array, is_leaf=_frozen)
    trained = jax.tree.map(np.asarray, trained)
    return trained, Structure(parts, two_way=kind == "coupling" or ndim == 1)


def _frozen(leaf: Any) -> bool:
    import paramax

    return isinstance(leaf, paramax.NonTrainable)


def _stilled(bijection: Any) -> Any:
    """Set the last layer of every network to zero: every spline is then the identity."""

    def is_network(node: Any) -> bool:
        return isinstance(node, eqx.nn.MLP)

    def still(node: Any) -> Any:
        if not is_network(node):
            return node
        zero = jax.tree.map(lambda a: jnp.zeros_like(a) if eqx.is_inexact_array(a) else a, node.layers[-1])
        return eqx.tree_at(lambda n: n.layers[-1], node, zero)

    return jax.tree.map(still, bijection, is_leaf=is_network)
