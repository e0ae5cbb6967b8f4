"""The way in: MQTT from the broker, by paho on a Twisted transport.

In:   bytes from the broker, over one connection at a time, which `Subscriber` keeps up for ever.
Out:  each `Message`, with those that arrived together, and what acknowledges them, handed on at once.

A `Session` over a `broker_endpoint` is one connection, for `tessflux --check`; `terms` has words for what a
broker says.
"""

from tessflux.mqtt.endpoint import broker_endpoint
from tessflux.mqtt.pahoclient import Answer
from tessflux.mqtt.session import CONNACK_TIMEOUT, Session
from tessflux.mqtt.subscriber import Subscriber
from tessflux.mqtt.terms import Refusal, lower_qos, objections, remarks, without_registers
from tessflux.mqtt.version import other_than

__all__ = [
    "CONNACK_TIMEOUT",
    "Answer",
    "Refusal",
    "Session",
    "Subscriber",
    "broker_endpoint",
    "lower_qos",
    "objections",
    "other_than",
    "remarks",
    "without_registers",
]
