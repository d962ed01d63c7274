// A campaign's exports as they change: a stream, opened again when it ends or falls silent. A tab that nobody sees has
// none.

import { ApiError, follow } from "./api.js";

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
// The service says something every 15 seconds.
const SILENCE = 40_000;

// Calls on.exports(list), on.connected(yes) and on.signedOut(error) or on.failed(error) until the returned function is
// called. After the last two it has ended by itself.
export function watch(campaignId, on) {
  const ending = new AbortController();
  keepFollowing(campaignId, on, ending.signal);
  return () => ending.abort();
}

async function keepFollowing(campaignId, on, signal) {
  let pause = FIRST_PAUSE;
  while (!signal.aborted) {
    await whenSeen();
    if (signal.aborted) return;
    try {
      await followOnce(campaignId, on, signal, () => (pause = FIRST_PAUSE));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 401) return on.signedOut(error);
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) return on.failed(error);
      on.connected(false);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// Settles at once unless the tab is hidden, else when it is not any more.
async function whenSeen() {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

// Returns when the stream ends or the tab is hidden.
async function followOnce(campaignId, on, signal, onAnswer) {
  const connection = new AbortController();
  const end = () => connection.abort();
  let hidden = false;
  const onVisibility = () => {
    hidden ||= document.hidden;
    if (hidden) end();
  };
  signal.addEventListener("abort", end);
  document.addEventListener("visibilitychange", onVisibility);
  let timer = setTimeout(end, SILENCE);
  const onSign = () => {
    clearTimeout(timer);
    timer = setTimeout(end, SILENCE);
  };
  try {
    const path = `page/campaigns/${encodeURIComponent(campaignId)}/events`;
    for await (const { name, data } of follow(path, connection.signal, onSign)) {
      if (signal.aborted) return;
      if (name === "signed-out") throw new ApiError(401, { code: "Unauthenticated", ...data });
      on.connected(name === "exports");
      onAnswer();
      if (name === "exports") on.exports(data);
    }
  } catch (error) {
    if (!hidden || error.name !== "AbortError") throw error;
  } finally {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisibility);
    signal.removeEventListener("abort", end);
    end();
  }
}
