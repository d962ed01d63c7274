"""What a user of the command line is told when something goes wrong, and with which status a command ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from vfexport_core.cli import signals
from vfexport_core.cli.app import COMMANDS, LazyGroup, vfexport
from vfexport_core.cli.errors import CommandFailed, Failure, failure_of
from vfexport_core.errors import (
    CampaignNotFound,
    ConfigurationError,
    DeliveryFailed,
    EmbeddedServerFailed,
    InvalidExportType,
    SourceMissing,
    SourceUnavailable,
)


def run(error, *arguments):
    """Run a command that raises `error`."""
    group = LazyGroup("vfexport")

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def fail(*, as_json):
        raise error

    group.get_command = lambda *_: fail
    return CliRunner().invoke(group, ["fail", *arguments])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CampaignNotFound("no such campaign"), 1),
        (ConfigurationError("VFEXPORT_MONGO_URI is missing"), 1),
        (SourceMissing("collection entries does not exist"), 1),
        (InvalidExportType("exportType is not one of entries"), 2),
        (SourceUnavailable("MongoDB failed"), 3),
        (DeliveryFailed("S3 failed"), 3),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 130),
        (signals.Interrupted(signal.SIGTERM), 143),
        (BrokenPipeError(), 141),
    ],
)
def test_every_kind_of_end_has_its_status(error, status):
    assert run(error).exit_code == status


def test_an_error_is_one_line_with_code_message_and_what_to_do():
    result = run(CampaignNotFound("no such campaign", payload="65f0"))
    assert result.stderr == "CampaignNotFound: no such campaign (65f0). Check the campaign id.\n"
    assert result.stdout == ""


def test_an_error_is_json_if_wanted():
    result = run(CampaignNotFound("no such campaign", payload="65f0"), "--json")
    assert json.loads(result.stderr) == {
        "error": {
            "code": "CampaignNotFound",
            "message": "no such campaign",
            "payload": "65f0",
            "hint": "Check the campaign id.",
        }
    }
    assert result.stderr.count("\n") == 1


def test_the_line_comes_last_when_the_message_has_more():
    lines = run(EmbeddedServerFailed("it died; its log ends:\nfirst\nsecond", payload="/x.log")).stderr.splitlines()
    assert lines[:2] == ["first", "second"]
    assert lines[2].startswith("EmbeddedServerFailed: it died; its log ends as above (/x.log). ")


def test_what_an_unexpected_error_says_is_not_shown(monkeypatch):
    error = ValueError("ada@example.com is not a number")
    result = run(error)
    assert result.exit_code == 1
    assert result.stderr.startswith("InternalError: unexpected ValueError")
    assert "ada@example.com" not in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("VFEXPORT_DEBUG", "1")
    assert "Traceback" in run(error).stderr


def test_an_interrupt_says_nothing_by_itself():
    assert run(KeyboardInterrupt()).output == ""


def test_a_failure_can_be_given_as_it_is():
    failure = Failure(code="Boom", message="it broke", hint="Mend it.", status=3)
    assert failure_of(CommandFailed(failure)) is failure


def test_wrong_usage_is_2_and_json_if_wanted():
    plain = CliRunner().invoke(vfexport, ["init", "--nonsense"])
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert "No such option" in plain.stderr
    wrong = CliRunner().invoke(vfexport, ["init", "--json", "--nonsense"])
    assert wrong.exit_code == 2
    error = json.loads(wrong.stderr)["error"]
    assert error["code"] == "WrongUsage"
    assert "vfexport init --help" in error["hint"]
    assert CliRunner().invoke(vfexport, ["nonsense"]).exit_code == 2
    assert CliRunner().invoke(vfexport, []).exit_code == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_that_is_taken_is_one_line(workers, monkeypatch):
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1")
    monkeypatch.setenv("VFEXPORT_DEV_MODE", "true")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(vfexport, ["api", "--port", port, "--workers", workers])
    assert (result.exit_code, result.stdout) == (1, "")
    said = f"ListenFailed: nothing can listen on 127.0.0.1:{port}: Address already in use. "
    assert result.stderr == said + "Stop what listens there, or name another --host and --port.\n"


def test_an_address_of_another_machine_is_refused(monkeypatch):
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1")
    result = CliRunner().invoke(vfexport, ["api", "--host", "192.0.2.1"])
    assert (result.exit_code, result.stderr.partition(":")[0]) == (1, "ListenFailed")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name):
    result = CliRunner().invoke(vfexport, [name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: vfexport {name} ")


def test_the_general_help_names_every_command_and_imports_none():
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from vfexport_core.cli.app import vfexport\n"
        "print(CliRunner().invoke(vfexport, ['--help']).stdout)\n"
        "heavy = {'pyarrow', 'pymongo', 'boto3', 'fastapi', 'rich', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, entry in COMMANDS.items():
        assert f"{name} " in done.stdout
        assert entry.summary in " ".join(done.stdout.split())


def test_deferred_signals_come_afterwards():
    seen = []

    def work():
        with signals.deferred():
            signal.raise_signal(signal.SIGINT)
            seen.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == ["went on"]


def test_a_deferred_signal_does_not_hide_an_error():
    def work():
        with signals.deferred():
            signal.raise_signal(signal.SIGTERM)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        work()


def test_termination_is_an_interrupt_of_its_own():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(signals.Interrupted) as caught, signals.raised():
        signal.raise_signal(signal.SIGTERM)
    assert signals.exit_status(caught.value) == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raised():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
