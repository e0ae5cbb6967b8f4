"""What the keys of a config file must agree on, and what its operator should know: a function for each rule.

A rule looks at a converted `File`, and adds problems and warnings to it. None of them shows a secret.
"""

import re
import ssl

from tessflux.config import converters
from tessflux.config.addresses import BROKER_FORMS
from tessflux.config.file import File
from tessflux.config.secret import NO_SECRET, Secret
from tessflux.config.sections import FIRST_OUTPUT, OUTPUT
from tessflux.limits import SHARE_MEMBERS
from tessflux.readings import OTHER_KINDS, REGISTRATIONS_MEASUREMENT

_QUOTE = "[\"'`\u2018\u2019\u201c\u201d]"
_QUOTES = (rf"^{_QUOTE}|{_QUOTE}$", "has quotes, which are part of it; drop them")
_COMMENT = "has a # in it, which is part of it; a comment needs a line of its own"
_IN_ANY = (_QUOTES, (r"\s#", _COMMENT))
_SEPARATOR = (
    r"[\s;|]",
    "has a blank, ; or | in it, which separates nothing; commas separate the items of a list",
)
_WORD = r"\w+(?:[-.]\w+)*"
"""What a name or a level of a topic usually is."""
_LEVEL = rf"(?:{_WORD}|[+#])"
_IN_NAMES = (
    _QUOTES,
    ("#", _COMMENT),
    _SEPARATOR,
    (
        rf"^(?!{_WORD}$)|^(?:all|any|every(?:one|thing)?|no|none|nothing|null|nil|off|false|on|true|yes)$",
        "is no list, pattern or word with a meaning; it stands for the one photometer with exactly this name",
    ),
)
_IN_TOPICS = (
    _QUOTES,
    _SEPARATOR,
    (r"\*", "has a *, which is no wildcard; + stands for any one level, # at the end for all levels below"),
    (r"^/|//|/$", "has an empty level; drop the / that is too much"),
    (r"^(?!STARS4ALL)(?i:STARS4ALL)", "is not in capitals, in which photometers write STARS4ALL"),
    (
        rf"^(?!{_LEVEL}(?:/{_LEVEL})*$)",
        "is no list, pattern or placeholder; a level is a name or +, which stands for any one level",
    ),
    (r"^[^/+#]+$", "has a single level, on which no photometer publishes"),
)
_SECRETS = ("password", "password_file", "token", "token_file")
"""Four ways to give one."""

_DIALECTS = {
    "InfluxDB 1": ("dbname", "retpol", "schema", "username", "password", "password_file"),
    "InfluxDB 2": ("bucket", "org"),
    "InfluxDB 3": ("database",),
}
"""The keys that only one kind of database has."""

_SLIPS = {
    "whitelist": _IN_NAMES,
    "blacklist": _IN_NAMES,
    "topics": _IN_TOPICS,
    "register_topics": (
        *_IN_TOPICS,
        (
            r"(?<!/register)(?<!/[+#])$",
            "does not end in /register, by which register messages are recognised",
        ),
    ),
}
"""What can stand in a value and mean what it says, but hardly does: a pattern, and what to say of it.
Whatever is no usual name or topic is such a slip."""


def find_problems(file: File) -> None:
    """Add whatever is wrong with keys that are right one by one."""
    for section in _servers(file):
        _one_secret(file, section)
        _password_with_username(file, section)
    for section in _outputs(file):
        _one_dialect(file, section)
        _bucket_is_whole(file, section)
    _broker_is_given(file)
    _certificate_with_key(file)
    _group_with_member(file)
    _group_in_its_key(file)
    _qos_2_means_1(file)
    # While an address is wrong, nobody can tell whether its server has TLS.
    broker = file.values["mqtt"].get("broker")
    if broker and not broker.tls:
        _no_tls_files(file, "mqtt", f"broker = {'wss://HOST/PATH' if broker.websocket else 'tls:HOST:PORT'}")
    for section in _outputs(file):
        url = file.values[section].get("url")
        if url and not any(each.startswith("https:") for each in url.split(",")):
            _no_tls_files(file, section, "url = https://HOST:PORT")
    _outputs_have_urls(file)
    for section in _servers(file):
        _authorities_can_be_read(file, section)
    _certificate_fits_key(file)


