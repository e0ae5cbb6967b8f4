"""The least that a bridge in Python can do: paho receives, and only counts.

python counter.py PORT QOS READINGS TOPIC ends when it has them all.
"""

import sys
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion


def main(port: int, qos: int, readings: int, topic: str) -> None:
    """Subscribe, count, end."""
    missing = readings

    def count(client: Client, _data: Any, _message: MQTTMessage) -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            client.disconnect()

    client = Client(CallbackAPIVersion.VERSION2, "counter")
    client.on_message = count
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos)
    client.loop_forever()


if __name__ == "__main__":
    port, qos, readings = map(int, sys.argv[1:4])
    main(port, qos, readings, sys.argv[4])
