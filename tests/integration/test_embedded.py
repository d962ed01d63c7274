"""The embedded servers come up, answer, and never outlive who started them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap

import boto3
import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, DuplicateKeyError, WriteError

from vfexport_core.embedded import embedded_environment, embedded_mongo, embedded_s3
from vfexport_core.embedded.process import ServerProcess, free_port
from vfexport_core.errors import EmbeddedServerFailed
from vfexport_core.settings import load_settings

GONE_SECONDS = 30


def wait_gone(*pids):
    """Wait until these processes have ended; one that nobody has reaped yet has ended, too."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([handle], [], [], GONE_SECONDS)[0], f"process {pid} is still there"
        finally:
            os.close(handle)


def supervisor_of(pid):
    return psutil.Process(pid).ppid()


def connect(mongo):
    return MongoClient(mongo.uri, serverSelectionTimeoutMS=10_000)


def s3_client(settings):
    bucket = settings.buckets.exports
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint_url,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key_id,
        aws_secret_access_key=bucket.secret_access_key.get_secret_value(),
    )


def test_the_environment_makes_settings_for_four_buckets_that_exist(settings, mongo_server, s3_server):
    assert settings.mongo_uri.get_secret_value() == mongo_server.uri
    assert settings.lookup_batch == 100
    client = s3_client(settings)
    names = {getattr(settings.buckets, key).name for key in ("exports", "scoring", "vf_scoring", "sfmc")}
    assert len(names) == 4
    assert names <= {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    client.put_object(Bucket=settings.buckets.exports.name, Key="a", Body=b"x")
    assert client.get_object(Bucket=settings.buckets.exports.name, Key="a")["Body"].read() == b"x"
    client.close()
    # A second time: the buckets are kept, with what is in them.
    suffix = settings.buckets.exports.name.removeprefix("vfexport-exports")
    again = embedded_environment(mongo_server, s3_server, bucket_suffix=suffix)
    assert again["VFEXPORT_BUCKETS__EXPORTS__NAME"] == settings.buckets.exports.name
    client = s3_client(settings)
    assert client.list_objects_v2(Bucket=settings.buckets.exports.name)["KeyCount"] == 1
    client.close()


def test_every_test_has_an_empty_database(database):
    assert database.list_collection_names() == []
    database.here.insert_one({})


def test_failpoints_work_on_the_test_server(database, mongo_client):
    database.things.insert_one({"_id": 1})
    mongo_client.admin.command(
        "configureFailPoint",
        "failCommand",
        mode={"times": 1},
        data={"failCommands": ["aggregate"], "closeConnection": True},
    )
    with MongoClient(
        mongo_client.address[0], mongo_client.address[1], directConnection=True, retryReads=False
    ) as client:
        with pytest.raises(AutoReconnect):
            list(client[database.name].things.aggregate([]))
        assert list(client[database.name].things.aggregate([])) == [{"_id": 1}]


def test_data_outlives_the_server_and_the_given_port_is_used(tmp_path):
    port = free_port()
    with embedded_mongo(tmp_path, port=port) as mongo:
        assert mongo.port == port
        with connect(mongo) as client:
            client.test.things.insert_one({"_id": 1})
        pids = mongo.pid, supervisor_of(mongo.pid)
    wait_gone(*pids)
    with embedded_mongo(tmp_path, stop_seconds=0) as mongo, connect(mongo) as client:
        assert client.test.things.find_one() == {"_id": 1}
        client.test.things.insert_one({"_id": 2})
    # Killed rather than stopped: what was acknowledged is still there.
    with embedded_mongo(tmp_path, stop_seconds=0) as mongo, connect(mongo) as client:
        assert client.test.things.count_documents({}) == 2


def test_s3_uses_the_given_port_and_leaves_no_process(tmp_path):
    port = free_port()
    with embedded_s3(tmp_path, port=port) as s3:
        assert s3.endpoint_url == f"http://127.0.0.1:{port}"
        pids = s3.pid, supervisor_of(s3.pid)
    wait_gone(*pids)


@pytest.mark.parametrize("start", [embedded_mongo, embedded_s3])
def test_a_taken_port_is_an_early_death_with_the_end_of_the_log(start, tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(EmbeddedServerFailed, match=r"(?s)ended early.*in use") as raised,
        start(tmp_path, port=taken.getsockname()[1]),
    ):
        pass
    assert raised.value.payload == str(tmp_path / "server.log")


def test_a_server_that_never_gets_ready_is_stopped_after_the_deadline(tmp_path):
    command = [sys.executable, "-c", "print('waiting', flush=True); import time; time.sleep(600)"]
    with (
        ServerProcess("sleeper", command, tmp_path / "log", stop_seconds=0, environment=os.environ) as process,
        pytest.raises(EmbeddedServerFailed, match=r"not ready after 0\.2 s"),
    ):
        process.wait_until(lambda: False, seconds=0.2)
    wait_gone(process.pid)


def test_a_command_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(EmbeddedServerFailed, match="could not be started"):
        ServerProcess("nothing", ["/nonexistent"], tmp_path / "log", stop_seconds=0, environment=os.environ)


def test_a_server_that_ignores_the_request_to_stop_is_killed(tmp_path):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    with ServerProcess(
        "deaf server", [sys.executable, "-c", code], tmp_path / "log", stop_seconds=0.2, environment=os.environ
    ) as process:
        process.wait_until(lambda: "deaf" in (tmp_path / "log").read_text())
    wait_gone(process.pid)


def test_a_server_that_is_stopping_gets_its_time_however_often_it_is_told(tmp_path):
    code = (
        "import signal, sys, time\n"
        "def stop(number, frame):\n"
        "    print('stopping', flush=True)\n"
        "    time.sleep(0.5)\n"
        "    print('stopped', flush=True)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    log = tmp_path / "log"
    with ServerProcess(
        "slow server", [sys.executable, "-c", code], log, stop_seconds=60, environment=os.environ
    ) as process:
        process.wait_until(lambda: "ready" in log.read_text())
        process._supervisor.stdin.close()
        process.wait_until(lambda: "stopping" in log.read_text())
    assert "stopped" in log.read_text()


def test_stopping_a_server_that_was_killed_is_harmless(tmp_path):
    with embedded_s3(tmp_path) as s3:
        supervisor = supervisor_of(s3.pid)
        os.kill(s3.pid, signal.SIGKILL)
        wait_gone(s3.pid, supervisor)


PARENT = """
    import os, sys, time
    from pathlib import Path
    from vfexport_core.embedded import embedded_mongo, embedded_s3

    folder = Path(sys.argv[1])
    with embedded_mongo(folder / "mongo") as mongo, embedded_s3(folder / "s3") as s3:
        if sys.argv[2] == "fork" and os.fork() == 0:
            time.sleep(600)  # holds the supervisors' pipes open after the parent's death
        print(mongo.pid, s3.pid, flush=True)
        {end}
"""


def start_parent(folder, how, end="time.sleep(600)", stdin=None):
    code = textwrap.dedent(PARENT).format(end=end)
    command = [sys.executable, "-c", code, folder, how]
    parent = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, start_new_session=True)
    with parent.stdout as answer:
        servers = [int(word) for word in answer.readline().split()]
    return parent, servers, [supervisor_of(pid) for pid in servers]


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_no_server_outlives_a_parent_killed_with_9(tmp_path, how):
    parent, servers, supervisors = start_parent(tmp_path, how)
    forks = [child.pid for child in psutil.Process(parent.pid).children() if child.pid not in supervisors]
    assert len(forks) == (how == "fork")
    parent.kill()
    parent.wait()
    try:
        wait_gone(*servers, *supervisors)
    finally:
        for pid in forks:
            os.kill(pid, signal.SIGKILL)


def test_no_server_outlives_a_parent_that_exits_without_stopping(tmp_path):
    parent, servers, supervisors = start_parent(tmp_path, "alone", end="input(); os._exit(7)", stdin=subprocess.PIPE)
    with parent.stdin as told:  # not before the supervisors have been looked for
        told.write(b"\n")
    assert parent.wait(GONE_SECONDS) == 7
    wait_gone(*servers, *supervisors)


def test_ctrl_c_stops_the_servers(tmp_path):
    parent, servers, supervisors = start_parent(tmp_path, "alone")
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.wait(GONE_SECONDS) != 0
    wait_gone(*servers, *supervisors)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel service is Linux's")
def test_no_server_outlives_a_supervisor_killed_with_9(tmp_path):
    with embedded_mongo(tmp_path / "mongo") as mongo, embedded_s3(tmp_path / "s3") as s3:
        for pid in (mongo.pid, s3.pid):
            os.kill(supervisor_of(pid), signal.SIGKILL)
        wait_gone(mongo.pid, s3.pid)


def test_importing_the_package_needs_neither_server(tmp_path):
    code = "import sys, vfexport_core.embedded; sys.exit(any(name in sys.modules for name in ('moto', 'secantus')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_load_from_the_environment_given_to_other_processes(settings, settings_environment, monkeypatch):
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=None) == settings


def test_what_one_connection_changes_of_a_collection_holds_for_the_others_at_once(mongo_server, database):
    """The embedded MongoDB keeps what it knows of collections, for each connection; see mongo_process.py."""
    with MongoClient(mongo_server.uri) as other:
        ours, theirs = database["things"], other[database.name]["things"]
        ours.insert_many([{"n": 1}, {"n": 2}])
        assert ours.find_one({"n": 2})
        theirs.create_index("n", unique=True)
        with pytest.raises(DuplicateKeyError):
            ours.insert_one({"n": 1})
        assert ours.count_documents({"n": 1}) == 1
        theirs.drop_index("n_1")
        ours.insert_one({"n": 1})
        assert ours.count_documents({"n": 1}) == 2
        theirs.drop()
        assert ours.find_one({"n": 1}) is None
        theirs.create_index("n", unique=True)
        ours.insert_one({"n": 1})
        with pytest.raises(DuplicateKeyError):
            ours.update_one({"n": 3}, {"$set": {"n": 1}}, upsert=True)
        other[database.name].command({"collMod": "things", "validator": {"n": {"$type": "number"}}})
        with pytest.raises(WriteError, match="validation"):
            ours.insert_one({"n": "two"})
