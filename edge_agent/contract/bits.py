"""Whole numbers in few bits: Rice codes, each list with the parameter that suits it best.

House rules: a number n of a list with the parameter k is n >> k ones, a zero, and the k lowest bits of n; a list begins
with its k. Lengths are the caller's. A negative number is zigzag-coded: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...
Source: R. F. Rice, "Some Practical Universal Noiseless Coding Techniques", JPL Publication 79-22, 1979; it is within a
tenth of a bit of the entropy of numbers that fall off like counts around their mean.
"""

from collections.abc import Iterable, Sequence

from edge_agent.contract import codec

# Of a list's parameter. Counts have 63 bits; sums of squares of 32-bit numbers several times as many.
COUNT_BITS, SUM_BITS = 6, 9


def zigzag(number: int) -> int:
    """Return a number that may be negative as one that is not."""
    return number * 2 if number >= 0 else -number * 2 - 1


def unzigzag(number: int) -> int:
    """Return what `zigzag` was given."""
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


class BitWriter:
    """Appends lists of numbers."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, numbers: Iterable[int], parameter_bits: int = COUNT_BITS) -> None:
        """Append numbers, none below 0; an empty list takes no room.

        Raises:
            ValueError: a number is below 0 or too large for its kind of list.
        """
        listed = list(numbers)
        if not listed:
            return
        if min(listed) < 0 or max(listed).bit_length() > 1 << parameter_bits:
            raise ValueError(f"a number of {min(listed)}..{max(listed)} cannot be packed")
        k = _parameter(listed, (1 << parameter_bits) - 1)
        low = (1 << k) - 1
        self._parts.append(f"{k:0{parameter_bits}b}")
        self._parts += ("1" * (number >> k) + ("0" + format(number & low, f"0{k}b") if k else "0") for number in listed)

    def to_bytes(self) -> bytes:
        """Return what was written, filled up with zeros to whole bytes."""
        text = "".join(self._parts)
        size = -(-len(text) // 8)
        return int(text.ljust(size * 8, "0") or "0", 2).to_bytes(size, "big")


class BitReader:
    """Reads lists of numbers; raises `MalformedError` where they are cut short."""

    def __init__(self, data: bytes) -> None:
        self._text = f"{int.from_bytes(data, 'big'):0{len(data) * 8}b}" if data else ""
        self._at = 0

    def read(self, length: int, parameter_bits: int = COUNT_BITS) -> list[int]:
        """Return the next `length` numbers.

        Raises:
            codec.MalformedError: there are fewer.
        """
        if not length:
            return []
        if not 0 < length <= len(self._text) - self._at:  # a number takes a bit at least
            raise codec.MalformedError("packed numbers: cut short")
        text, at = self._text, self._at + parameter_bits
        if at > len(text):
            raise codec.MalformedError("packed numbers: cut short")
        k = int(text[self._at : at], 2)
        found = []
        for _ in range(length):
            zero = text.find("0", at)
            if zero < 0 or zero + 1 + k > len(text):
                raise codec.MalformedError("packed numbers: cut short")
            low = int(text[zero + 1 : zero + 1 + k], 2) if k else 0
            found.append(((zero - at) << k) + low)
            at = zero + 1 + k
        if max(found).bit_length() > 1 << parameter_bits:
            raise codec.MalformedError("packed numbers: too large")
        self._at = at
        return found

    def end(self) -> None:
        """Check that nothing but the filling is left.

        Raises:
            codec.MalformedError: there is more.
        """
        rest = self._text[self._at :]
        if len(rest) > 7 or "1" in rest:
            raise codec.MalformedError("packed numbers: followed by more")


def _parameter(numbers: Sequence[int], largest: int) -> int:
    """Return the parameter that takes the fewest bits; it is near the logarithm of the mean."""
    near = (sum(numbers) // len(numbers)).bit_length()
    # So large that no number takes more than a few hundred ones, whatever the mean is.
    least = max(0, max(numbers).bit_length() - 9)
    tried = {min(largest, max(least, near + step)) for step in range(-3, 3)}
    return min(sorted(tried), key=lambda k: sum(number >> k for number in numbers) + len(numbers) * (k + 1))
