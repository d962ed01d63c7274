"""The alert rules fire when they should, lead to a section of the runbook, and the dashboard shows what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.unit.docs_helpers import OPERATIONS, ROOT, anchors, table, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES, TESTS = PROMETHEUS / "alerts.yaml", PROMETHEUS / "alerts_test.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
PICTURE = ROOT / "docs" / "dashboard.svg"
RUNBOOK = ROOT / "docs" / "runbook.md"
PARTS = ("**Means:**", "**Look at", "**Wake:**")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def documented() -> set[str]:
    """Return the metrics of the API and those of the exporter."""
    rows = table(OPERATIONS, "metric") + table(OPERATIONS, "Dagster metric")
    return {cells[0].strip("`") for cells in rows}


def metrics_in(expression: str) -> set[str]:
    """Return the metrics of an expression, as they are documented: without what a histogram adds to its name."""
    names = re.findall(r"\b(?:vfexport|process)_\w+", expression)
    return {re.sub(r"_(?:bucket|count|sum)$", "", name) for name in names}


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here: it is in Debian's package prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    """Those of the API and of the exporter are documented, all of them: their own tests look."""
    assert {name for rule in rules() for name in metrics_in(rule["expr"])} <= documented()


def test_prometheus_takes_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)


def test_the_rules_fire_and_stay_quiet_as_their_tests_say() -> None:
    promtool("test", "rules", TESTS)


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    outcomes: dict[str, set[bool]] = {}
    for case in yaml.safe_load(TESTS.read_text())["tests"]:
        for look in case["alert_rule_test"]:
            outcomes.setdefault(look["alertname"], set()).add(bool(look["exp_alerts"]))
    assert outcomes == {rule["alert"]: {True, False} for rule in rules()}


def test_every_alert_leads_to_a_section_of_the_runbook_and_no_section_is_of_another() -> None:
    for rule in rules():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert ROOT / path == RUNBOOK
        assert anchor in anchors(RUNBOOK)
        assert anchor == rule["alert"].lower()
    sections = re.split(r"^## ", text_of(RUNBOOK), flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections] == [rule["alert"] for rule in rules()]
    for section in sections:
        assert all(part in section for part in PARTS), section


def test_the_dashboard_shows_every_metric_that_there_is_and_no_other() -> None:
    shown = set[str]().union(*map(metrics_in, expressions()))
    assert shown == documented()


def test_prometheus_takes_the_dashboard_s_expressions(tmp_path: Path) -> None:
    records = [
        {"record": f"panel_{number}", "expr": expression}
        for number, expression in enumerate(dict.fromkeys(expressions()))
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": records}]}))
    assert f"{len(records)} rules found" in promtool("check", "rules", file)


def test_the_picture_shows_no_panel_that_is_gone() -> None:
    """Else make it anew: `benchmarks/dashboard_picture.py`. A new panel is in the next picture."""
    texts = ElementTree.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text")
    drawn = {text.text for text in texts if text.get("class") == "t"}
    titles = {panel["title"] for panel in json.loads(DASHBOARD.read_text())["panels"]}
    assert len(drawn) > len(titles) / 2
    assert drawn <= titles


def test_every_panel_says_what_it_shows_in_which_unit() -> None:
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
    places = [tuple(panel["gridPos"][side] for side in "xy") for panel in panels()]
    assert len(set(places)) == len(places)
