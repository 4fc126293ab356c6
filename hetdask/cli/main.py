"""The program `hetdask`: its commands, and what becomes of errors."""

from __future__ import annotations

import gc
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn, override

import click

from hetdask import __version__
from hetdask.cli.options import fit_options, plot_options
from hetdask.errors import HetdaskError
from hetdask.stack import roomy

DONE: Final = 0
INTERNAL: Final = 1
INTERRUPTED: Final = 130

COLLECT_EVERY: Final = 100_000
"""New objects after which Python looks for cycles: at its 2,000 or less, that takes a tenth of a small fit's time."""

COMMANDS: Final = {
    "demo": "simulate an experiment, ingest it, fit it, and show the result beside the truth",
    "fit": "fit the data that a configuration names",
    "submit": "send a whole fit to a job queue",
    "ingest": "turn a beamline file into a store",
    "report": "write the page of a run anew, figures for papers, and exports",
    "dashboard": "show a run that goes on or has ended, as a page that follows it",
    "inspect": "tell what is in a file or store, and what a fit would need",
    "simulate": "write a simulated experiment",
    "design": "predict the errors of a planned experiment",
    "history": "list earlier fits, import others, train the learned start on them",
    "config": "write, check, migrate and describe configurations",
    "doctor": "look at this machine and installation, and say what to mend",
    "bench": "time kernels, passes and a fit, and compare with an earlier run",
}
"""Commands and what they do; each is in the module of its name."""


class Commands(click.Group):
    """Group whose commands are imported when they are called."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"hetdask.cli.{cmd_name}").command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
@click.option("--config", type=click.Path(), help="Fit this configuration: the same as `hetdask fit CONFIG`.")
@fit_options
@plot_options
@click.version_option(__version__, "-V", "--version", prog_name="hetdask")
@click.pass_context
def cli(context: click.Context, /, config: str | None, **options: Any) -> int | None:
    """Fit the two-component heterodyne model to XPCS two-time correlation maps of any size.

    `hetdask --config CONFIG` fits a configuration. `hetdask COMMAND -h` explains a command.
    """
    if context.invoked_subcommand is not None:
        given = [name for name in ("config", *options) if _was_given(context, name)]
        if given:
            flag = "--" + given[0].replace("_", "-")
            raise click.UsageError(
                f"{flag} belongs behind the command: hetdask {context.invoked_subcommand} … {flag} …"
            )
        return None
    from hetdask.cli.plot import plot_data, take_request

    request = take_request(options)
    if request is not None:
        return plot_data(config, request, options)
    if config is None:
        raise click.UsageError("Missing option '--config', or a command. Try 'hetdask -h'.")
    from hetdask.cli.fit import fit

    return fit(config, **options)


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) not in {None, click.core.ParameterSource.DEFAULT}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: done and converged; 1: internal error; 2: wrong input, configuration or data; 3: ran but did not converge;
    130: interrupted.
    """
    with warnings.catch_warnings():
        # Warnings of ours are part of what the program says; those of other packages are not for its users.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"hetdask(_cluster|_kernels)?(\.|$)")
        warnings.showwarning = _show_warning
        try:
            status = cli.main(list(sys.argv[1:] if arguments is None else arguments), "hetdask", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            _say("interrupted")
            return INTERRUPTED
        except HetdaskError as error:
            _say(f"error: {error}")
            return error.exit_code
        except Exception as error:  # noqa: BLE001 (the end of the program: reported, and told apart from wrong input)
            from hetdask.compilation import kernel_error

            known = kernel_error(error)
            _say(_internal(error) if known is None else f"error: {known}")
            return INTERNAL if known is None else known.exit_code
    return status if isinstance(status, int) else DONE


@roomy
def main() -> NoReturn:
    """Entry point of the program."""
    gc.set_threshold(COLLECT_EVERY)
    status = run()
    # What is left goes with the process: looking it through for cycles first would take most of a second.
    gc.freeze()
    sys.exit(status)


def _say(text: str) -> None:
    click.echo(f"hetdask: {text}", err=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    text = f"warning: {message}"
    _say(wrapped(text) if sys.stderr.isatty() else text)


def wrapped(text: str) -> str:
    """A text of several lines that breaks between words where a terminal ends."""
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False, subsequent_indent="    ")
    lines = []
    for line in text.splitlines():
        wrapper.initial_indent = line[: len(line) - len(line.lstrip())]
        lines.append(wrapper.fill(line.lstrip()))
    return "\n".join(lines)


def _internal(error: Exception) -> str:
    from hetdask.cli.log import log_of

    log = log_of(error)
    if log is None:
        return f"internal error, please report it:\n{traceback.format_exc()}"
    what = f"{type(error).__name__}: {error}"
    return f"internal error, please report it with {log}, which has the traceback: {what}"


if __name__ == "__main__":
    main()
