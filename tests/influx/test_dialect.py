"""What differs between InfluxDB 1, 2 and 3: it follows from the keys."""

from dataclasses import replace

import pytest

from tessflux.config import InfluxConfig, Secret
from tessflux.influx.dialect import dialect

TOKEN = Secret("t0ken==")
ONE = InfluxConfig(dbname="a&b c")
TWO = InfluxConfig(org="my org", bucket="sky/1")
THREE = InfluxConfig(database="sky")


@pytest.mark.parametrize(
    ("config", "write", "authorization", "place"),
    [
        (ONE, "/write?db=a%26b+c&precision=ms", "", "database a&b c"),
        (
            replace(ONE, retpol="p", username="me", password=Secret("pass")),
            "/write?db=a%26b+c&precision=ms&rp=p",
            "Basic bWU6cGFzcw==",
            "database a&b c, retention policy p",
        ),
        # Without a username a password is not sent.
        (replace(ONE, password=TOKEN), "/write?db=a%26b+c&precision=ms", "", "database a&b c"),
        (
            replace(TWO, password=TOKEN),
            "/api/v2/write?org=my+org&bucket=sky%2F1&precision=ms",
            "Token t0ken==",
            "bucket sky/1 of organization my org",
        ),
        (
            replace(THREE, password=TOKEN),
            "/api/v3/write_lp?db=sky&precision=millisecond&accept_partial=true",
            "Bearer t0ken==",
            "database sky",
        ),
        (THREE, "/api/v3/write_lp?db=sky&precision=millisecond&accept_partial=true", "", "database sky"),
    ],
)
def test_a_database_is_spoken_to_as_its_keys_say(
    config: InfluxConfig, write: str, authorization: str, place: str
) -> None:
    spoken = dialect(config)
    assert (spoken.write, spoken.authorization(config), spoken.place) == (write, authorization, place)


@pytest.mark.parametrize(
    ("config", "said", "shown"),
    [
        (replace(ONE, username="me", password=Secret("pass")), "me:pass, bWU6cGFzcw==", "me:***, ***"),
        # It was not sent.
        (replace(ONE, password=TOKEN), "t0ken==", "t0ken=="),
        (replace(TWO, password=TOKEN), "Token t0ken== or t0ken%3D%3d", "Token *** or ***"),
        (replace(THREE, password=TOKEN), '{"error": "Bearer t0ken\\u003d="}', '{"error": "Bearer ***"}'),
        (THREE, "Bearer t0ken==", "Bearer t0ken=="),
    ],
)
def test_the_login_is_hidden_in_what_a_server_says(config: InfluxConfig, said: str, shown: str) -> None:
    assert dialect(config).hide(config, said) == shown


@pytest.mark.parametrize(
    ("config", "maker", "advice"),
    [
        (ONE, "", "create it, or name a data definition file in [influxdb] schema"),
        (replace(ONE, schema="/file"), "/file", ""),
        (
            replace(ONE, section="influxdb copy"),
            "",
            "create it, or name a data definition file in [influxdb copy] schema",
        ),
        (TWO, "", "create it, or write create = yes in [influxdb]"),
        (replace(TWO, create=True), "create = yes", ""),
        (THREE, "", "create it"),
    ],
)
def test_advice_names_the_keys_that_this_database_has(config: InfluxConfig, maker: str, advice: str) -> None:
    spoken = dialect(config)
    assert spoken.maker == maker
    assert not advice or spoken.unmade == advice
    assert ("token" in spoken.login) == (config.dbname == "tessdb")
