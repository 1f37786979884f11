"""Commands: `python -m sslnb.localise score`, `maps` and `video`."""

import argparse
import sys

from sslnb.localise import report, respond, video

COMMANDS = {"score": report, "maps": respond, "video": video}


def main(arguments=None):
    """Run one of the commands; what is wrong with its input ends it with one line."""
    parser = argparse.ArgumentParser("python -m sslnb.localise", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.HELP, description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
    options = parser.parse_args(arguments)
    try:
        COMMANDS[options.command].run(options)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
