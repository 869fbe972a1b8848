"""What a module carries but compilation must not see."""

from __future__ import annotations

from typing import Any


class Annotation:
    """A box for paths, names, headers and unfiltered data inside a compiled pytree.

    Every annotation equals every other and hashes alike, so that two data sets of one shape have the same tree
    structure and share one executable. Nothing that changes a result may live in one.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Annotation)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        # not the content: the text of a tree's structure must be the same for every data set
        return "Annotation"
