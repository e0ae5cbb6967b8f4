"""The way in: MQTT from the broker, by paho on a Twisted transport.

In:   the bytes of one connection at a time, kept up by `Subscriber` for ever.
Out:  a `Message` and what acknowledges it, handed on at once.

`Session` with a `Login` over a `broker_endpoint` is one connection, for `tessflux --check`.
"""

from tessflux.mqtt.endpoint import broker_endpoint
from tessflux.mqtt.pahoclient import Login
from tessflux.mqtt.session import Session
from tessflux.mqtt.subscriber import Subscriber

__all__ = ["Login", "Session", "Subscriber", "broker_endpoint"]
