"""Draw the dashboard's panels as one SVG, from what a Prometheus answers to their expressions.

    .venv/bin/python benchmarks/dashboard_picture.py http://127.0.0.1:9090 --minutes 15 --output docs/dashboard.svg

Not Grafana's own picture: the same panels in the same places, with the figures that they would show.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

DASHBOARD = Path(__file__).parent.parent / "deploy" / "grafana" / "dashboard.json"
COLUMN, ROW, GAP = 50, 22, 3
POINTS = 60
LISTED, NAME = 8, 22
COLOURS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0")
STYLE = (
    "text{font:10px sans-serif;fill:#ccc}.t{font-size:11px}.v{font-size:22px;text-anchor:middle}"
    ".a{fill:#888;font-size:8px}"
)

Series = tuple[str, list[tuple[float, float]]]


class Prometheus:
    """Answers expressions for the span that is drawn."""

    def __init__(self, address: str, minutes: float) -> None:
        self._address = address
        self.end = time.time()
        self.start = self.end - 60 * minutes

    def series(self, expression: str, legend: str) -> list[Series]:
        step = (self.end - self.start) / POINTS
        span = {"query": expression, "start": self.start, "end": self.end, "step": step}
        with urlopen(f"{self._address}/api/v1/query_range?{urlencode(span)}", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return [(_named(legend, one["metric"]), [(at, float(value)) for at, value in one["values"]]) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of the Prometheus")
    parser.add_argument("--minutes", type=float, default=15, help="how far back (15)")
    parser.add_argument("--output", type=Path, default=Path("dashboard.svg"))
    given = parser.parse_args()
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    prometheus = Prometheus(given.address.rstrip("/"), given.minutes)
    drawn = "\n".join(draw(panel, prometheus) for panel in panels)
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW
    size = f'viewBox="0 0 {24 * COLUMN} {height}" width="{24 * COLUMN}" height="{height}"'
    background = f'<rect width="{24 * COLUMN}" height="{height}" fill="#111217"/>'
    given.output.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{STYLE}</style>\n{background}\n{drawn}\n</svg>\n'
    )


def draw(panel: dict[str, Any], prometheus: Prometheus) -> str:
    """Return a panel at its place."""
    place = panel["gridPos"]
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    inside = [f'<text class="t" x="8" y="15">{escape(panel["title"])}</text>']
    if panel["type"] != "row":
        inside.insert(0, f'<rect width="{width}" height="{height}" fill="#181b1f" stroke="#2c3235"/>')
        unit = panel["fieldConfig"]["defaults"]["unit"]
        found = [
            one for target in panel["targets"] for one in prometheus.series(target["expr"], target["legendFormat"])
        ]
        is_stat = panel["type"] == "stat"
        inside += stat(found, unit, width, height) if is_stat else chart(found, unit, width, height, prometheus)
    return f'<g transform="translate({place["x"] * COLUMN},{place["y"] * ROW})">{"".join(inside)}</g>'


def stat(found: list[Series], unit: str, width: float, height: float) -> list[str]:
    values = " / ".join(shown(points[-1][1], unit) for _, points in found) or "no data"
    return [f'<text class="v" x="{width / 2:g}" y="{height / 2 + 14:g}">{escape(values)}</text>']


def chart(found: list[Series], unit: str, width: float, height: float, span: Prometheus) -> list[str]:
    left, top, right, bottom = 46, 24, 8, 12 * math.ceil(min(len(found), LISTED) / 2) + 14
    most = max((value for _, points in found for _, value in points if math.isfinite(value)), default=0.0) or 1.0
    wide, high = width - left - right, height - top - bottom
    lines = [
        f'<path d="M{left} {top + high * (1 - part):.0f}h{wide}" stroke="#2c3235"/>'
        f'<text class="a" x="4" y="{top + high * (1 - part) + 3:.0f}">{escape(shown(most * part, unit))}</text>'
        for part in (0, 0.5, 1)
    ]
    for number, (name, points) in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        corners = [
            (left + wide * (at - span.start) / (span.end - span.start), top + high * (1 - value / most))
            for at, value in points
            if math.isfinite(value)
        ]
        way = " ".join(f"{x:.0f},{y:.0f}" for x, y in corners)
        lines.append(f'<polyline points="{way}" fill="none" stroke="{colour}"/>')
        if number < LISTED:
            x, y = 10 + (number % 2) * width / 2, height - bottom + 18 + 12 * (number // 2)
            last = shown(points[-1][1], unit)
            lines.append(f'<path d="M{x:g} {y - 3:g}h10" stroke="{colour}" stroke-width="3"/>')
            lines.append(f'<text x="{x + 14:g}" y="{y:g}">{escape(name[:NAME])}  {escape(last)}</text>')
    return lines if found else [*lines, f'<text x="{width / 2:g}" y="{height / 2:g}">nothing to show</text>']


def shown(value: float, unit: str) -> str:
    """Return a value as it is read."""
    if not math.isfinite(value):
        return "never" if math.isinf(value) else "none"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return (
            f"{value / 3600:.3g} h" if value >= 3600 else f"{value / 60:.3g} min" if value >= 120 else f"{value:.3g} s"
        )
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}{'B' if unit == 'bytes' else ''}"
    return f"{value:.3g}{' B' if unit == 'bytes' else ''}"


def _named(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


if __name__ == "__main__":
    main()
