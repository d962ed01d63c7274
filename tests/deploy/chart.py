"""Rendering the Helm chart without Helm: its templates keep to the few forms that are understood here.

``{{ .Values.a.b }}``, ``{{ .Release.Namespace }}``; and on lines of their own ``{{- if .Values.a.b }}``,
``{{- end }}``, ``{{- toYaml .Values.a.b | nindent 4 }}``; and the checksum of another template. Others are refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.processes import DEPLOY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.deploy.processes import Document

CHART = DEPLOY / "helm" / "vfexport"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))
RELEASE = {"Namespace": "vfexport"}

_IF = re.compile(r"^ *\{\{- if \.Values\.([\w.]+) \}\}$")
_END = re.compile(r"^ *\{\{- end \}\}$")
_TO_YAML = re.compile(r"^ *\{\{- toYaml \.Values\.([\w.]+) \| nindent (\d+) \}\}$")
_CHECKSUM = re.compile(r"\{\{ include \(print \$\.Template\.BasePath \"/([\w.]+)\"\) \. \| sha256sum \}\}")
_VALUE = re.compile(r"\{\{ \.(Values|Release)\.([\w.]+) \}\}")


def defaults() -> Document:
    return yaml.safe_load((CHART / "values.yaml").read_text())


def rendered(values: Document) -> list[Document]:
    """Return what the templates come to; raises KeyError for a value that is not there."""
    texts = [render(template.read_text(), values) for template in TEMPLATES]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def render(text: str, values: Document) -> str:
    lines: list[str] = []
    shown = [True]
    for line in text.splitlines():
        if found := _IF.match(line):
            shown.append(shown[-1] and bool(value_at(values, found[1])))
        elif _END.match(line):
            shown.pop()
        elif shown[-1]:
            lines += _lines(line, values)
    assert shown == [True], "an if without its end"
    return "\n".join(lines)


def paths_in(text: str) -> set[str]:
    """Return the values that a template names."""
    return set(re.findall(r"\.Values\.([\w.]+)", text))


def value_at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


def _lines(line: str, values: Document) -> list[str]:
    if found := _TO_YAML.match(line):
        indent = " " * int(found[2])
        return [indent + part for part in yaml.safe_dump(value_at(values, found[1])).splitlines()]
    given = {"Values": values, "Release": RELEASE}
    line = _VALUE.sub(lambda found: str(value_at(given[found[1]], found[2])), line)
    line = _CHECKSUM.sub(lambda found: _checksum(found[1], values), line)
    assert "{{" not in line, f"not one of the forms that are understood: {line}"
    return [line]


def _checksum(template: str, values: Document) -> str:
    return hashlib.sha256(render((CHART / "templates" / template).read_text(), values).encode()).hexdigest()
