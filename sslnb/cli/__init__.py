"""The command `sslnb`, one file a stage of the notebooks.

    data      01  download, prepare, pack, scenes, verify
    training  05  train
    localise  06  maps, score, video
    retrieve  07  retrieve
    export        export
    series        run, lab, demo, handouts, slides, lint, doctor, bench, figures
    options       the options that mean the same everywhere
    errors        errors in one line

A command is a function: its parameters are the options, its docstring is the help.
It imports what it needs inside, so that help answers at once: nothing here loads
torch.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

from cyclopts import App, CoercionError, CycloptsError, Parameter

from sslnb.cli import data, experiments, export, localise, retrieve, series, training
from sslnb.cli.errors import in_one_line, say


def unwrapped(text: str) -> str:
    """A docstring with one line a paragraph and one an option, for any width.

    Help in Markdown would do this too, but takes twice as long to begin.
    """
    return re.sub(r"(?<=\S)\n(?: {8})?(?=\S)", " ", inspect.cleandoc(text))


def refuse_fractions(_app, _commands, arguments) -> None:
    """CoercionError for a fraction where an integer is wanted: cyclopts would round it."""
    for argument in arguments:
        if int not in _types(argument.hint):
            continue
        for token in argument.tokens:
            with suppress(ValueError):  # no number: cyclopts says so
                if not float(token.value).is_integer():
                    raise CoercionError(argument=argument, token=token, target_type=int)


def _types(hint: Any) -> Iterator[Any]:
    """A type and all in it: of tuple[int, ...] | None, int too."""
    yield hint
    for part in get_args(hint):
        yield from _types(part)


app = App(
    name="sslnb",
    help="Self-supervised sound localisation: the notebooks, and their work at scale. "
    "`sslnb COMMAND --help` has the options of a command.",
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=()),
    config=refuse_fractions,
    suppress_keyboard_interrupt=False,
)
for stage in (series, data, training, localise, retrieve, experiments, export):
    for number, command in enumerate(stage.COMMANDS):
        command.__doc__ = unwrapped(command.__doc__)
        app.command(command, group=stage.GROUP, sort_key=number)
app.register_install_completion_command()

# What Ctrl-C leaves, where the same command can go on
STOPPED = {
    "prepare": "what is made is kept, and the same command goes on",
    "pack": "what is packed is kept, and the same command goes on",
    "scenes": "what is packed is kept, and the same command goes on",
    "train": "the last complete state is kept, and --resume goes on from it",
    "experiments": "what is done is kept, and the same command goes on",
}


def main(tokens: list[str] | None = None) -> int:
    """Run one command; the exit code.

    0: done; 1: failed; 2: wrong usage; 130: stopped by Ctrl-C. Errors are one line on
    stderr.
    """
    tokens = sys.argv[1:] if tokens is None else tokens
    name = tokens[0] if tokens else ""
    try:
        with in_one_line():
            return (
                app(
                    tokens,
                    exit_on_error=False,
                    print_error=False,
                    result_action="return_value",
                )
                or 0
            )
    except CycloptsError as error:
        command = f"sslnb {name}" if name in app else "sslnb"
        say(f"error: {str(error).rstrip('.')}. See `{command} --help`")
        return 2
    except KeyboardInterrupt:
        say("\nstopped" + (f": {STOPPED[name]}" if name in STOPPED else ""))
        return 130
    except SystemExit as stop:  # of in_one_line
        return int(stop.code or 0)
