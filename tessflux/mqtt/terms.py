"""What a broker says about what it does for us, and what of that an operator should know. Pure.

CONNACK and SUBACK may grant less than was asked for, and nothing fails: a session that is kept for two
seconds, or QoS 0. Only MQTT 5 has the properties; before it, the granted QoS is all that a broker tells.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.mqtt.packets import Packet

CONNACK = 0x20
"""The first byte of the answer to CONNECT."""

BAD_VERSION = (b"\x01", b"\x84")
"""The code by which it refuses the version of MQTT, before MQTT 5 and with it: what does not know our version
answers in its own."""

LOGIN = frozenset({"Bad user name or password", "Not authorized", "Bad authentication method"})
"""The codes, as paho names them, that another username or password may mend."""

FOR_EVER = 0xFFFFFFFF
"""As a session expiry (MQTT 5, section 3.1.2.11.2). It is what we ask for, and what MQTT 3.1.1 does."""

LONGEST_REASON = 200
"""Characters of a broker's own words that are shown."""


class Refusal(ServerError):
    """The broker refused CONNECT by a code of this `name`, which may mean the version of MQTT (`bad_version`)
    or who we are: then it says what to look at."""

    def __init__(self, name: str, reason: str) -> None:
        advice = "; check [mqtt] username and password" if name in LOGIN else ""
        super().__init__(f"the broker refuses: {reason}{advice}")
        self.bad_version = name == "Unsupported protocol version"


def refuses_version(packet: Packet) -> bool:
    """Whether this is a CONNACK that refuses the version, in the form of whichever version."""
    first, start, data = packet
    return first == CONNACK and data[start + 1 : start + 2] in BAD_VERSION


@dataclass(frozen=True)
class Terms:
    """What CONNACK says (MQTT 5, section 3.2.2.3); the defaults stand for what it does not mention."""

    session_expiry: int | None = None
    """Seconds for which a session is kept after its connection ends; None for as long as we asked for."""
    shared: bool = True
    """Whether there are shared subscriptions."""
    wildcards: bool = True
    """Whether a topic may have + or # in it."""

    @classmethod
    def of(cls, properties: Any, asked: int) -> "Terms":
        """As paho has read them: what was not sent is no attribute. `asked` is the session expiry that we
        asked for."""
        expiry = getattr(properties, "SessionExpiryInterval", asked)
        return cls(
            None if expiry == asked else expiry,
            bool(getattr(properties, "SharedSubscriptionAvailable", 1)),
            bool(getattr(properties, "WildcardSubscriptionAvailable", 1)),
        )

    def __str__(self) -> str:
        """What it mentions, for `--check`; "" for nothing."""
        if self.session_expiry is None:
            return ""
        return f"it keeps a session {duration(self.session_expiry)}"


def objections(terms: Terms, config: MqttConfig) -> list[str]:
    """Why readings will not come, by what the broker says."""
    found = []
    if config.share_group and not terms.shared:
        found.append("the broker says that it has no shared subscriptions; leave [mqtt] share_group blank")
    if not terms.wildcards and any(set("+#") & set(topic) for topic in config.topics):
        found.append("the broker says that it takes no + or # in a topic; name each one in [mqtt] topics")
    return found


def remarks(terms: Terms) -> list[str]:
    """What will be lost while tessflux is away, by what the broker says."""
    if terms.session_expiry is None or terms.session_expiry == FOR_EVER:
        return []
    if terms.session_expiry == 0:
        return ["the broker keeps no session: what is published while tessflux is away is lost"]
    return [
        f"the broker keeps our session only {duration(terms.session_expiry)} after a connection ends: what is"
        " published later is lost until tessflux is back; raise the session expiry in the broker's config"
    ]


def lower_qos(granted: Mapping[str, int], qos: int) -> list[str]:
    """The same, by the QoS that it grants."""
    topics = sorted(topic for topic, given in granted.items() if given < qos)
    if not topics:
        return []
    return [
        f"the broker grants only QoS 0 for {', '.join(topics)}: it keeps nothing while tessflux is away;"
        " raise the largest QoS in the broker's config"
    ]


def without_registers(topics: Sequence[str]) -> list[str]:
    """What does not come, by the register topics that it does not grant."""
    if not topics:
        return []
    return [
        f"nothing comes on {', '.join(topics)}, which the broker refuses: what photometers say of themselves."
        " Readings come all the same. Let it allow us to read them, or drop them from [mqtt] register_topics"
    ]


def said(code: object, properties: Any, hide: Callable[[str], str]) -> str:
    """A broker's reason in words: that of the standard, and its own; and which other broker it names. `hide`
    takes the login out of its own words."""
    text = str(code)
    if reason := getattr(properties, "ReasonString", ""):
        text += f" ({hide(reason)[:LONGEST_REASON]})"
    if other := getattr(properties, "ServerReference", ""):
        text += f"; it names another broker: {hide(other)[:LONGEST_REASON]}"
    return text


def duration(seconds: int) -> str:
    """In words: seconds, minutes, hours or days, whichever is whole."""
    if seconds == FOR_EVER:
        return "for ever"
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds and seconds % size == 0:
            number = seconds // size
            return f"{number} {unit if number > 1 else unit.removesuffix('s')}"
    return f"{seconds} s"
