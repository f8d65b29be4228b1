"""The steps of the demonstration, in order: each is real work on real processes, and ends with what must hold."""

import statistics
import threading
from collections.abc import Callable, Mapping

from edge_agent.contract.manifest import MANIFEST_NAME, Precision, parse_manifest
from fleet_server.cli.demo.show import MODEL, Show, table
from fleet_server.cli.demo.stage import wait_until
from fleet_server.cli.demo.traffic import LocalApi, Tally, rotated, send

FP32_AGREEMENT = 0.999
INT8_AGREEMENT = 0.98
INTERRUPTED = "pi4-south"
SLOW_LINK_KIB_S = 96
HALLS = {"pi4-north": "north", "zero-north": "north", "pi4-south": "south", "pi3-south": "south"}


def start_server(show: Show) -> None:
    """Start the server, which makes its keys, database and broker by itself."""
    show.now("starting the fleet server and its broker")
    show.server.start()
    fleet = show.server.ask("GET", "/fleet")
    show.say(f"fleet server at {show.server.url}, broker: {fleet['server']['broker']}")


def enrol_agents(show: Show) -> None:
    """Enrol every agent with a one-time token, and start it."""
    for hall in ("north", "south"):
        show.server.ask("POST", "/groups", json={"name": hall, "query": f"hall={hall}"})
    show.server.ask("POST", "/groups", json={"name": "all", "query": ""})
    listing = table("The fleet", "device", "profile", "runtimes", "hall")
    for device, agent in show.agents.items():
        show.now(f"enrolling {device}")
        made = show.server.ask("POST", "/tokens", json={"labels": {"hall": HALLS[device]}})
        agent.enrol(show.server.url, made["token"])
        agent.start()
        listing.add_row(device, agent.profile, ", ".join(agent.runtimes), HALLS[device])
    wait_until("all agents to report", lambda: show.server.ask("GET", "/fleet")["online"] == len(show.agents), 30)
    show.console.print(listing)


def train_first(show: Show) -> None:
    """Train digits, build and prove every variant, and show what came of it."""
    version, record = show.train("digits-mlp", seed=1)
    show.heldout = show.data_of(version)
    card = record.card
    show.say(
        f"version {version}: {', '.join(f'{name} {value:.4f}' for name, value in card.metrics.items())} on "
        f"{card.heldout_rows} held-out rows; scikit-learn takes {card.estimator_latency_p50_us:.0f} µs a row"
    )
    listing = table("Variants", "variant", "kB", "xz kB", "agreement", "max |Δ|", "p50 µs", "why not")
    for entry in record.variants:
        if entry.digest is None:
            listing.add_row(entry.variant, "-", "-", "-", "-", "-", entry.reason)
            continue
        manifest = parse_manifest((show.versions[version] / "variants" / entry.variant / MANIFEST_NAME).read_bytes())
        cost, parity = manifest.cost, manifest.parity
        listing.add_row(
            entry.variant,
            f"{cost.size / 1000:.0f}",
            f"{cost.packed_size / 1000:.0f}",
            f"{parity.label_agreement:.4f}",
            f"{parity.max_abs_diff:.1e}",
            f"{cost.latency_p50_us:.1f}",
            "",
        )
    show.console.print(listing)


def push_first(show: Show) -> None:
    """Push version 1 over MQTT to every device."""
    show.follow(show.roll_out(max(show.versions), ["100%"]), "succeeded")
    show.serving(max(show.versions), show.agents)
    chosen = {device: agent.variants()[MODEL] for device, agent in show.agents.items()}
    show.say(
        "every device proved it with golden vectors and serves it: " + ", ".join(f"{d} {v}" for d, v in chosen.items())
    )
    show.require(
        chosen["zero-north"].endswith(Precision.INT8), f"zero-north got {chosen['zero-north']}, not an int8 variant"
    )
    show.require(chosen["pi3-south"].startswith("tflite"), f"pi3-south got {chosen['pi3-south']}, not a TFLite variant")


