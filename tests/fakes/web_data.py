"""A small fleet as the REST API tells of it: what the fake server in `web_api` answers; numbers as a real run gives."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
VARIANTS = ("onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8")
SIZES = {"onnx-fp32": 674_310, "onnx-int8": 182_944, "tflite-fp32": 676_120, "tflite-int8": 175_232}
BOARDS = (
    ("porch-pi", "pi4", "onnx-fp32", {"site": "north", "role": "canary"}),
    ("greenhouse", "pi4", "onnx-fp32", {"site": "north"}),
    ("gate-zero", "pi-zero-2w", "onnx-int8", {"site": "south"}),
    ("shed-tflite", "pi3", "tflite-int8", {"site": "south"}),
)


def iso(minutes_ago: float = 0.0) -> str:
    """Return a time before `NOW` as the API writes it."""
    return (NOW - timedelta(minutes=minutes_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def digest(text: str) -> str:
    """Return 64 hexadecimal digits that begin with the text's bytes."""
    return (text.encode().hex() + "0" * 64)[:64]


def health(index: int, step: int, model: str = "digits", version: int = 2) -> dict[str, Any]:
    """Return one health report of the device at an index, `step` minutes before `NOW`."""
    base = (0.034, 0.036, 0.210, 0.052)[index]
    p50 = round(base * (1 + 0.12 * math.sin(step / 3 + index)), 4)
    return {
        "device": BOARDS[index][0],
        "received": iso(step),
        "ts": int((NOW - timedelta(minutes=step)).timestamp() * 1000),
        "seq": 60 - step,
        "model": model,
        "version": version,
        "infer_n": (60 - step) * (900 - index * 130) + 40 * (step % 5),
        "err_n": 0,
        "rejected_n": index,
        "infer_ms_p50": p50,
        "infer_ms_p95": round(p50 * 1.9, 4),
        "infer_ms_p99": round(p50 * 3.1, 4),
        "conf_mean": 0.97 if index < 3 else 0.71,
        "drift_psi_max": 0.02 if index < 3 else 0.9,
        "missing_ratio": 0.0,
        "out_of_range_ratio": 0.001 if index < 3 else 0.08,
        "cpu_pct": 6.0 + index,
        "mem_mb": 71.0 + index,
        "temp_c": 48.5,
        "disk_free_mb": 20480.0,
        "spool_n": 0,
        "uptime_s": 3600.0,
        "agent": "0.1.0",
    }


def device(index: int) -> dict[str, Any]:
    """Return the device at an index; the last one is lost, the third in the middle of a download."""
    name, profile, variant, labels = BOARDS[index]
    desired = {"model": "digits", "version": 2, "variant": variant, "digest": digest(f"2{variant}")}
    fetching = index == 2
    running = {**desired, "version": 1 if fetching else 2, "attested": True}
    outcome = {"desired_seq": 2, "result": "succeeded", "reason": "ok", "detail": "", "ts": 1}
    return {
        "id": name,
        "profile": profile,
        "simulated": True,
        "labels": labels,
        "standing": "active",
        "standing_at": None,
        "standing_reason": "",
        "presence": "lost" if index == 3 else "ready",
        "last_seen": iso(9 if index == 3 else 0.2),
        "enrolled": iso(600),
        "capabilities": {
            "arch": "aarch64",
            "cores": 4,
            "memory_mb": 3792.0,
            "memory_free_mb": 2875.0,
            "disk_free_mb": 20480.0,
            "runtimes": {"tflite": "2.3.0"} if "tflite" in variant else {"onnx": "1.31.1"},
            "python": "3.11.2",
            "agent": "0.1.0",
            "profile": profile,
            "simulated": True,
        },
        "desired": [desired],
        "desired_seq": 3,
        "reported_seq": 11,
        "running": [running],
        "progress": {"desired_seq": 3, "state": "fetching", "trial": 1, "chunks_done": 2, "chunks_total": 5}
        if fetching
        else None,
        "outcome": None if fetching else outcome,
        "in_sync": not fetching,
        "health": {"digits": health(index, 0)},
    }


