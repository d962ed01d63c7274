// The table of exports. A row stays the same element while its export changes, so that the focus stays where it is.

import { make, setText } from "./dom.js";

const ACTIVE = ["PENDING", "TRIGGERED"];
const RETRYABLE = ["FAILED", "EXPIRED", "CANCELED"];
const ENDED = ["finished", "failed", "expired", "canceled"];
const NUMBER = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export class ExportTable {
  // act(name, export) is called for a button; announce(text) tells what has changed to those who do not see it.
  constructor(body, act, announce) {
    this.body = body;
    this.act = act;
    this.announce = announce;
    this.rows = new Map();
  }

  clear() {
    this.rows.clear();
    this.body.replaceChildren();
  }

  show(exports) {
    const wanted = new Set(exports.map((one) => one.id));
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    }
    exports.forEach((one, index) => {
      const row = this.rows.get(one.id) ?? this.add(one);
      row.update(one);
      if (this.body.children[index] !== row.element) this.body.insertBefore(row.element, this.body.children[index]);
    });
  }

  add(one) {
    const row = new Row(this);
    this.rows.set(one.id, row);
    return row;
  }
}

class Row {
  constructor(table) {
    this.table = table;
    this.head = make("th", { scope: "row", tabindex: "-1" });
    this.cells = ["Status", "Requested", "Result", "Actions"].map((label) => make("td", { "data-label": label }));
    this.element = make("tr", {}, this.head, ...this.cells);
    this.actions = "";
    this.status = null;
  }

  update(one) {
    this.one = one;
    const [status, requested, result, actions] = this.cells;
    this.element.dataset.export = one.id;
    setText(this.head, nameOf(one));
    status.replaceChildren(...statusOf(one));
    setText(requested, `${time(one.date.created)} by ${one.requesterUserId}`);
    result.replaceChildren(...resultOf(one));
    this.updateActions(actions, one);
    if (this.status !== null && this.status !== one.status) this.table.announce(`${nameOf(one)}: ${one.status}`);
    this.status = one.status;
  }

  updateActions(cell, one) {
    const names = actionsOf(one);
    if (names.join() === this.actions) return;
    this.actions = names.join();
    const hadFocus = cell.contains(document.activeElement);
    cell.replaceChildren(
      ...names.map((name) =>
        make(
          "button",
          { type: "button", "aria-label": `${name} ${nameOf(one)} of ${time(one.date.created)}`, onclick: () => this.table.act(name, this.one) },
          name,
        ),
      ),
    );
    if (hadFocus) (cell.querySelector("button") ?? this.head).focus();
  }
}

function nameOf(one) {
  const parts = [one.exportType];
  if (one.dateKey !== undefined) parts.push(`wave ${one.dateKey}`);
  if (one.includeAllMarkets) parts.push("all markets");
  return parts.join(", ");
}

function statusOf(one) {
  const parts = [make("span", { class: `badge ${one.status.toLowerCase()}` }, one.status)];
  if (one.attempt > 1) parts.push(make("span", { class: "help" }, ` attempt ${one.attempt}`));
  if (one.status === "PENDING" && one.queue) parts.push(line(placeOf(one.queue)));
  if (one.status === "TRIGGERED") parts.push(...progressOf(one));
  if (one.error) {
    parts.push(make("p", { class: "why" }, make("strong", {}, one.error.code), `: ${one.error.message}`));
    parts.push(make("p", { class: "hint" }, one.error.hint));
  }
  return parts;
}

function placeOf(queue) {
  const place = queue.position === 1 ? "next in the queue" : `number ${queue.position} in the queue`;
  // What holds it up counts, whatever its place.
  if (queue.reason !== undefined) return `${place}, waits: ${queue.reason}`;
  return `${place}, starts in about ${duration(queue.startsInSeconds)}`;
}

function progressOf(one) {
  const percent = one.progress?.percent;
  const bar = make("progress", { max: "100", value: percent === undefined ? null : String(percent), "aria-label": `progress of ${nameOf(one)}` });
  const told = [];
  if (percent !== undefined) told.push(`${percent} %`);
  if (one.progress) told.push(`${NUMBER.format(one.progress.rows)} rows`);
  if (one.endsInSeconds !== undefined) told.push(`about ${duration(one.endsInSeconds)} left`);
  return [bar, line(told.join(", "))];
}

function resultOf(one) {
  if (one.status !== "FINISHED") return [];
  const parts = [line(`${NUMBER.format(one.count ?? 0)} rows, ${size(one.bytes ?? 0)}`)];
  const took = secondsOf(one.date);
  if (took !== null) parts.push(line(`in ${duration(took)}`));
  if (one.keys) parts.push(line(`${one.keys.length} files`));
  if (one.fileProblem !== undefined) parts.push(make("p", { class: "why" }, `the file is ${one.fileProblem}`));
  return parts;
}

function actionsOf(one) {
  if (ACTIVE.includes(one.status)) return ["Cancel"];
  if (RETRYABLE.includes(one.status)) return ["Retry"];
  const isThere = one.key !== undefined && one.fileProblem !== "missing";
  return isThere && one.exportType !== "autoReminderEmail" ? ["Download"] : [];
}

function line(text) {
  return make("p", {}, text);
}

function time(text) {
  return TIME.format(new Date(text));
}

function secondsOf(date) {
  const ended = ENDED.map((name) => date[name]).find((moment) => moment !== undefined);
  return ended === undefined || date.triggered === undefined ? null : (new Date(ended) - new Date(date.triggered)) / 1000;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function size(bytes) {
  return bytes < 1e6 ? `${NUMBER.format(Math.ceil(bytes / 1e3))} kB` : `${NUMBER.format(Math.round(bytes / 1e5) / 10)} MB`;
}
