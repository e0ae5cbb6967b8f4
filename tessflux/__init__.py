"""MQTT to InfluxDB for TESS photometers."""

__version__ = "3.0.0"
