"""The program ``skyfold``: its commands, and how it ends."""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from skyfold import __version__
from skyfold.errors import SkyfoldError, SkyfoldWarning
from skyfold.jobs.job import CONVERGED, INTERRUPTED

#: Exit codes beside those of a job: the usual ones of bad input and of an inner error (click, sysexits.h).
BAD_INPUT, INNER_ERROR = 2, 70

_COMMANDS = ("xray", "gammaray", "fit", "models", "demo", "data", "doctor")
_HELP = """Fold models of the sky through real instruments and infer their parameters.

Exit codes: 0 converged, 1 not converged, 2 bad input, 70 an error inside skyfold, 130 interrupted.
"""


class Program(click.Group):
    """Group of commands, each in the module of its name, that turns every error into one paragraph and an exit code."""

    def __init__(self) -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        super().__init__("skyfold", help=_HELP, context_settings=settings)
        click.version_option(__version__, message="skyfold %(version)s")(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"skyfold.cli.{cmd_name}").command
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program and end the process with its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            except click.Abort:
                _end("interrupted", INTERRUPTED)
            except click.ClickException as error:
                _end(_usage(error), BAD_INPUT)
            except SkyfoldError as error:
                _end(f"error: {error}", BAD_INPUT)
            except BrokenPipeError:
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what reads our output is gone
                sys.exit(CONVERGED)
            except Exception as error:
                if os.environ.get("SKYFOLD_DEBUG"):
                    raise
                _end(_inner(error), INNER_ERROR)
        sys.exit(code if isinstance(code, int) else CONVERGED)


def _end(message: str, code: int) -> NoReturn:
    click.echo(_paragraph(message), err=True)
    sys.exit(code)


def _paragraph(text: str) -> str:
    """Join the lines of a message, except indented ones, which show a place in an expression."""
    return re.sub(r"\s*\n(?! {4})\s*", " ", text.strip())


def _usage(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    hint = f" See '{ctx.command_path} --help'." if ctx is not None else ""
    return f"error: {error.format_message()}{hint}"


def _inner(error: Exception) -> str:
    return (
        f"error inside skyfold: {type(error).__name__}: {error}. This is a fault of the program, not of your "
        "input; set SKYFOLD_DEBUG=1 to see the traceback, and please report it."
    )


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, SkyfoldWarning) or os.environ.get("SKYFOLD_DEBUG"):
        click.echo(_paragraph(f"warning: {message}"), err=True)
