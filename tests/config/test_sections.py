"""The values of a config: which of them a connection is made of."""

from dataclasses import fields, replace
from typing import Any

import pytest

from tessflux.config import BrokerAddress, InfluxConfig, MqttConfig, Secret

MQTT = MqttConfig(BrokerAddress("tcp", "h", 1883, ""))
INFLUX = InfluxConfig()
CONNECTS = {
    MQTT: {"broker", "username", "password", "client_id", "version", "keepalive", "qos"}
    | {"tls_ca", "tls_cert", "tls_key"},
    INFLUX: {"url", "dbname", "username", "password", "retpol", "timeout", "tls_ca"},
}


@pytest.mark.parametrize("config", CONNECTS, ids=lambda config: type(config).__name__)
def test_only_what_a_connection_is_made_of_needs_a_new_one(config: Any) -> None:
    """A reload of anything else, such as a log level, leaves the connection alone."""
    changing = {
        field.name
        for field in fields(config)
        if replace(config, **{field.name: Secret("new")}).connection != config.connection
    }
    assert changing == CONNECTS[config]
