"""The device's command: `edge-agent enroll | renew | run | status | doctor`.

House rules: argparse and the standard library alone. Exit codes: 0 done, 1 failed, 2 usage, 3 unhealthy,
4 inconclusive, 78 configuration (the unit does not restart on it). An error says what happened, why, and what helps.
Heavy rooms are imported by the command that needs them.
"""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.supervisor.config import DEFAULT_PATH, AgentConfig, ConfigError, load_config

DONE, FAILED, USAGE, UNHEALTHY, INCONCLUSIVE, CONFIGURATION = 0, 1, 2, 3, 4, 78

_ASK_AGAIN_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    if arguments is None and options.command is _run:
        _restart_with_lean_malloc()
    command: Callable[[argparse.Namespace, AgentConfig], int] = options.command
    try:
        config = load_config(options.config)
    except ConfigError as error:
        return _say(CONFIGURATION, f"configuration: {error}")
    return command(options, config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-agent", description="Runs models on this device, and keeps them right.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    enroll = commands.add_parser("enroll", help="make this device known to a server, with a one-time token")
    enroll.add_argument(
        "--server", required=True, metavar="URL", help="address of the server, as `edgeloop up` prints it"
    )
    enroll.add_argument("--token", required=True, help="the token that `edgeloop device token` printed, all of it")
    enroll.add_argument("--id", required=True, dest="device", help="name of this device: a-z, 0-9 and '-'")
    enroll.add_argument("--force", action="store_true", help="replace the identity that is here already")
    enroll.add_argument(
        "--wait", action="store_true", help="where an operator approves devices: wait until this one is let in"
    )
    enroll.set_defaults(command=_enroll)

    renew = commands.add_parser("renew", help="fetch the next certificate now; the agent does so by itself in time")
    renew.set_defaults(command=_renew)

    run = commands.add_parser("run", help="run the agent in the foreground, until SIGTERM")
    run.set_defaults(command=_run)

    status = commands.add_parser("status", help="what the agent does now; exit code 3 where it does not run")
    status.add_argument("--json", action="store_true", help="the whole status as JSON")
    status.set_defaults(command=_status)

    doctor = commands.add_parser("doctor", help="look for what keeps the agent from working")
    doctor.set_defaults(command=_doctor)

    for command in (enroll, renew, run, status, doctor):
        command.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help=f"configuration in TOML (default: {DEFAULT_PATH}, where it exists)",
        )
    return parser


def _enroll(options: argparse.Namespace, config: AgentConfig) -> int:
    from edge_agent.adapters import durable, enrolment, identity, renewal, system, tls_keys, trust, trust_state
    from edge_agent.contract.enrolment import EnrolRequest

    state_dir = config.state_path
    if (state_dir / identity.FILE_NAME).exists() and not options.force:
        return _say(FAILED, f"{state_dir} holds an identity already; add --force to begin anew as another device")
    try:
        durable.make_folder(state_dir)
        board = system.find_board(config.profile, simulated=config.simulated, offered=config.runtimes)
        capabilities = system.capabilities(board, state_dir)
    except OSError as error:
        return _say(FAILED, f"{state_dir} cannot be used: {error.strerror}; run with sudo, or set state_dir")
    if _runs_here(config):
        return _say(FAILED, f"the agent runs on {state_dir}; stop it first: systemctl stop edge-agent")
    seed = trust.new_seed()
    try:
        made = tls_keys.make_request(options.device)
        request = EnrolRequest(options.token, options.device, trust.public_key(seed).hex(), capabilities, made.csr)
    except ValueError as error:
        return _say(USAGE, f"--id: {error}")
    try:
        fleet_ca = enrolment.find_authority(options.server, options.token)
        answer = enrolment.enrol(options.server, request, fleet_ca)
        who = identity.identity_of(answer, seed, options.server, fleet_ca)
        if answer.certificate is not None:
            who = renewal.with_certificate(state_dir, who, made, answer.certificate)
        trust_state.install_roots(state_dir, answer.image_root, answer.director_root)
        identity.begin_anew(state_dir, who)
        identity.drop_tls_files(state_dir, keep=who)
    except enrolment.EnrolmentError as error:
        return _say(FAILED, f"not enrolled: {error}")
    except OSError as error:
        return _say(FAILED, f"enrolled, but {state_dir} is not writable: {error.strerror}; fix that and enrol again")
    print(f"{answer.device} is enrolled at {options.server}; identity in {state_dir}.")
    if answer.pending:
        print(f"It waits for an operator: edgeloop device approve {answer.device}")
        if options.wait and not _wait_for_approval(state_dir):
            return FAILED
    print("Next: edge-agent run")
    return DONE


