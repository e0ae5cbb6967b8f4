"""The readings that came last, in a bounded memory: by numbers that stand for what they are. Pure."""


class Recent:
    """Two numbers for each reading, its identity and its place in time, and two for each reserved time. It
    holds those of the last `size` readings at least, and of half as many more at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: set[int] = set()
        self._middle: set[int] = set()
        self._oldest: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._newest or number in self._middle or number in self._oldest

    def add(self, identity: int, place: int) -> None:
        """Remember one more reading."""
        newest = self._newest
        # Forgetting the oldest one by one would cost more than all else that is done for a reading.
        if len(newest) >= self._size:
            self._oldest, self._middle = self._middle, newest
            self._newest = newest = set()
        newest.add(identity)
        newest.add(place)

    def discard(self, number: int) -> None:
        """Forget a number, if it is there."""
        for numbers in (self._newest, self._middle, self._oldest):
            numbers.discard(number)
