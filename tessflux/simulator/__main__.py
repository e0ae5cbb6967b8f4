"""`python -m tessflux.simulator` publishes what a network of photometers would, until it is stopped."""

import sys

from tessflux.simulator.publisher import Stop, main

if __name__ == "__main__":
    stop = Stop()
    stop.install()
    sys.exit(main(sys.argv[1:], stop))