def _wait_for_approval(state_dir: Path) -> bool:
    """Ask again and again until the device is let in, or refused for good; return whether it is in."""
    from edge_agent.adapters import enrolment, renewal

    pause = threading.Event()
    while True:
        try:
            if renewal.renew(state_dir):
                return True
        except enrolment.RefusedError as error:
            _say(FAILED, f"not let in: {error}")
            return False
        except (enrolment.EnrolmentError, OSError) as error:
            _say(FAILED, f"asked in vain, and will ask again: {error}")
        pause.wait(_ASK_AGAIN_S)


def _renew(_options: argparse.Namespace, config: AgentConfig) -> int:
    from edge_agent.adapters import renewal

    return INCONCLUSIVE if (code := renewal.main(config.state_path)) == renewal.PENDING else code


def _run(_options: argparse.Namespace, config: AgentConfig) -> int:
    from edge_agent.adapters.identity import IdentityError
    from edge_agent.adapters.journal import JournalError, UnwritableError
    from edge_agent.supervisor import app

    logging.basicConfig(
        level=config.log.level.value.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        app.run(config)
    except IdentityError as error:
        return _say(CONFIGURATION, str(error))
    except (JournalError, UnwritableError, app.StartError) as error:
        return _say(FAILED, str(error))
    except PermissionError as error:
        return _say(FAILED, f"{error.filename}: {error.strerror}; run as the user that enrolled")
    return DONE


def _restart_with_lean_malloc() -> None:
    """Put this program in its own place with malloc's settings for a small process: 2.4 MB less.

    glibc reads them before `main`, so they cannot be set from within; where the unit has set them nothing happens.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        lean = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | lean)  # noqa: S606 - ourselves


def _status(options: argparse.Namespace, config: AgentConfig) -> int:
    from edge_agent.contract import codec
    from edge_agent.supervisor.status import read_status

    try:
        status = read_status(config.state_path)
    except (OSError, codec.MalformedError):
        return _say(UNHEALTHY, f"no agent has run on {config.state_path}; run: edge-agent run")
    alive = _is_agent(status.supervisor_pid)
    if options.json:
        print(codec.encode(status).decode())
    else:
        print(f"device    {status.device} (boot {status.boot})")
        print(f"agent     {f'runs, pid {status.supervisor_pid}' if alive else 'does not run'}")
        print(f"broker    {'connected' if status.broker_connected and alive else 'not connected'}")
        print(f"api       {status.api_url}  {status.api_socket}")
        for item in status.running:
            print(f"model     {item.model} {item.version} {item.variant} {item.digest[:12]}")
        print(f"update    {status.state}" + _progress_text(status.progress))
        if status.outcome is not None:
            last = status.outcome
            print(f"last      document {last.desired_seq} {last.result}: {last.reason} {last.detail}".rstrip())
        print(f"spool     {status.spool_n} messages wait")
        print(f"feedback  labelled rows {'may be sent' if status.feedback else 'stay here'}")
    return DONE if alive else UNHEALTHY


def _progress_text(progress: object) -> str:
    from edge_agent.contract.messages import Progress

    if not isinstance(progress, Progress):
        return ""
    text = f", document {progress.desired_seq}, trial {progress.trial}"
    return text + (f", {progress.chunks_done} of {progress.chunks_total} chunks" if progress.chunks_total else "")


def _doctor(_options: argparse.Namespace, config: AgentConfig) -> int:
    from edge_agent.supervisor.doctor import Grade, examine

    findings = examine(config, time.time(), is_running=_runs_here(config))
    for finding in findings:
        print(f"{finding.grade:<5} {finding.what}" + (f"\n      -> {finding.hint}" if finding.hint else ""))
    grades = {finding.grade for finding in findings}
    if Grade.BAD in grades:
        return UNHEALTHY
    return INCONCLUSIVE if Grade.WARN in grades else DONE


def _runs_here(config: AgentConfig) -> bool:
    from edge_agent.contract import codec
    from edge_agent.supervisor.status import read_status

    try:
        return _is_agent(read_status(config.state_path).supervisor_pid)
    except (OSError, codec.MalformedError):
        return False


def _is_agent(pid: int) -> bool:
    """Whether the process is there, and is Python or the command (a number may have been given out again)."""
    try:
        return b"edge" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _say(code: int, message: str) -> int:
    print(f"edge-agent: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
