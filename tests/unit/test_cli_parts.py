"""The small parts of the command line: figures, files, reports."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from datetime import UTC, datetime

import pytest

from vfexport_core.cli.app import COMMANDS
from vfexport_core.cli.errors import failure_of
from vfexport_core.cli.hints import hint_of_class
from vfexport_core.cli.output import PRIVATE, opened_output
from vfexport_core.cli.progress_display import Lines, shown
from vfexport_core.cli.report import failure_of_export, summary_of
from vfexport_core.cli.service_warnings import shown_warnings
from vfexport_core.errors import OutputFailed, VfexportError
from vfexport_core.queue.models import Export, ExportDates, ExportStatus
from vfexport_core.telemetry.progress import Meter, duration

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def export(status, **fields):
    return Export(
        id="65f000000000000000000001",
        campaign_id="65f000000000000000000002",
        campaign_name="Tour",
        export_type="entries",
        status=status,
        requester_user_id="cli:ada",
        correlation_id="c",
        source="api",
        attempt=1,
        **{"date": ExportDates(created=NOW)} | fields,
    )


@pytest.mark.parametrize(("quiet", "everything"), [(False, False), (True, False), (True, True)])
def test_warnings_are_for_people_and_never_the_driver_s_pages(capsys, quiet, everything):
    before = logging.lastResort
    with shown_warnings(quiet=quiet, everything=everything):
        for name, level in (
            ("vfexport_core.sources.scan", logging.WARNING),
            ("vfexport_core.mongo.client", logging.WARNING),
            ("vfexport_core.sources.scan", logging.INFO),
        ):
            record = logging.LogRecord(name, level, "f", 1, "said by %s", (name,), None)
            if record.levelno >= logging.lastResort.level:
                logging.lastResort.handle(record)
    own, driver = "warning: said by vfexport_core.sources.scan", "warning: said by vfexport_core.mongo.client"
    shown_lines = [own, driver] if everything else [] if quiet else [own]
    assert capsys.readouterr().err.splitlines() == shown_lines
    assert logging.lastResort is before


# Nobody who only has the command line meets these.
OF_THE_API_ALONE = {"MethodNotAllowed", "NotFound", "Unauthenticated", "InternalError"}


def test_hints_are_for_whoever_has_the_command_line():
    kinds = [VfexportError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    spoken = {kind: hint_of_class(kind) for kind in kinds if "code" in vars(kind) and kind.code not in OF_THE_API_ALONE}
    assert {kind.__name__ for kind, hint in spoken.items() if re.search(r"GET /|\bSend\b(?! a smaller)", hint)} == set()
    named = {command for hint in spoken.values() for command in re.findall(r"`vfexport ([a-z]+)", hint)}
    assert named <= set(COMMANDS)


def test_rates_and_time_left():
    clock = Clock()
    meter = Meter(total=1_000, clock=clock)
    meter.update(0, 0, 0)
    clock.now += 2
    meter.update(500, 600, 1_500_000)
    assert meter.rows_per_second == 300
    assert meter.seconds_left == 2
    assert meter.share == 0.5
    assert meter.line() == " 50%, 600 rows, 300 rows/s, 1.5 MB, 0:02 left"


def test_who_comes_in_the_middle_sees_the_rate_from_there():
    clock = Clock()
    meter = Meter(total=1_000, clock=clock)
    meter.update(500, 500, 0)
    assert meter.seconds_left is None
    clock.now += 1
    meter.update(600, 600, 0)
    assert (meter.rows_per_second, meter.seconds_left) == (100, 4)


def test_without_a_count_there_is_neither_share_nor_time_left():
    meter = Meter()
    meter.update(10, 10, 10)
    assert (meter.share, meter.seconds_left) == (None, None)
    assert "left" not in meter.line()


def test_more_was_read_than_was_counted():
    clock = Clock()
    meter = Meter(total=10, clock=clock)
    meter.update(0, 0, 0)
    clock.now += 1
    meter.update(12, 12, 1)
    assert (meter.share, meter.seconds_left) == (1.0, 0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (60, "1:00"), (754, "12:34"), (3_723, "1:02:03")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lines_are_for_people_and_logs_not_for_machines(capsys):
    with shown("entries", as_json=False) as display:
        assert isinstance(display, Lines)
        display.note("waiting")
        display.note("waiting")
    with shown("entries", as_json=True) as display:
        display.note("waiting")
        display.expect(3)
        display.update(1, 1, 1)
    assert capsys.readouterr().err == "entries: waiting\n"


def test_a_file_is_there_when_it_is_complete(tmp_path):
    target = tmp_path / "out.csv"
    with opened_output(str(target)) as out:
        out.write(b"a\n")
        assert not target.exists()
        out.write(b"b\n")
    assert target.read_bytes() == b"a\nb\n"
    assert out.sha256 == hashlib.sha256(b"a\nb\n").hexdigest()
    assert list(tmp_path.iterdir()) == [target]


def test_a_private_file_is_so_from_its_first_byte_on(tmp_path):
    target = tmp_path / "out.csv"
    with opened_output(str(target), mode=PRIVATE) as out:
        out.write(b"a\n")
        (draft,) = tmp_path.iterdir()
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")

    def write_half():
        with opened_output(str(target)) as out:
            out.write(b"half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_keeps_pointing_at_its_file(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    with opened_output(str(link)) as out:
        out.write(b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with opened_output(str(pipe)) as out:
            out.write(b"rows")
        assert os.read(reader, 100) == b"rows"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = str(tmp_path / "missing" / "out.csv")
    with pytest.raises(OutputFailed) as caught, opened_output(path):
        pass
    assert caught.value.payload == path
    assert "No such file" in caught.value.message


def test_a_closed_pipe_is_not_a_failure_of_the_file(tmp_path):
    with pytest.raises(BrokenPipeError), opened_output(str(tmp_path / "out")):
        raise BrokenPipeError


def test_the_summary_of_one_file():
    dates = ExportDates(created=NOW, triggered=NOW, finished=NOW.replace(second=2, microsecond=500_000))
    done = export(
        ExportStatus.FINISHED, date=dates, keys=("k",), sha256={"k": "ab"}, count=3, bytes=30, meta={"warnings": {}}
    )
    assert summary_of(done, "bucket") == {
        "exportId": done.id,
        "status": "FINISHED",
        "bucket": "bucket",
        "key": "k",
        "rows": 3,
        "bytes": 30,
        "sha256": "ab",
        "seconds": 2.5,
        "warnings": {},
    }


def test_the_summary_of_several_files():
    done = export(ExportStatus.FINISHED, keys=("k", "l"), sha256={"k": "ab", "l": "cd"}, count=3, bytes=30)
    summary = summary_of(done, "bucket")
    assert (summary["keys"], summary["sha256"]) == (["k", "l"], ["ab", "cd"])
    assert "key" not in summary


@pytest.mark.parametrize(
    ("status", "error", "code", "exit_status"),
    [
        (ExportStatus.FAILED, {"code": "NoMarketsFound", "message": "none"}, "NoMarketsFound", 1),
        (ExportStatus.FAILED, {"code": "DeliveryFailed", "message": "S3"}, "DeliveryFailed", 3),
        (ExportStatus.FAILED, {"code": "NewlyInvented", "message": "?"}, "NewlyInvented", 1),
        (ExportStatus.FAILED, None, "InternalError", 1),
        (ExportStatus.EXPIRED, None, "ExportExpired", 1),
        (ExportStatus.CANCELED, None, "ExportCanceled", 1),
    ],
)
def test_an_export_that_others_ended_badly(status, error, code, exit_status):
    failure = failure_of(failure_of_export(export(status, error=error)))
    assert (failure.code, failure.status) == (code, exit_status)
    assert failure.hint
