"""What the pod of a run gets in a cluster, by its type, as Dagster's launcher reads it."""

from __future__ import annotations

import json

import pytest

from vfexport_core.catalog import all_specs
from vfexport_core.errors import ConfigurationError
from vfexport_core.services.run_resources import VARIABLE, run_resources
from vfexport_dagster.tags import POD, pod_tags


def limits(export_type: str) -> dict[str, str] | None:
    from dagster_k8s.job import get_user_defined_k8s_config  # every process that collects tests would load it: a second

    tags = pod_tags(run_resources().get(export_type))
    container = get_user_defined_k8s_config(tags).container_config
    return container["resources"]["limits"] if container else None


def test_types_get_what_the_launcher_gives_but_for_the_one_that_no_processor_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    given = {spec.type: limits(spec.type) for spec in all_specs()}
    assert given.pop("reminderEmailSample") == {"cpu": "1", "memory": "1Gi"}
    assert set(given.values()) == {None}


def test_a_type_gets_what_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"entries": {"cpu": "4", "memory": "3Gi"}}))
    assert limits("entries") == {"cpu": "4", "memory": "3Gi"}
    assert limits("codes") is None
    assert json.loads(pod_tags(run_resources()["entries"])[POD])["container_config"]["resources"]["requests"] == {
        "cpu": "4",
        "memory": "3Gi",
    }


@pytest.mark.parametrize(
    "wrong", ["{", '{"entries": {"cpu": "many", "memory": "1Gi"}}', '{"entrees": {"cpu": "1", "memory": "1Gi"}}', "[]"]
)
def test_a_wrong_setting_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv(VARIABLE, wrong)
    with pytest.raises(ConfigurationError, match=VARIABLE):
        run_resources()
