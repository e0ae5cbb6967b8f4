"""The config file.

In:   the path of an INI file, and the environment for its `${NAME}`.
Out:  a frozen `Config`, or a ConfigError with every problem in the file at once.

`load` does it. `sections` has every key; each service gets the section that concerns it. `addresses` also
reads the address of a broker that comes from elsewhere.
"""

from tessflux.config.addresses import BrokerAddress, ListenAddress
from tessflux.config.loading import load
from tessflux.config.places import Place
from tessflux.config.secret import NO_SECRET, Secret
from tessflux.config.sections import (
    FIRST_OUTPUT,
    AlarmConfig,
    Config,
    GlobalConfig,
    InfluxConfig,
    MqttConfig,
    SiteConfig,
    SpoolConfig,
    StatusConfig,
    Version,
)

__all__ = [
    "FIRST_OUTPUT",
    "NO_SECRET",
    "AlarmConfig",
    "BrokerAddress",
    "Config",
    "GlobalConfig",
    "InfluxConfig",
    "ListenAddress",
    "MqttConfig",
    "Place",
    "Secret",
    "SiteConfig",
    "SpoolConfig",
    "StatusConfig",
    "Version",
    "addresses",
    "converters",
    "load",
]
