"""What `tessflux` does besides running: one module for each command, imported when it is called.

In:   a Config, or the directory to install into.
Out:  lines for the operator, and an exit code or a count.

`check` tries broker and database, `refused` looks into the spool, `install` puts the service in place.
"""

__all__ = ["check", "install", "refused"]
