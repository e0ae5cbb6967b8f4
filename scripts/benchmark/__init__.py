"""The benchmark: every bridge on the same readings, in turns, with real servers. `scripts/bench --help`.

    __main__    the command line; which turns, in which order
    plan        what a turn is, what it measured, how large everything is
    process     what the operating system knows of a process
    site        a broker and a database for one turn; the publisher; what is in the database
    relay       between broker and bridge: a window that is kept
    bridges     what takes readings: tessflux and what it is compared with
    peers       other bridges, each a command with placeholders
    throughput, share, latency, waiting, disk    the cases
    report, plot, document, machine    what was measured, and where -> table, JSON, SVG, docs

Broker, database, publisher and bridge share one machine, so compare figures of one run, not of two.
"""
