"""The way in: one connection to the broker at a time, and the service that keeps one."""
