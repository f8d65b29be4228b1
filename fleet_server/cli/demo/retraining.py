"""The demonstration of retraining: what the field sees moves, and the fleet notices, learns, proves and promotes.

House rules: as the other demonstration: real work on real processes, each step ends with what must hold, every figure
was measured in this run. Nobody decides anything after the pipeline was set.
"""

import json
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fleet_server.cli.demo.rooms import Story
from fleet_server.cli.demo.show import Show, table
from fleet_server.cli.demo.stage import wait_until
from fleet_server.cli.demo.steps import Step, start_server
from fleet_server.cli.demo.traffic import LocalApi, plain_label
from fleet_server.core.cycle import Turn, trace_cycle

ROOMS = tuple(f"room-{number}" for number in range(1, 6))
GROUP = "rooms"
SOAK = {"min_s": 2, "max_s": 20, "min_rows": 20, "max_error_ratio": 0.0}
# The soak is in seconds, since a second of the demonstration is hours of the field.
POLICY = {
    "phases": ["2", "100%"],
    "stable": "2",
    "promotion": None,
    "min_soak_s": 6,
    "min_inferences": 40,
    "look_s": 5,
    "phase_timeout_s": 180,
}
_ENDED = ("done", "rolled_back", "lost", "failed", "declined")
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Answered:
    """One row of the field: which version answered it on which device, and whether that was right."""

    device: str
    version: int
    right: bool


