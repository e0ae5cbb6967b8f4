"""An InfluxDB 1 that answers at random, right or wrong. A program; `outputs` starts and kills it.

    python -m tests.faults.moody PORT SEED FILE

What it takes is in FILE before it answers, so a kill costs nothing of it. A row that comes twice is one row.
It goes on answering like that to the end: whoever is patient gets everything in.
"""

import random
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.dialects import LINE, body_of
from tests.faults.registers import LINE as REGISTERED
from tests.faults.scripted import GOOD, KNOWN, Answer, Request, ScriptedServer


@dataclass(frozen=True)
class Mood:
    """How a write request is answered, in so many of a thousand, and which part of its lines is taken."""

    weight: int
    answer: Answer
    takes: float = 0.0


def _error(status: int, text: str, **headers: str) -> Answer:
    return Answer(status, f'{{"error":"{text}"}}\n'.encode(), {**KNOWN, **headers})


GOOD_MOOD = Mood(875, GOOD, 1.0)
FAILED = _error(500, "engine: error writing WAL entry: input/output error")
PARTLY = Mood(5, _error(400, "partial write: max-values-per-tag limit exceeded dropped=0"), 0.5)
"""For several lines only: a line that is refused alone, and twice, is one that InfluxDB cannot take."""

MOODS = (
    GOOD_MOOD,
    PARTLY,
    *(Mood(10, FAILED, share) for share in (0.0, 0.5, 1.0)),
    *(Mood(10, Answer(cut=0), share) for share in (0.0, 0.5, 1.0)),
    *(Mood(3, Answer(silent=True), share) for share in (0.0, 1.0)),
    Mood(5, Answer(cut=20), 1.0),
    Mood(10, _error(503, "timeout")),
    Mood(10, _error(429, "too many requests", **{"Retry-After": "1"})),
    Mood(5, Answer(502, b"<html>Bad Gateway</html>", {"Server": "nginx"})),
    Mood(5, Answer(404, b"404 page not found\n", {"Server": "nginx"})),
    # A page of a proxy, and one that answers for a database which has taken nothing.
    Mood(5, Answer(200, b"<html>Welcome</html>", {"Server": "nginx"})),
    Mood(5, Answer(204, headers={"Server": "nginx"})),
    Mood(2, _error(404, 'database not found: \\"tessdb\\"')),
    Mood(2, _error(401, "authorization failed")),
    Mood(2, _error(413, "Request Entity Too Large")),
    Mood(3, Answer(raw=b"\x16\x03\x01 no HTTP at all\r\n\r\n")),
)


class MoodyServer(ScriptedServer):
    """Keeps good lines in a file."""

    def __init__(self, seed: int, path: Path, port: int = 0) -> None:
        super().__init__(port=port)
        self._chance = random.Random(seed)
        # A kill may have come amid the last line.
        path.touch()
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        self._taken = set(whole.decode().splitlines())
        self._file = path.open("ab")
        self._file.truncate(len(whole) + 1 if whole else 0)

    def record(self, request: Request) -> None:
        """They would fill the memory."""

    def answer(self, request: Request) -> Answer:
        match urlsplit(request.path).path:
            case "/ping":
                return GOOD
            case "/write":
                return self._write(body_of(request).splitlines())
            case "/query":
                return Answer(200, b'{"results":[{"statement_id":0}]}\n', KNOWN)
            case _:
                return Answer(404, b"404 page not found\n", KNOWN)

    def _write(self, lines: list[str]) -> Answer:
        mood = self._chance.choices(MOODS, [mood.weight for mood in MOODS])[0]
        if mood is PARTLY and len(lines) < 2:
            mood = GOOD_MOOD
        good = [line for line in lines if _is_good(line)]
        self._take(good[: int(len(good) * mood.takes)])
        if mood is GOOD_MOOD and (bad := [line for line in lines if not _is_good(line)]):
            return _error(400, f"unable to parse '{bad[0]}': missing fields")
        return mood.answer

    def _take(self, lines: list[str]) -> None:
        news = [line for line in lines if line not in self._taken]
        self._taken.update(news)
        self._file.write("".join(f"{line}\n" for line in news).encode())
        self._file.flush()


def _is_good(line: str) -> bool:
    return bool(LINE.fullmatch(line) or REGISTERED.fullmatch(line))


def main(port: int, seed: int, path: Path) -> None:
    """Answer until the process is ended."""
    # Other answers after each start, but the same for the same seed.
    begun = path.stat().st_size if path.exists() else 0
    with MoodyServer(seed + begun, path, port):
        while True:
            signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
