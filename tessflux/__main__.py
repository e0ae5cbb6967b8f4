"""The command `tessflux`, which is also `python -m tessflux`."""

import sys

from tessflux.process import signals


def main() -> int:
    """Run the command line. The control signals are blocked before anything else is imported."""
    signals.block()
    from tessflux import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
