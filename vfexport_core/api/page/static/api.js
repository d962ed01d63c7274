// Requests to the API that this page comes from. The token is kept in memory and, for the tab, in sessionStorage; it
// goes into a header and nowhere else.

const STORED = "vfexport.token";
const STREAM = "text/event-stream";

let token = sessionStorage.getItem(STORED);

export class ApiError extends Error {
  constructor(status, { code, message, hint }) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

export function isSignedIn() {
  return token !== null;
}

export function keepToken(text) {
  token = text;
  sessionStorage.setItem(STORED, text);
}

export function forgetToken() {
  token = null;
  sessionStorage.removeItem(STORED);
}

// Returns the answer's JSON; throws ApiError, also when nobody answers.
export async function ask(method, path, body) {
  const answer = await send(method, path, body, {});
  return answer.json();
}

// Yields {name, data} of a stream of server-sent events until it ends. EventSource could not send the token.
export async function* follow(path, signal, onSign = () => {}) {
  const answer = await send("GET", path, undefined, { Accept: STREAM }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onSign();
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const event = parse(rest.slice(0, end));
      rest = rest.slice(end + 2);
      if (event !== null) yield event;
    }
  }
}

export function exportsPath(campaignId, ...more) {
  return ["campaigns", encodeURIComponent(campaignId), "exports", ...more.map(encodeURIComponent)].join("/");
}

async function send(method, path, body, headers, signal) {
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "Unreachable", message: "The service does not answer.", hint: "Try again soon." });
  }
  if (!answer.ok) throw new ApiError(answer.status, await errorOf(answer));
  return answer;
}

async function errorOf(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return { code: "Unreadable", message: `The service answered ${answer.status}.`, hint: "Try again soon." };
  }
}

function parse(block) {
  const event = { name: "message", data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event.name = line.slice(7);
    if (line.startsWith("data: ")) event.data += line.slice(6);
  }
  return event.data === "" ? null : { name: event.name, data: JSON.parse(event.data) };
}
