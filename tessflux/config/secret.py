"""A password or token that no log, error or repr shows: only `reveal` and `basic` give it away."""

import json
import re
from base64 import b64encode
from codecs import BOM_UTF8
from html.entities import codepoint2name

# Bytes of MQTT's longest password. No more is read of a password file, which may have no end.
LONGEST = 65_535


class Secret:
    """A password, and the absolute path of the file that it came from ("" if it stands in the config)."""

    __slots__ = ("_path", "_value")

    def __init__(self, value: str = "", path: str = "") -> None:
        self._value = value
        self._path = path

    @classmethod
    def from_file(cls, path: str) -> "Secret":
        """The first line of the file, without its newline.

        Raises OSError if it cannot be read, ValueError if it holds no password.
        """
        with open(path, "rb") as stream:
            # A byte order mark, with which Windows editors begin a file, is none of its characters.
            line = stream.readline(LONGEST + 5).removeprefix(BOM_UTF8).rstrip(b"\r\n")
        if not line:
            raise ValueError("the file has an empty first line; that is where the password must be")
        if len(line) > LONGEST:
            raise ValueError(f"the first line of the file is longer than {LONGEST} bytes")
        try:
            return cls(line.decode("utf-8"), path)
        except UnicodeDecodeError:
            # Python's message would show a byte of the password.
            raise ValueError("the file is not UTF-8 text") from None

    @property
    def path(self) -> str:
        """The file that it came from, "" if it stands in the config."""
        return self._path

    def reveal(self) -> str:
        """The password itself, for the one call that sends it."""
        return self._value

    def basic(self, username: str) -> str:
        """The login as HTTP sends it (RFC 7617). It gives the password away as well."""
        return b64encode(f"{username}:{self._value}".encode()).decode()

    def hide(self, username: str, said: str) -> str:
        """What a server answered, with the login in it hidden, whether as it was sent or decoded. A token has
        no username."""
        forms = [_written(self.basic(username)) if username else "", _written(self._value)]
        if not any(forms):
            return said
        return re.sub("|".join(filter(None, forms)), "***", said)

    def refreshed(self) -> "Secret":
        """The secret as it is in its file now; this one if it has no file, or one that cannot be used.

        Reads a file, so call it in a thread.
        """
        if not self._path:
            return self
        try:
            return Secret.from_file(self._path)
        except (OSError, ValueError):
            return self

    def __bool__(self) -> bool:
        return bool(self._value)

    # The path counts too: a reload that names another file is a change.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._value, self._path) == (other._value, other._path)

    def __hash__(self) -> int:
        return hash((self._value, self._path))

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"


def _written(text: str) -> str:
    """A pattern for a text as servers write it: as it is, or escaped for JSON, HTML or a URL."""
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    name = codepoint2name.get(code, "apos" if character == "'" else "")
    # The plain character comes last: it may be the beginning of an escape.
    forms = (
        "".join(f"%{byte:02x}" for byte in character.encode()),
        rf"&(?:{name}|\#0*{code}|\#x0*{code:x});",
        rf"\\u{code:04x}",
        re.escape(json.dumps(character)[1:-1]),
        "[ +]" if character == " " else rf"\\?{re.escape(character)}",
    )
    return f"(?i:{'|'.join(forms)})"


NO_SECRET = Secret()
