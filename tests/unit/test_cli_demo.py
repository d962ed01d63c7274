"""The demo's parts that need no server: its folder, what it hides, what it reads from the API, what it prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vfexport_core.cli.demo_view import DemoView
from vfexport_core.embedded.demo import DemoExport, demo_folder, find_checkout
from vfexport_core.embedded.demo.isolation import isolated
from vfexport_core.embedded.demo.stack import _enter_all

WIRE = {
    "id": "65f000000000000000000001",
    "exportType": "entries",
    "status": "TRIGGERED",
    "date": {"created": "2026-01-31T09:30:00.000Z", "triggered": "2026-01-31T09:30:01.000Z"},
    "count": 200,
    "progress": {"read": 100, "rows": 120, "bytes": 5_000, "percent": 50.0},
}
FINISHED = WIRE | {
    "status": "FINISHED",
    "date": WIRE["date"] | {"finished": "2026-01-31T09:30:03.500Z"},
    "count": 240,
    "bytes": 10_000,
    "key": "c/entries/x.csv",
    "sha256": "ab" * 32,
}


def test_the_checkout_is_this_one():
    assert find_checkout() == Path(__file__).parents[2]


def test_a_folder_is_fresh_and_goes_with_its_demo(tmp_path):
    with demo_folder(tmp_path) as folder:
        assert folder.parent == tmp_path / ".demo"
        assert [item.name for item in folder.iterdir()] == ["lock"]
    assert not folder.exists()


def test_a_failed_demo_leaves_its_logs_until_the_next_one(tmp_path):
    with pytest.raises(ValueError, match="x"), demo_folder(tmp_path) as failed:
        raise ValueError("x")
    assert failed.exists()
    with demo_folder(tmp_path):
        assert not failed.exists()


def test_a_demo_that_runs_keeps_its_folder(tmp_path):
    with demo_folder(tmp_path) as one, demo_folder(tmp_path) as other:
        assert one != other
        assert one.exists()
        assert other.exists()


def test_a_shell_for_production_is_hidden(tmp_path, monkeypatch):
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://live.example/")
    monkeypatch.setenv("AWS_PROFILE", "live.example")
    monkeypatch.setenv("DAGSTER_HOME", "/live.example")
    before = dict(os.environ)
    with isolated(tmp_path):
        os.environ["VFEXPORT_MONGO_URI"] = "mongodb://127.0.0.1/"
        assert "live.example" not in " ".join(os.environ.values())
        assert os.environ["TMPDIR"].startswith(str(tmp_path))
    assert dict(os.environ) == before


def test_what_was_entered_is_left_when_another_fails():
    from contextlib import ExitStack, contextmanager

    left = []

    @contextmanager
    def good():
        try:
            yield "good"
        finally:
            left.append("good")

    @contextmanager
    def bad():
        raise ValueError("bad")
        yield

    with pytest.raises(ValueError, match="bad"), ExitStack() as exits:
        _enter_all(exits, good(), bad(), good())
    assert left == ["good", "good"]


def test_an_export_is_read_from_the_api():
    running = DemoExport.from_wire(WIRE, "bucket")
    assert (running.final, running.rows, running.percent, running.seconds) == (False, 120, 50.0, None)
    done = DemoExport.from_wire(FINISHED, "bucket")
    assert (done.final, done.rows, done.bytes, done.percent, done.seconds) == (True, 240, 10_000, 100.0, 2.5)
    assert (done.keys, done.sha256) == (("c/entries/x.csv",), ("ab" * 32,))
    failed = DemoExport.from_wire(WIRE | {"status": "FAILED", "error": {"code": "Boom", "message": "it broke"}}, "b")
    assert (failed.final, failed.error) == (True, "Boom: it broke")


def test_a_line_per_change_and_everything_in_the_end(capsys):
    view = DemoView(100)
    pending = DemoExport.from_wire(WIRE | {"status": "PENDING", "progress": {}}, "the-bucket")
    running, done = DemoExport.from_wire(WIRE, "the-bucket"), DemoExport.from_wire(FINISHED, "the-bucket")
    with view.exports() as show:
        for export in (pending, pending, running, running, done):
            show([export])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[1] for line in lines] == ["PENDING", "TRIGGERED", "FINISHED"]

    view.result([done], {"API": "http://127.0.0.1:1"})
    text = capsys.readouterr().out
    for wanted in ("FINISHED", "240 rows", "10,000 bytes", "2.5 s", "the-bucket", "c/entries/x.csv", "ab" * 32):
        assert wanted in text
    assert "API         http://127.0.0.1:1" in text
    assert "1 of 1 exports FINISHED" in text


def test_many_files_have_a_line_each(capsys):
    many = {name: value for name, value in FINISHED.items() if name != "key"}
    many |= {"keys": ["NA/a.csv", "UK/b.csv"], "sha256": ["ab" * 32, "cd" * 32]}
    DemoView(1).result([DemoExport.from_wire(many, "the-bucket")], {})
    lines = capsys.readouterr().out.splitlines()
    assert f"    {'ab' * 32}  NA/a.csv" in lines
    assert f"    {'cd' * 32}  UK/b.csv" in lines
    assert lines.count("  bucket   the-bucket") == 1
