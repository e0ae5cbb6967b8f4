"""The benchmark: every bridge on the same readings, in turns, with real servers. `scripts/bench --help`.

    __main__    the command line; the exit code
    plan        what a turn is, what it measured, in which order they are taken
    report      what was measured -> Markdown
    machine     what it was measured on: processor, versions, commit, how long a sync takes
    process     what the operating system knows of a process
    site        a broker and a database for one turn; the publisher; what is in the database
    between     begins these two:
    relay       between broker and bridge: a window that is kept
    stopwatch   between broker and bridge: how long an acknowledgement takes
    bridges     what takes readings: tessflux and what it is compared with
    throughput, share, latency, pace, waiting, disk, watched    the cases

Broker, database, publisher and bridge share one machine: compare figures of one run, not of two.
"""
