"""pdctl: exit codes 0 done, 1 failed, 2 bad usage or input; an error is one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from pdoperator.cli.breakeven import breakeven
from pdoperator.cli.doctor import doctor
from pdoperator.cli.explain import explain
from pdoperator.cli.history import history
from pdoperator.cli.pause import pause, resume
from pdoperator.cli.profile import profile
from pdoperator.cli.profiles import profiles
from pdoperator.cli.size import size
from pdoperator.cli.top import top

NO_NUMBA = "replay needs numba; install it with: pip install 'pd-operator[replay]'"


class Commands(click.Group):
    """`replay` is imported when it is asked for: the simulator takes seconds, and numba, which is an extra."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in their order of names."""
        return sorted([*super().list_commands(ctx), "replay"])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name; without numba a `replay` that says so."""
        if name != "replay":
            return super().get_command(ctx, name)
        try:
            from pdoperator.cli.replay import replay
        except ModuleNotFoundError as missing:
            if missing.name != "numba":
                raise
            lenient = {"ignore_unknown_options": True, "allow_extra_args": True}
            return click.Command("replay", lenient, _without_numba, help=NO_NUMBA, add_help_option=False)
        return replay


def _without_numba() -> None:
    raise click.ClickException(NO_NUMBA)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pd-operator", prog_name="pdctl")
def pdctl() -> None:
    """Size, compare and understand disaggregated LLM serving."""


for command in (
    size, breakeven, profiles, profile, explain, history, top, pause, resume, doctor
):  # fmt: skip
    pdctl.add_command(command)


def main() -> None:
    """Run pdctl and exit."""
    # kubectl finds kubectl-pd as its plugin `pd`.
    name = "kubectl pd" if Path(sys.argv[0]).name == "kubectl-pd" else "pdctl"
    sys.exit(run(sys.argv[1:], name))


def run(arguments: list[str], name: str = "pdctl") -> int:
    """Run pdctl with these arguments and return its exit code."""
    try:
        code = pdctl.main(arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"{name}: {' '.join(error.format_message().split())}", err=True)
        return error.exit_code
    except click.Abort:
        return 130
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not be written when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0
