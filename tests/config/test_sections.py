"""The values of a config: which of them change without a new connection."""

from dataclasses import fields, replace
from typing import Any

import pytest

from tessflux.config import BrokerAddress, InfluxConfig, MqttConfig, Secret

MQTT = MqttConfig(BrokerAddress("tcp", "h", 1883, ""))
INFLUX = InfluxConfig()
LIVE = {
    MQTT: {"topics", "register_topics", "share_group", "share_member", "validation", "whitelist", "blacklist"}
    | {"new_photometers", "silence", "backlog_wait", "stats", "log_level"},
    INFLUX: {
        "section",  # It is no key; another section is another output.
        "resend",
        "required",
        "begin",
        "measurement",
        "extra_fields",
        "batch",
        "flush_interval",
        "stats",
        "log_level",
    },
}


@pytest.mark.parametrize("config", LIVE, ids=lambda config: type(config).__name__)
def test_only_what_a_connection_is_not_made_of_changes_without_a_new_one(config: Any) -> None:
    """A reload of a log level, say, leaves the connection alone; a key that is added later does not."""
    kept = {
        field.name
        for field in fields(config)
        if replace(config, **{field.name: Secret("new")}).connection == config.connection
    }
    assert kept == LIVE[config]