def version(number: int) -> dict[str, Any]:
    """Return a version of digits with four variants, one of which was not built in version 1."""
    return {
        "model": "digits",
        "version": number,
        "created": iso(300 - 60 * number),
        "card": {
            "model": "digits",
            "task": "classification",
            "source": "recipe",
            "estimator": "Pipeline(StandardScaler, MLPClassifier)",
            "created": iso(301 - 60 * number),
            "data": {"name": "digits", "sha256": digest("digits"), "rows": 1797, "features": 64},
            "train_rows": 1347,
            "heldout_rows": 450,
            "seed": 7,
            "metrics": {"accuracy": 0.9756 + number / 1000},
            "gates": [{"metric": "accuracy", "bound": "at_least", "threshold": 0.95, "value": 0.9776}],
            "libraries": {"scikit-learn": "1.9.1"},
            "estimator_latency_p50_us": 212.0,
            "description": "Handwritten digits, 8×8",
            "lineage": {},
        },
        "variants": [variant(number, name) for name in VARIANTS],
    }


def variant(number: int, name: str) -> dict[str, Any]:
    """Return one variant; `tflite-int8` of version 1 could not be built."""
    runtime, precision = name.split("-")
    plain = {"variant": name, "runtime": runtime, "precision": precision}
    if (number, name) == (1, "tflite-int8"):
        return {**plain, "built": False, "reason": "label agreement 0.951 is under the gate of 0.98", "digest": None}
    size, quick = SIZES[name], 1.7 if runtime == "tflite" else 8.8
    return {
        **plain,
        "built": True,
        "reason": None,
        "digest": digest(f"{number}{name}"),
        "size": size,
        "packed_size": int(size * 0.91),
        "parity": {
            "rows": 450,
            "label_agreement": 1.0 if precision == "fp32" else 0.9956,
            "max_abs_diff": 3.1e-07 if precision == "fp32" else 0.0123,
            "mean_abs_diff": 1e-08,
            "metric": "accuracy",
            "score": 0.9776,
            "source_score": 0.9776,
            "runtime_version": "1.31.1",
        },
        "cost": {
            "size": size,
            "packed_size": int(size * 0.91),
            "latency_p50_us": quick,
            "latency_p99_us": quick * 3,
            "load_ms": 3.2,
        },
    }


def rollout(identity: str, state: str, reason: str, states: tuple[str, ...], number: int = 2) -> dict[str, Any]:
    """Return a rollout in two phases (one device, then three) with these states of the four devices."""
    rows = [
        {
            "device": board[0],
            "variant": None if now == "skipped" else board[2],
            "from_version": number - 1 or None,
            "state": now,
            "reason": _reason(now),
            "detail": "3 of 20 rows answered NaN" if now in ("failed", "returned") else "",
        }
        for board, now in zip(BOARDS, states, strict=True)
    ]
    phases = [_phase(0, rows[:1]), _phase(1, rows[1:])]
    current = 0 if phases[0]["succeeded"] < phases[0]["total"] else 1
    return {
        "id": identity,
        "model": "digits",
        "version": number,
        "group": "all",
        "state": state,
        "reason": reason,
        "phase": current,
        "phases": phases,
        "created": iso(40),
        "updated": iso(2),
    }


def _reason(state: str) -> str:
    return {"succeeded": "ok", "failed": "unhealthy", "returned": "unhealthy", "skipped": "no variant fits"}.get(
        state, ""
    )


