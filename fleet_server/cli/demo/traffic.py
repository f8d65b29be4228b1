"""Live rows for an agent's local API over one keep-alive connection, and what came back.

House rules: a request that gets no HTTP answer has failed: nothing is sent twice to make it good.
"""

import csv
import http.client
import json
import math
import statistics
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Row = tuple[float, ...]
Change = Callable[[Row], Sequence[float]]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that no model was trained on, their true labels, and the source estimator's own answers."""

    features: tuple[str, ...]
    rows: tuple[Row, ...]
    targets: tuple[str, ...]
    predictions: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "HeldOut":
        """Read the `heldout.csv` that the trainer leaves in a version folder."""
        with path.open(newline="") as file:
            reader = csv.reader(file)
            header = next(reader)
            records = list(reader)
        width = len(header) - 2
        return cls(
            tuple(header[:width]),
            tuple(tuple(float(value) for value in record[:width]) for record in records),
            tuple(plain_label(record[width]) for record in records),
            tuple(plain_label(record[width + 1]) for record in records),
        )


def plain_label(value: object) -> str:
    """Return a label as text that does not depend on how its number was written (`3`, `3.0` and "3" are one)."""
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number.is_integer() else text


@dataclass(slots=True)
class Tally:
    """What came back: rows answered, refused by the model (an error instead of an answer), or not answered at all."""

    answered: int = 0
    correct: int = 0
    agreed: int = 0
    model_errors: int = 0
    failed: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=20_000))
    versions: set[int] = field(default_factory=set)
    last_failure: str = ""

    @property
    def accuracy(self) -> float:
        """Share of answered rows with the true label."""
        return self.correct / self.answered if self.answered else math.nan

    @property
    def agreement(self) -> float:
        """Share of answered rows with the source estimator's label."""
        return self.agreed / self.answered if self.answered else math.nan

    @property
    def p50_ms(self) -> float:
        """Median time of one request in ms."""
        return statistics.median(self.latencies_ms) if self.latencies_ms else math.nan


class LocalApi:
    """One keep-alive connection to an agent's local API."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        place = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=timeout_s)

    def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        """Send JSON and return the status and the answer's JSON.

        Raises:
            OSError, http.client.HTTPException: no answer came.
        """
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        found = json.loads(answer.read())
        return answer.status, found if isinstance(found, dict) else {}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def send(
    api: LocalApi, model: str, data: HeldOut, indices: Sequence[int], tally: Tally, change: Change = tuple
) -> None:
    """Send rows one by one, each changed by `change`, and count what comes back."""
    for index in indices:
        row = dict(zip(data.features, change(data.rows[index]), strict=True))
        started = time.perf_counter()
        try:
            status, answer = api.post(f"/predict/{model}", row)
        except (OSError, http.client.HTTPException) as error:
            api.close()
            tally.failed += 1
            tally.last_failure = repr(error)
            continue
        if status != http.HTTPStatus.OK:
            tally.model_errors += 1
            tally.last_failure = f"{status} {answer.get('error', '')}"
            continue
        tally.latencies_ms.append((time.perf_counter() - started) * 1000)
        label = plain_label(answer["labels"][0])
        tally.answered += 1
        tally.versions.add(int(answer["version"]))
        tally.correct += label == data.targets[index]
        tally.agreed += label == data.predictions[index]


def rotated(row: Row) -> Row:
    """Turn an 8 by 8 image by 90 degrees."""
    return tuple(row[8 * (7 - column) + line] for line in range(8) for column in range(8))


class Stream:
    """Rows sent from a thread of its own, round after round, until stopped."""

    def __init__(
        self, url: str, model: str, data: HeldOut, rate_hz: float, offset: int = 0, change: Change = tuple
    ) -> None:
        self.tally = Tally()
        self._url, self._model, self._data = url, model, data
        self._pause_s, self._offset, self._change = 1.0 / rate_hz, offset, change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rows for {url}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        api = LocalApi(self._url)
        index = self._offset
        while not self._stop.wait(self._pause_s):
            send(api, self._model, self._data, (index % len(self._data.rows),), self.tally, self._change)
            index += 1
        api.close()
