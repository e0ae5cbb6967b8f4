"""The way out: requests to InfluxDB, and the service that decides what to send and when."""