def _phase(index: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    done = sum(row["state"] == "succeeded" for row in rows)
    failed = sum(row["state"] in ("failed", "refused", "returned") for row in rows)
    state = "done" if done + failed == len(rows) else "running" if done or failed else "waiting"
    return {
        "index": index,
        "devices": rows,
        "state": state,
        "total": len(rows),
        "succeeded": done,
        "failed": failed,
        "pending": len(rows) - done - failed,
    }


def group(name: str, query: str, indices: Iterable[int], targets: dict[str, int]) -> dict[str, Any]:
    """Return a group of the devices at these indices."""
    members = [BOARDS[index][0] for index in indices]
    told = {"devices": len(members), "members": members, "targets": targets}
    return {"name": name, "query": query, "created": iso(500), **told}


def drift(model: str, number: int) -> dict[str, Any]:
    """Return drift of a rotated digits group: the middle columns moved."""
    features = []
    for row in range(8):
        for column in range(8):
            psi = round(max(0.0, 0.42 * math.exp(-((row - 3.5) ** 2 + (column - 4.2) ** 2) / 5) - 0.02), 4)
            features.append(
                {
                    "feature": f"pixel_{row}_{column}",
                    "psi": psi,
                    "p_value": 1e-12 if psi > 0.1 else 0.4,
                    "shift_sigma": round(psi * 2 - 0.2, 3),
                    "drifted": psi > 0.1,
                    "explanation": "mean rose by 0.6 σ; 8 % above the training range" if psi > 0.1 else "",
                }
            )
    return {
        "model": model,
        "version": number,
        "state": "drift",
        "since": iso(120),
        "sentence": "pixel_3_4 rose by about 0.6 σ on 2 of 2 devices (against their own past), since yesterday.",
        "evidence": {},
        "truth": {"state": "ok", "since": iso(300), "sentence": "accuracy is about 96.0%.", "evidence": {}},
        "rows": 1240,
        "windows": 12,
        "features": features,
        "output": {"psi": 0.31, "p_value": 1e-9, "drifted": True, "explanation": "label 4 from 10 % to 27 %"},
        "devices": [
            {
                "device": name,
                "state": "drift",
                "since": iso(90),
                "rows": 620,
                "windows": 6,
                "learnt": 24,
                "sentence": "pixel_3_4 rose by about 0.6 σ",
            }
            for name in ("gate-zero", "shed-tflite")
        ],
    }


EVENTS: tuple[dict[str, Any], ...] = tuple(
    {"id": str(index), "at": iso(minutes), "source": source, "code": code, "device": name, "model": "digits",
     "detail": detail, "fields": {}}
    for index, (minutes, source, code, name, detail) in enumerate(
        (
            (1, "device", "update_started", "gate-zero", "digits@2 onnx-int8, 5 chunks"),
            (3, "device", "update_succeeded", "greenhouse", "digits@2 onnx-fp32 proven in 1.2 s"),
            (9, "server", "device_lost", "shed-tflite", "no word for 30 s"),
            (31, "device", "update_failed", "porch-pi", "digits@3: 3 of 20 rows answered NaN"),
            (600, "device", "booted", "porch-pi", "boot 1"),
        )
    )
)  # fmt: skip
DECISIONS: tuple[dict[str, Any], ...] = (
    {"id": "2", "at": iso(30), "kind": "roll_back", "rollout": "r3", "model": "digits", "version": 3,
     "reason": "1 device failed, 0 are allowed: porch-pi unhealthy", "author": "controller",
     "policy": {"max_failures": 0}, "evidence": {"failed": ["porch-pi"]}},
    {"id": "1", "at": iso(50), "kind": "promote", "rollout": "r1", "model": "digits", "version": 1,
     "reason": "4 of 4 devices succeeded", "author": "controller", "policy": {}, "evidence": {"succeeded": 4}},
)  # fmt: skip
OPERATIONS: tuple[dict[str, Any], ...] = (
    {"id": "op1", "kind": "build", "subject": "wine", "state": "succeeded", "progress": ["convert", "prove"],
     "result": {"model": "wine", "version": 1}, "error": None, "created": iso(80), "updated": iso(79)},
    {"id": "op2", "kind": "build", "subject": "bad", "state": "failed", "progress": ["convert"],
     "result": None, "error": "the model is not skops: bad magic", "created": iso(70), "updated": iso(69)},
)  # fmt: skip

ASKER: dict[str, Any] = {
    "name": "operator",
    "role": "admin",
    "kind": "key",
    "permissions": ["read", "publish"],
    "groups": None,
    "models": None,
}
