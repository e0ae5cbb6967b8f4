"""The host of a config -> where to connect. Whether there is a host of that name is for the system to say.

Twisted by itself refuses names that are none by IDNA 2008, such as those with an underscore, which are usual
between containers.
"""

from twisted.internet.endpoints import HostnameEndpoint


class HostEndpoint(HostnameEndpoint):
    """Connects to a host by its name, as `config` makes it ASCII, or by its address."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        """Whether the name is bad, and both of its forms."""
        text = host if isinstance(host, str) else host.decode("ascii")
        return False, text.encode("ascii"), text