def stream_heldout(show: Show) -> None:
    """Send every held-out digit through every device's local API."""
    show.now("streaming held-out digits through every device's local API")
    tallies = {device: Tally() for device in show.agents}

    def drive(device: str) -> None:
        api = LocalApi(show.agents[device].status()["api_url"])
        send(api, MODEL, show.data, range(len(show.data.rows)), tallies[device])
        api.close()

    for device in show.agents:  # one after the other: latencies are of an idle machine
        worker = threading.Thread(target=drive, args=(device,))
        worker.start()
        worker.join()
    _show_accuracy(show, tallies)


def _show_accuracy(show: Show, tallies: Mapping[str, Tally]) -> None:
    record = show.record_of(max(show.versions))
    sklearn_ms = record.card.estimator_latency_p50_us / 1000
    right = sum(a == b for a, b in zip(show.data.predictions, show.data.targets, strict=True))
    listing = table(
        f"{len(show.data.rows)} held-out digits through each local API",
        "device",
        "variant",
        "accuracy",
        "agreement",
        "p50 ms",
    )
    for device, tally in tallies.items():
        variant = show.agents[device].variants()[MODEL]
        listing.add_row(device, variant, f"{tally.accuracy:.4f}", f"{tally.agreement:.4f}", f"{tally.p50_ms:.3f}")
        wanted = INT8_AGREEMENT if variant.endswith(Precision.INT8) else FP32_AGREEMENT
        show.require(tally.failed + tally.model_errors == 0, f"{device}: {tally.last_failure}")
        show.require(tally.agreement >= wanted, f"{device} agrees on {tally.agreement:.4f} of the rows, not {wanted}")
    listing.add_row(
        "scikit-learn", "in process, no HTTP", f"{right / len(show.data.rows):.4f}", "1.0000", f"{sklearn_ms:.3f}"
    )
    show.console.print(listing)
    show.note(
        "agreement with scikit-learn", f"{min(t.agreement for t in tallies.values()):.4f} at the least, on the devices"
    )
    p50 = statistics.median(tally.p50_ms for tally in tallies.values())
    show.note("one prediction by HTTP", f"{p50:.2f} ms (scikit-learn in process: {sklearn_ms:.2f} ms)")


def update_in_phases(show: Show) -> None:
    """Roll out version 2 in two phases, under traffic, without a failed request."""
    version, _ = show.train("digits-mlp", seed=2)
    with show.traffic(rate_hz=40) as tallies:
        found = show.follow(show.roll_out(version, ["50%", "100%"]), "succeeded")
        show.serving(version, show.agents)
    for phase in found["phases"]:
        devices = ", ".join(item["device"] for item in phase["devices"])
        show.say(f"phase {phase['index'] + 1}: {devices} attested version {version}")
    answered = sum(tally.answered for tally in tallies.values())
    failed = sum(tally.failed + tally.model_errors for tally in tallies.values())
    show.say(f"{answered} requests were answered meanwhile, {failed} failed")
    show.require(failed == 0, next((t.last_failure for t in tallies.values() if t.last_failure), "a request failed"))
    show.note("requests during the switch", f"{answered} answered, {failed} failed")


def survive_bad_version(show: Show) -> None:
    """Push a version that passes its golden vectors but answers NaN on some live rows."""
    good = max(show.versions)
    bad, _ = show.train("digits-blind-spot", seed=3)
    with show.traffic(rate_hz=40) as tallies:
        found = show.follow(show.roll_out(bad, ["1", "100%"]), "halted")
        show.serving(good, show.agents)
    (first,) = (phase["devices"][0] for phase in found["phases"] if phase["index"] == 0)
    device = first["device"]
    show.say(f"{device} took version {bad}, and went back to version {good} by itself")
    show.say(f"its reason: {first['reason']}: {first['detail']}")
    untouched = [other for other in show.agents if other != device]
    for other in untouched:
        show.require(tallies[other].versions == {good}, f"{other} served {tallies[other].versions}, not only {good}")
        desired = {item["version"] for item in show.server.ask("GET", f"/devices/{other}")["desired"]}
        show.require(desired == {good}, f"{other} was told to run {desired}")
    show.require(bad not in show.agents[device].versions().values(), f"{device} still serves version {bad}")
    show.say(f"never touched: {', '.join(untouched)}")
    show.note("the bad version", f"halted on {device} ({first['reason']}), {len(untouched)} devices never touched")
    del show.versions[bad]


