"""The way in: MQTT from the broker, by paho on a Twisted transport.

In:   bytes from the broker, over one connection at a time, which `Subscriber` keeps up for ever.
Out:  a `Message` and what acknowledges it, handed on at once.

A `Session` over a `broker_endpoint` is one connection, for `tessflux --check`.
"""

from tessflux.mqtt.endpoint import broker_endpoint
from tessflux.mqtt.session import Session
from tessflux.mqtt.subscriber import Subscriber

__all__ = ["Session", "Subscriber", "broker_endpoint"]
