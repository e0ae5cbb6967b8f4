"""TESS photometers to try tessflux with: `python -m tessflux.simulator`. No part of the daemon."""
