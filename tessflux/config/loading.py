"""A config file -> a frozen Config, or a ConfigError with every problem at once. Only files are read."""

import os
import socket
from collections.abc import Mapping

from tessflux.config import checks
from tessflux.config.file import File
from tessflux.config.sections import (
    FIRST_OUTPUT,
    KEYS,
    OUTPUT,
    AlarmConfig,
    Config,
    GlobalConfig,
    InfluxConfig,
    MqttConfig,
    SiteConfig,
    SpoolConfig,
    StatusConfig,
)
from tessflux.errors import ConfigError


def load(path: str, environ: Mapping[str, str]) -> Config:
    """The config in the file at `path`; `environ` has the variables for `${NAME}`.

    Raises ConfigError with all problems.
    """
    file = File(path, KEYS)
    file.convert(environ)
    checks.find_problems(file)
    if file.problems:
        raise ConfigError(sorted(file.problems, key=lambda problem: problem.line))
    checks.warn_of_secrets(file)
    checks.warn_of_slips(file)
    mqtt = file.values["mqtt"]
    mqtt["client_id"] = mqtt.get("client_id") or f"tessflux-{socket.gethostname()}"
    return Config(
        path=os.path.abspath(path),
        global_=GlobalConfig(**file.values["global"]),
        mqtt=MqttConfig(**mqtt),
        outputs={
            section: InfluxConfig(section=section, **file.values[section])
            for section in (FIRST_OUTPUT, *file.sections(OUTPUT))
        },
        spool=SpoolConfig(**file.values["spool"]),
        status=StatusConfig(**file.values["status"]),
        alarm=AlarmConfig(**file.values["alarm"]),
        site=SiteConfig(**file.values["site"]),
        warnings=tuple(file.warnings),
    )
