"""What a run of the command line gave, and arguments that several tests use."""

from __future__ import annotations

from dataclasses import dataclass

#: Fixes every parameter of the demo's model.
FIXED = (
    *("--set", "tbabs.nH=0.1", "--set", "powerlaw.PhoIndex=2", "--set", "powerlaw.norm=3e-4"),
    *("--set", "bbodyrad.kT=0.75", "--set", "bbodyrad.norm=0.2"),
)
MODEL = "tbabs*(powerlaw+bbodyrad)"


@dataclass(frozen=True)
class Run:
    """What a run of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one paragraph of bad input, checked to be one."""
        lines = [line for line in self.err.splitlines() if not line.startswith("warning: ")]
        assert lines[0].startswith("error: ")
        assert all(line.startswith("    ") for line in lines[1:]), self.err  # at most a place in an expression
        assert "Traceback" not in self.err
        return "\n".join(lines)