def warn_of_secrets(file: File) -> None:
    """Warn of secrets that everyone can read, and of a comment that cuts a password or is part of it."""
    for section in _servers(file):
        _password_is_not_exposed(file, section)
        _password_is_whole(file, section)
        _secret_files_are_not_exposed(file, section)


def warn_of_slips(file: File) -> None:
    """Warn of values that are right, but quietly store nothing, or mix two things, if they are what they look
    like."""
    _items_are_not_slips(file)
    _whitelist_is_not_blacklisted(file)
    _topics_bring_readings(file)
    _readings_have_their_own_measurement(file)


def _outputs(file: File) -> list[str]:
    return [FIRST_OUTPUT, *file.sections(OUTPUT)]


def _servers(file: File) -> list[str]:
    """The sections with a login."""
    return [*_outputs(file), "mqtt"]


def _outputs_have_urls(file: File) -> None:
    first, *others = _outputs(file)
    for section in others:
        if not file.stated(section, "url"):
            file.problem(section, "url", " is missing; say where the server is, or drop the section")
    if others and not file.stated(first, "url"):
        # What waits for the first output would be given up, or wait for ever.
        file.problem(first, "url", f" is missing; one output must be [{first}]: rename [{others[0]}]")


def _one_secret(file: File, section: str) -> None:
    """From here on `password` has it, wherever it came from."""
    values = file.values[section]
    for key in ("password", "token"):
        if file.stated(section, key) and file.stated(section, f"{key}_file"):
            file.problem(section, f"{key}_file", f": {key} is given too; keep one of them")
    found = [values.pop(key, NO_SECRET) for key in _SECRETS]
    values["password"] = next(filter(None, found), NO_SECRET)


def _one_dialect(file: File, section: str) -> None:
    """Which kind of database it is follows from the keys."""
    stated = {name: [key for key in keys if file.stated(section, key)] for name, keys in _DIALECTS.items()}
    used = [name for name, keys in stated.items() if keys]
    for name in used[:-1]:
        for key in stated[name]:
            last = used[-1]
            clash = f"is for {name}, but {stated[last][0]} is for {last}"
            file.problem(section, key, f": {clash}; keep the keys of one of them")
    for key in ("token", "token_file"):
        if file.stated(section, key) and used in ([], ["InfluxDB 1"]):
            needed = "org and bucket beside it (InfluxDB 2) or database (InfluxDB 3)"
            file.problem(section, key, f": needs {needed}, and no dbname, username or schema")


def _bucket_is_whole(file: File, section: str) -> None:
    keys = {"org": ("org",), "bucket": ("bucket",), "token": ("token", "token_file")}
    lacking = [key for key, ways in keys.items() if not any(file.stated(section, way) for way in ways)]
    given = next((key for key in ("org", "bucket") if key not in lacking), "")
    creates = bool(file.values[section].get("create"))
    if given and lacking:
        file.problem(section, given, f": needs {' and '.join(lacking)} beside it, as InfluxDB 2 does")
    if creates and not given:
        file.problem(section, "create", ": needs org and bucket beside it; it is for InfluxDB 2")
    if file.values[section].get("retention") and not creates:
        file.problem(section, "retention", ": needs create = yes beside it; it is for a bucket that is made")


def _password_with_username(file: File, section: str) -> None:
    if not file.stated(section, "username"):
        for key in ("password", "password_file"):
            if file.stated(section, key):
                file.warn(section, key, ": without a username it is not used; give both or none")


def _broker_is_given(file: File) -> None:
    if not file.has("mqtt", "broker"):
        file.problem("mqtt", "broker", f" is missing; say where the broker listens: {BROKER_FORMS}")


def _certificate_with_key(file: File) -> None:
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if file.stated("mqtt", key) and not file.stated("mqtt", other):
            file.problem("mqtt", key, f": needs {other} beside it")


def _group_with_member(file: File) -> None:
    group, member = file.stated("mqtt", "share_group"), file.stated("mqtt", "share_member")
    if group and not member:
        # Two daemons of a group with the same number would give two readings one time.
        needed = f"share_member beside it, a different one for each daemon, from 0 to {SHARE_MEMBERS - 1}"
        file.problem("mqtt", "share_group", f": needs {needed}")
    if group and not file.stated("mqtt", "client_id"):
        # With the same name, one daemon gets what another has not acknowledged yet, and stores it too.
        needed = "client_id beside it, a different one for each daemon; one that has a session keeps its name"
        file.problem("mqtt", "share_group", f": needs {needed}")
    if member and not group:
        file.problem("mqtt", "share_member", ": needs share_group beside it")


