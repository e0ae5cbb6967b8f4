"""`python -m tessflux.simulator` plays the photometers until it is told to stop."""

import sys

from tessflux.simulator.publisher import Stop, main

if __name__ == "__main__":
    told_to_stop = Stop()
    told_to_stop.install()
    sys.exit(main(sys.argv[1:], told_to_stop))