@dataclass(slots=True)
class FieldPlay:
    """The play: the story, how far the field has come, and what it was answered."""

    story: Story
    at: int = 0
    answered: list[Answered] = field(default_factory=list)
    proposal: dict[str, Any] = field(default_factory=dict)

    def steps(self) -> Sequence[Step]:
        """Return the steps, in order."""
        return (
            ("A fleet server and its broker", start_server),
            ("Five agents enrol, and may send labelled rows", self.enrol),
            ("Develop and evaluate: version 1", self.develop),
            ("Good enough: deploy it", self.deploy),
            ("How it shall be made anew", self.set_pipeline),
            ("Monitor: the field moves", self.monitor),
            ("Update and evaluate: a retraining that must win", self.retrain),
            ("Deploy: signed, and through a canary", self.promote),
            ("What there is to show for it", self.trace),
        )

    def enrol(self, show: Show) -> None:
        """Enrol every agent, and start it; its own configuration allows labelled rows to leave it."""
        show.server.ask("POST", "/groups", json={"name": GROUP, "query": "kind=room", "accept_auto": True})
        for device, agent in show.agents.items():
            show.now(f"enrolling {device}")
            made = show.server.ask("POST", "/tokens", json={"labels": {"kind": "room"}})
            agent.enrol(show.server.url, made["token"])
            agent.start()
        wait_until("all agents to report", lambda: show.server.ask("GET", "/fleet")["online"] == len(show.agents), 30)
        show.say(f"{len(show.agents)} agents in the group {GROUP!r}, which takes automatic versions")
        show.say(self.story.told)

    def develop(self, show: Show) -> None:
        """Fit the recipe on its base rows, prove it, and register it."""
        recipe, _ = self.story.write(show.folder)
        show.now("training version 1, building and proving its variants")
        show.command("trainer", "fit", str(recipe), "--out", str(show.folder / "v1"), "--prove-on", "none")
        show.command("fleet_server.cli", "model", "push", str(show.folder / "v1"))
        card = show.server.ask("GET", f"/models/{self.story.model}/versions/1/card")
        accuracy = card["metrics"]["accuracy"]
        show.say(f"{card['estimator']}: accuracy {accuracy:.4f} on {card['heldout_rows']} held-out rows")
        show.note("accuracy of version 1 on its held-out rows", f"{accuracy:.4f}")

    def deploy(self, show: Show) -> None:
        """Bring version 1 to all, and say how many rows a window and its feedback hold."""
        rows = self.story.window_rows
        settings = {"health_s": 2, "window_s": 3600, "window_rows": rows, "feedback_rows": rows}
        body = {"model": self.story.model, "version": 1, "group": GROUP, "phases": ["100%"]}
        made = show.server.ask("POST", "/rollouts", json={**body, "soak": SOAK, "settings": settings})
        show.follow(made["id"], "succeeded")
        self._serving(show, 1)
        show.say(f"version 1 serves on all; a window is {rows} rows of a device")

    def set_pipeline(self, show: Show) -> None:
        """Register the pipeline, automatic, with its terms; from here on nobody decides anything."""
        story = self.story
        (show.folder / "policy.json").write_text(json.dumps(POLICY))
        words = [
            "--recipe",
            f"{show.folder / story.model}.toml",
            "--data",
            str(show.folder / "base.csv"),
            "--automatic",
        ]
        words += ["--group", GROUP, "--policy", str(show.folder / "policy.json"), "--newest", str(story.newest)]
        # The last row of a window learns the truth when the window is closed.
        words += ["--min-fresh-rows", str(self._gathered() - 2 * len(show.agents))]
        show.command("fleet_server.cli", "model", "pipeline", "set", story.model, *words)
        show.command("fleet_server.cli", "drift-policy", story.model, f"min_rows={story.window_rows}")
        found = show.server.ask("GET", f"/models/{story.model}/pipeline")
        show.say(
            f"pipeline {found['digest'][:16]}…: must win by 1 point, surely by 95 %, on the newest {story.newest} %"
        )

    def monitor(self, show: Show) -> None:
        """Send the field's rows in the order of time, each with its truth, window by window; see drift confirmed."""
        story = self.story
        for window in range(story.windows):
            before = len(self.answered)
            show.now(f"the field, window {window + 1} of {story.windows}")
            self._send_window(show)
            part = self.answered[before:]
            show.say(f"window {window + 1}: accuracy {_accuracy(part)} over {len(part)} rows")
        show.note("accuracy of version 1 in the field", f"{_accuracy(self.answered)} over {len(self.answered)} rows")
        found = wait_until("a proposal", lambda: self._newest(show), 60, show.check, poll_s=0.25)
        for row in reversed(show.server.items("/decisions", model=story.model)):
            if row["kind"] == "drift":
                scope = row["evidence"].get("group") or "all devices"
                show.say(f"drift of {scope} ({row['evidence']['cause']}): {row['reason']}")
        show.say(f"proposal {found['id']} opened ({found['cause']})")
        show.note("drift", f"{found['cause']}: {found['sentence']}")

    def retrain(self, show: Show) -> None:
        """Follow the proposal through its training; require that it wins."""
        found = self._follow(show, ("registered", "signed", "rolling", *_ENDED), 180)
        verdict = found["verdict"] or {}
        show.require(found["made"] is not None, f"the proposal is {found['state']}: {found['reason']}")
        fresh = found["fresh"]
        show.say(
            f"{fresh['rows']} labelled rows of {fresh['devices']} devices, and {verdict['base']['rows']} base rows"
        )
        listing = table(
            "Against version 1, by the bundle that devices run", "rows", "running", "retrained", "gain", "≥"
        )
        for name, title in (("newest", "newest, unseen"), ("built", "the same, as built"), ("backtest", "back-test")):
            item = verdict[name]
            figures = (f"{item[key]:.4f}" for key in ("running", "retrained"))
            listing.add_row(f"{title} ({item['rows']})", *figures, f"{item['gain']:+.4f}", f"{item['lower']:+.4f}")
        show.console.print(listing)
        show.say(f"won: {verdict['reason']}")
        show.note("the gate", verdict["reason"])

    def promote(self, show: Show) -> None:
        """Keep the field going while the canary is judged, until the proposal is done."""
        with self._round_and_round(show):
            found = self._follow(show, _ENDED, 300)
        show.require(found["state"] == "done", f"the proposal is {found['state']}: {found['reason']}")
        self._serving(show, int(found["made"]))
        for row in reversed(show.server.items("/decisions", rollout=found["rollout"])):
            show.say(f"{row['kind']}: {row['reason']}")
        arms = {
            version: [item for item in self.answered[self._gathered() :] if item.version == version]
            for version in (1, 2)
        }
        for version, part in arms.items():
            if part:
                show.note(
                    f"accuracy of version {version} while the canary ran", f"{_accuracy(part)} over {len(part)} rows"
                )
        show.note("promoted", f"version {found['made']} on {len(show.agents)} devices, unattended")

    def trace(self, show: Show) -> None:
        """Print the lineage, and the row of the audit log that each arrow of the cycle left."""
        found = self.proposal
        shown = show.command("fleet_server.cli", "model", "lineage", self.story.model, str(found["made"]))
        show.console.print(shown, markup=False, soft_wrap=True)
        rows = [
            _Row(**{key: row[key] for key in ("n", "action", "subject", "actor")}, detail=_text(row["detail"]))
            for row in show.server.items("/audit", oldest_first=True)
        ]
        turn = Turn(self.story.model, int(found["version"]), int(found["made"]), found["id"])
        listing = table("Every arrow of the cycle, in the audit log", "arrow", "row", "by", "did", "to")
        traced = trace_cycle(turn, rows)
        for arrow, row in traced:
            told = (str(row.n), row.actor, row.action, row.subject) if isinstance(row, _Row) else ("–",) * 4
            listing.add_row(arrow.name, *told)
        show.console.print(listing)
        show.require(all(row is not None for _, row in traced), "an arrow of the cycle left no row in the audit log")
        verdict = show.server.ask("GET", "/audit/verdict")
        show.require(verdict["whole"], f"the audit log is not whole: {verdict['reason']}")

    def _gathered(self) -> int:
        return self.story.windows * self.story.window_rows * len(ROOMS)

    def _serving(self, show: Show, version: int) -> None:
        for agent in show.agents.values():
            agent.wait_serving(self.story.model, version, 30)

    def _newest(self, show: Show) -> Any:
        found = show.server.ask("GET", "/proposals", params={"model": self.story.model})["items"]
        return found[0] if found else None

    def _follow(self, show: Show, until: Sequence[str], timeout_s: float) -> dict[str, Any]:
        def come() -> Any:
            found = self._newest(show)
            show.now(f"proposal {found['id']} {found['state']}: {found['reason'][:100]}")
            return found if found["state"] in until else None

        self.proposal = wait_until(f"the proposal to be {' or '.join(until)}", come, timeout_s, show.check, poll_s=0.5)
        return self.proposal

    def _send_window(self, show: Show) -> None:
        """Send one window's rows to every device, which take turns in the order of time."""
        count = self.story.window_rows * len(show.agents)
        rows = self.story.field[self.at : self.at + count]
        self.at += count
        sent: dict[str, list[Answered]] = {device: [] for device in show.agents}

        def drive(device: str, place: int) -> None:
            api = LocalApi(show.agents[device].status()["api_url"])
            for row, truth in rows[place :: len(show.agents)]:
                sent[device].append(self._ask(api, device, row, truth))
            api.close()

        workers = [threading.Thread(target=drive, args=(name, place)) for place, name in enumerate(show.agents)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        show.require(all(len(part) == self.story.window_rows for part in sent.values()), f"answers are missing: {sent}")
        self.answered += [item for part in sent.values() for item in part]

    def _ask(self, api: LocalApi, device: str, row: Sequence[float], truth: str) -> Answered:
        _, answer = api.post(f"/predict/{self.story.model}", dict(zip(self.story.features, row, strict=True)))
        api.post("/feedback", {"id": answer["id"], "label": json.loads(truth)})
        return Answered(device, int(answer["version"]), plain_label(answer["labels"][0]) == plain_label(truth))

    @contextmanager
    def _round_and_round(self, show: Show) -> Any:
        """Go on with the rows that were not sent yet, on every device, again from their first when they are over."""
        rest, stop = self.story.field[self.at :], threading.Event()
        answered: list[Answered] = []

        def drive(device: str, place: int) -> None:
            api, index = LocalApi(show.agents[device].status()["api_url"]), place
            while not stop.wait(_PAUSE_S):
                row, truth = rest[index % len(rest)]
                try:
                    answered.append(self._ask(api, device, row, truth))
                except (OSError, KeyError):
                    api.close()  # the worker was replaced between two requests
                index += len(show.agents)
            api.close()

        workers = [threading.Thread(target=drive, args=(name, place)) for place, name in enumerate(show.agents)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            stop.set()
            for worker in workers:
                worker.join()
            self.answered += answered


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the audit log as the API tells of it."""

    n: int
    action: str
    subject: str
    actor: str
    detail: str


def _text(detail: object) -> str:
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _accuracy(answered: Sequence[Answered]) -> str:
    return f"{sum(item.right for item in answered) / max(1, len(answered)):.4f}"
