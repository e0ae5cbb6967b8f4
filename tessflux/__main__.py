"""The command tessflux, which is also `python -m tessflux`."""

import sys

from tessflux.process import signals


def main() -> int:
    """Run the command line; the signals of the daemon wait before all else is imported."""
    signals.defer()
    from tessflux import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
