"""A stand-in for the daemon, run by the init script. It keeps the contract of the real one: it detaches, its
parent returns its failure, it holds the lock of its pid file while it lives, and it reacts to the same
signals.

It runs under any Python and imports nothing of this project. What it does it appends to `log` beside itself.
The words in its config are its behaviour: broken (the config), deaf (to TERM), slow (to end).
"""

import fcntl
import os
import signal
import sys
import time


def main() -> int:
    config, pid_file = sys.argv[sys.argv.index("-c") + 1], sys.argv[-1]
    with open(config) as stream:
        behaviour = stream.read().split()
    if "broken" in behaviour:
        print(f"{os.getuid()} {config}:1: what is that?", file=sys.stderr)
        return 78
    if "--check-config" in sys.argv:
        return 0
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    log = os.open(f"{here}/log", os.O_WRONLY | os.O_APPEND)
    ready, readiness = os.pipe()
    if os.fork():
        os.close(readiness)
        return 0 if os.read(ready, 1) else 73
    os.setsid()
    if os.fork():
        os._exit(0)
    serve(pid_file, log, readiness, behaviour)
    return 0


def serve(pid_file: str, log: int, readiness: int, behaviour: list[str]) -> None:
    with open(pid_file, "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        signals = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
        if "deaf" in behaviour:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            signals.add(signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        os.write(log, f"START {os.getpid()} {os.getuid()} {os.getgid()}\n".encode())
        for number in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        os.write(readiness, b"r")
        os.close(readiness)
        received = None
        while received != signal.SIGTERM:
            received = signal.Signals(signal.sigwait(signals))
            os.write(log, f"{received.name[3:]}\n".encode())
        os.unlink(pid_file)
        if "slow" in behaviour:
            time.sleep(0.5)
        os.write(log, b"END\n")


if __name__ == "__main__":
    sys.exit(main())
