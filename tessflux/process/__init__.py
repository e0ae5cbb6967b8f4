"""tessflux as a process of this machine.

In:   a function to run as the daemon.
Out:  its exit code.

`detach` leaves the terminal or stays there, `lock` allows one process at a time, `privileges` gives up root,
`notify` speaks with systemd, and `signals` holds back the control signals until the daemon can handle them.
Nothing is imported here, because `signals` must come before all else.
"""

__all__ = ["detach", "lock", "notify", "privileges", "signals"]
