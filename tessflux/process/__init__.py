"""The process that tessflux is on this machine.

In:   a function to run as the daemon.
Out:  its exit code: `detach` leaves the terminal, `lock` allows one process at a time, `privileges` gives up
      root, `signals` keeps what an operator sends until somebody is there to do it.

Nothing is imported here: `signals` must come before all else.
"""

__all__ = ["detach", "lock", "privileges", "signals"]