def resume_download(show: Show) -> None:
    """Kill an agent in the middle of a download, and see it go on where it was."""
    version, _ = show.train("digits-mlp", seed=4)
    agent = show.agents[INTERRUPTED]
    show.now(f"putting {INTERRUPTED} on a slow link ({SLOW_LINK_KIB_S} KiB/s)")
    agent.process.stop()
    agent.max_rate_kib_s = SLOW_LINK_KIB_S
    agent.write_config()
    agent.start()
    rollout = show.roll_out(version, ["100%"])
    status = agent.wait("a download to be under way", _half_way, 60)
    agent.process.kill()
    before, total = status["progress"]["chunks_done"], status["progress"]["chunks_total"]
    show.say(f"{INTERRUPTED} was killed with {before} of {total} chunks on disk")
    agent.start()
    resumed = agent.wait("the download to go on", lambda now: bool(_chunks(now)), 30)
    show.say(f"started again, it goes on with {_chunks(resumed)} of {total}")
    show.require(_chunks(resumed) >= before, f"it began again at {_chunks(resumed)} chunks of {before}")
    show.follow(rollout, "succeeded")
    show.serving(version, show.agents)
    show.note("cut download", f"killed at {before} of {total} chunks, went on from there")


def _half_way(status: Mapping[str, object]) -> bool:
    progress = status.get("progress")
    return isinstance(progress, dict) and 2 <= progress["chunks_done"] < progress["chunks_total"] - 1


def _chunks(status: Mapping[str, object]) -> int:
    progress = status.get("progress")
    return int(progress["chunks_done"]) if isinstance(progress, dict) else 0


def show_drift(show: Show) -> None:
    """Feed rotated digits to one hall, and see drift raised there and nowhere else."""
    version = max(show.versions)
    turned = {device: rotated for device, hall in HALLS.items() if hall == "south"}
    query = {"model": MODEL, "version": version}

    def state(hall: str) -> str:
        return str(show.server.ask("GET", "/drift", params={**query, "group": hall})["state"])

    show.now("sending upright digits to the north hall, rotated ones to the south hall")
    with show.traffic(rate_hz=40, **turned) as tallies:
        wait_until("drift in the south hall", lambda: state("south") == "drift", 90, show.check, poll_s=0.5)
    for hall in ("south", "north"):
        found = show.server.ask("GET", "/drift", params={**query, "group": hall})
        drifted = [item for item in found["features"] if item["drifted"]]
        show.say(
            f"{hall} hall: {found['state']}, {len(drifted)} of {len(found['features'])} features, {found['rows']} rows"
        )
        for item in sorted(drifted, key=lambda item: -item["psi"])[:3]:
            show.say(f"    {item['explanation']}")
        show.require((found["state"] == "drift") == (hall == "south"), f"the {hall} hall is {found['state']}")
        accuracy = statistics.mean(tallies[device].accuracy for device in show.agents if HALLS[device] == hall)
        show.note(f"drift in the {hall} hall", f"{found['state']} ({len(drifted)} features; accuracy {accuracy:.2f})")


Step = tuple[str, Callable[[Show], None]]
STEPS: tuple[Step, ...] = (
    ("A fleet server and its broker", start_server),
    ("Four agents enrol", enrol_agents),
    ("Train, compile, prove", train_first),
    ("Push version 1 over MQTT", push_first),
    ("Predict on held-out digits", stream_heldout),
    ("Version 2, in two phases, under traffic", update_in_phases),
    ("A bad version", survive_bad_version),
    ("A cut in the middle of a download", resume_download),
    ("Drift", show_drift),
)
