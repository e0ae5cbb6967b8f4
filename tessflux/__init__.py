"""MQTT to InfluxDB for TESS photometers."""

__version__ = "4.0.0"
RELEASED = "2026-11-27"
"""The day of this version; CHANGELOG.md has both."""
