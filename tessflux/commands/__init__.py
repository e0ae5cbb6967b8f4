"""What the `tessflux` command does besides running the daemon: one module a command.

In:   a Config, or the directory to install into.
Out:  lines for the operator, and an exit code.

    tessflux --check              check       config, broker and database: what works, and what to do
    tessflux --install            install     files, directories and user of the service
    tessflux --uninstall          uninstall   the same, removed
    tessflux data                 data        the readings of a photometer out of the database
    tessflux export               export      the readings that wait in the spool
    tessflux refused              refused     what is in quarantine
    tessflux refused --requeue    requeue     have it tried again
    tessflux status               status      what the running daemon does
    tessflux photometers          photometers who was heard, and who is silent
    tessflux pause                control     deliver nothing
    tessflux resume               control     deliver again
    tessflux reload               control     read the config again
    tessflux test-alarm           testalarm   run the operator's command for alarms

Each module has one function of the same name. They share `output` (lines on standard output), `spoolview`
(the spool seen from outside), `daemon` (the running one, over its socket), `shipped`, `manifest` and
`system` (what is installed, whose it is now, and where). To `check` belong `brokercheck` and `findings`, to
`data` `progress`, and to what is installed `manual`, the man pages.
"""

__all__ = [
    "check",
    "control",
    "daemon",
    "data",
    "export",
    "install",
    "output",
    "photometers",
    "refused",
    "requeue",
    "status",
    "testalarm",
    "uninstall",
]
