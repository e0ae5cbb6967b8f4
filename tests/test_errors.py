"""What an error says to the operator."""

from errno import ECONNREFUSED, EHOSTUNREACH

import pytest
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError, NoRouteError
from twisted.internet.error import ConnectionRefusedError as NotThere

from tessflux.errors import ServerError, in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotThere(ECONNREFUSED, "Connection refused"), "Connection refused"),
        (NoRouteError(EHOSTUNREACH, "No route to host"), "No route to host"),
        (NotThere(), "Connection was refused by other side"),
        (ConnectError(ECONNREFUSED), f"An error occurred while connecting: {ECONNREFUSED}"),
        (ConnectionLost(), "Connection to the other side was lost in a non-clean fashion"),
        (DNSLookupError("no results for broker"), "DNS lookup failed: no results for broker"),
        (ServerError("it is busy"), "it is busy"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_told_once_and_without_a_full_stop(error: Exception, words: str) -> None:
    assert in_words(error) == words
