"""Which certificates are trusted, and what the operator reads about one that is not."""

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.ssl import platformTrust

from tessflux.tls import CertificateRefused, tls_problem, trust

HINT = "; it has expired, or [mqtt] tls_ca does not have the authority that signed it"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            CertificateRefused("its certificate is for other.example, not for localhost"),
            "its certificate is for other.example, not for localhost;"
            " [mqtt] broker must name the server as its certificate does",
        ),
        (
            SSL.Error([("SSL routines", "", "wrong version number")]),
            "TLS: wrong version number;"
            " no TLS is spoken at this port, so [mqtt] broker must begin with tcp: or ws://",
        ),
        (
            SSL.Error([("SSL routines", "", "certificate verify failed")]),
            f"TLS: certificate verify failed{HINT}",
        ),
        (SSL.SysCallError(-1, "Unexpected EOF"), "TLS: (-1, 'Unexpected EOF')"),
        (ConnectionLost(), None),
    ],
)
def test_a_failure_of_tls_is_explained_in_words(error: Exception, said: str | None) -> None:
    assert tls_problem(error, "mqtt", "broker", plain="tcp: or ws://") == said


def test_without_a_file_the_authorities_of_the_system_are_believed() -> None:
    assert type(trust("")) is type(platformTrust())