def _group_in_its_key(file: File) -> None:
    for key in ("topics", "register_topics"):
        if any(topic.startswith("$share/") for topic in file.values["mqtt"].get(key, ())):
            file.problem("mqtt", key, ": name the group of a shared subscription in share_group")


def _qos_2_means_1(file: File) -> None:
    if file.values["mqtt"].get("qos") == 2:
        file.values["mqtt"]["qos"] = 1
        file.warn("mqtt", "qos", " = 2 means 1: duplicates are recognised, so QoS 2 would bring nothing")


def _no_tls_files(file: File, section: str, advice: str) -> None:
    for key in ("tls_ca", "tls_cert", "tls_key"):
        if file.stated(section, key):
            file.problem(section, key, f": the server has no TLS; write {advice}, or drop it")


def _authorities_can_be_read(file: File, section: str) -> None:
    """A reload must find this out, not the next connection."""
    if ca := file.values[section].get("tls_ca"):
        # Not at the top: it takes a while, and most configs name no file.
        from tessflux.tls import trust

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
            trust(ca)
        except (ssl.SSLError, OSError):
            file.problem(section, "tls_ca", ": holds no certificate in PEM form")


def _certificate_fits_key(file: File) -> None:
    certificate, key = (file.values["mqtt"].get(name) for name in ("tls_cert", "tls_key"))
    if certificate and key:
        try:
            # With an empty password OpenSSL asks nobody for one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError):
            needed = "a certificate and its key in PEM form, unencrypted"
            file.problem("mqtt", "tls_key", f": it and tls_cert are not {needed}")


def _items_are_not_slips(file: File) -> None:
    warned = set()
    for section, key, item in file.items():
        slips = _SLIPS.get(key, _IN_ANY)
        slip = next((text for pattern, text in slips if re.search(pattern, item)), None)
        # One of a kind is enough: who has quoted one item has quoted them all.
        if slip and (section, key, slip) not in warned:
            warned.add((section, key, slip))
            file.warn(section, key, f": {file.shown(section, key, item)} {slip}")


def _whitelist_is_not_blacklisted(file: File) -> None:
    mqtt = file.values["mqtt"]
    if both := sorted(mqtt.get("whitelist", frozenset()) & mqtt.get("blacklist", frozenset())):
        shown = file.shown("mqtt", "blacklist", both[0])
        file.warn("mqtt", "blacklist", f": {shown} is in the whitelist too; its readings are not stored")


def _topics_bring_readings(file: File) -> None:
    topics = file.values["mqtt"].get("topics")
    if topics and all(topic.rpartition("/")[2] in OTHER_KINDS for topic in topics):
        kinds = " or ".join(OTHER_KINDS)
        file.warn("mqtt", "topics", f": photometers publish no readings on {kinds}; add STARS4ALL/+/reading")


def _readings_have_their_own_measurement(file: File) -> None:
    registers = file.values["mqtt"].get("register_topics", True)
    if registers and file.values[FIRST_OUTPUT].get("measurement") == REGISTRATIONS_MEASUREMENT:
        text = (
            "what photometers say of themselves goes there as well; take another, or a blank register_topics"
        )
        file.warn(FIRST_OUTPUT, "measurement", f": {text}")


def _password_is_not_exposed(file: File, section: str) -> None:
    for key in ("password", "token"):
        # What remains without every ${NAME} stands in the file itself.
        literal = converters.VARIABLE.sub("", file.stated(section, key))
        if literal and converters.exposed(file.path):
            advice = f"chmod 640 the file, or use {key}_file"
            file.warn(section, key, f": every user of this machine can read it; {advice}")


def _password_is_whole(file: File, section: str) -> None:
    if file.commented(section, "password"):
        text = "a blank and ; begin a comment, which is no part of it; put a password that has them in"
        file.warn(section, "password", f": {text} password_file")
    if re.search(r"\s#", file.stated(section, "password")):
        file.warn(section, "password", f": {_COMMENT}")


def _secret_files_are_not_exposed(file: File, section: str) -> None:
    found = file.values[section]
    password: Secret = found["password"]
    kind = "token_file" if file.stated(section, "token_file") else "password_file"
    for key, path in ((kind, password.path), ("tls_key", found.get("tls_key", ""))):
        if path and converters.exposed(path):
            file.warn(section, key, ": every user of this machine can read the file; chmod 640 it")
