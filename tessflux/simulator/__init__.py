"""TESS photometers to try tessflux with: `python -m tessflux.simulator`. No part of the daemon.

In:   how many photometers, how fast, and the time of the night that they show.
Out:  their messages, published to a broker.
"""

__all__: list[str] = []
