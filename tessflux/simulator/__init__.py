"""Simulated TESS photometers to try tessflux with: `python -m tessflux.simulator`. Not part of the daemon.

In:   how many photometers, how fast, and which night they show.
Out:  their messages, published to a broker; and a ledger of when each reading was published.
"""

__all__: list[str] = []
