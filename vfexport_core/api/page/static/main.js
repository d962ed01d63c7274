// The page put together: sign in, choose a campaign, see its exports, request and change them.

import { ask, exportsPath, forgetToken, isSignedIn, keepToken } from "./api.js";
import { byId, make, setText, show } from "./dom.js";
import { watch } from "./live.js";
import { begin, finish, offered } from "./oidc.js";
import { ExportTable } from "./table.js";

const SHOWN = 50;
const DEV_USER = { userId: "page", permissions: { "*": ["REPORT"] } };

const state = { types: [], campaign: null, stop: () => {}, connected: true };
const table = new ExportTable(byId("exports").tBodies[0], act, tell);

function tell(text) {
  setText(byId("status"), text);
}

function complain(error) {
  setText(byId("problem"), error === null ? "" : [error.message, error.hint].filter(Boolean).join(" "));
}

// Runs what a button or a form does; an error is shown, and one of the token signs out.
async function attempt(work) {
  complain(null);
  try {
    await work();
  } catch (error) {
    if (error.status === 401) signOut(error);
    else complain(error);
  }
}

async function signIn() {
  const session = await ask("GET", "page/session");
  state.types = session.types;
  setText(byId("user"), session.userId);
  byId("campaign").replaceChildren(
    ...session.campaigns.map(({ id, name }) => make("option", { value: id }, `${name || "without a name"} (${id})`)),
  );
  byId("type").replaceChildren(...session.types.map(({ type }) => make("option", { value: type }, type)));
  showType();
  show(byId("sign-in"), false);
  show(byId("signed-in"), true);
  show(byId("work"), true);
  byId("campaign").focus();
  tell("Signed in.");
  const wanted = campaignOfAddress();
  if (wanted !== null) choose(wanted);
}

function signOut(error = null) {
  state.stop();
  state.campaign = null;
  forgetToken();
  table.clear();
  for (const id of ["signed-in", "work", "chosen"]) show(byId(id), false);
  show(byId("sign-in"), true);
  byId("token").value = "";
  byId("token").focus();
  tell("Signed out.");
  complain(error);
}

// The campaign is in the address, behind the #, so that it is there again after a reload; the token never is.
function campaignOfAddress() {
  const found = /^#campaign=([0-9a-f]{24})$/i.exec(location.hash);
  return found === null ? null : found[1].toLowerCase();
}

function choose(campaignId) {
  state.stop();
  state.campaign = campaignId;
  history.replaceState(null, "", `#campaign=${campaignId}`);
  const known = [...byId("campaign").options].some((option) => option.value === campaignId);
  if (known) byId("campaign").value = campaignId;
  byId("campaign-id").value = known ? "" : campaignId;
  table.clear();
  for (const id of ["exports", "none", "more"]) show(byId(id), false);
  setText(byId("live"), "");
  state.stop = watch(campaignId, {
    exports: showExports,
    connected: showConnection,
    signedOut: signOut,
    failed: (error) => {
      show(byId("chosen"), false);
      complain(error);
    },
  });
  showType();
}

function showExports(exports) {
  if (byId("chosen").hidden) tell("The campaign's exports are shown.");
  show(byId("chosen"), true);
  show(byId("exports"), exports.length > 0);
  show(byId("none"), exports.length === 0);
  show(byId("more"), exports.length >= SHOWN);
  table.show(exports);
}

function showConnection(connected) {
  setText(byId("live"), connected ? "live" : "not connected, trying again");
  if (connected !== state.connected) tell(connected ? "Connected again." : "The connection is lost; trying again.");
  state.connected = connected;
}

function showType() {
  const type = state.types.find((one) => one.type === byId("type").value);
  if (type === undefined) return;
  setText(byId("type-help"), type.summary);
  show(byId("wave-field"), type.needsDateKey);
  show(byId("markets-field"), type.hasAdditionalMarkets);
  if (type.needsDateKey && state.campaign !== null) attempt(offerWaves);
}

async function offerWaves() {
  const campaignId = state.campaign;
  const waves = await ask("GET", `page/campaigns/${encodeURIComponent(campaignId)}/waves`);
  if (state.campaign !== campaignId) return; // another one has been chosen meanwhile
  byId("wave").replaceChildren(...waves.map((key) => make("option", { value: key }, waveName(key))));
}

// A key is usually the wave's moment in milliseconds, but any digits are one.
function waveName(key) {
  const moment = new Date(Number(key));
  if (Number.isNaN(moment.getTime())) return key;
  return `${key} (${moment.toISOString().slice(0, 16).replace("T", " ")} UTC)`;
}

async function request() {
  const type = state.types.find((one) => one.type === byId("type").value);
  const body = { exportType: type.type };
  if (type.needsDateKey) body.dateKey = byId("wave").value;
  if (type.hasAdditionalMarkets && byId("markets").checked) body.includeAllMarkets = true;
  const made = await ask("POST", exportsPath(state.campaign), body);
  tell(`${made.exportType} is ${made.status}.`);
}

async function act(name, one) {
  await attempt(async () => {
    if (name === "Download") return download(one);
    const changed = await ask("POST", exportsPath(one.campaignId, one.id, name.toLowerCase()));
    tell(`${changed.exportType} is ${changed.status}.`);
  });
}

// The signed address is asked for when it is needed: it works for minutes only.
async function download(one) {
  const { path } = await ask("GET", exportsPath(one.campaignId, one.id));
  if (path === undefined) throw new Error("The export has no file to download any more.");
  make("a", { href: path, download: true, rel: "noreferrer" }).click();
  tell(`${one.exportType} is downloaded.`);
}

function onSubmit(id, work) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(work);
  });
}

onSubmit("sign-in-form", async () => {
  keepToken(byId("token").value.trim());
  byId("token").value = "";
  await signIn();
});
onSubmit("campaign-form", async () => choose(byId("campaign-id").value.toLowerCase() || byId("campaign").value));
onSubmit("request-form", request);
byId("campaign").addEventListener("change", () => (byId("campaign-id").value = ""));
byId("type").addEventListener("change", showType);
byId("sign-out").addEventListener("click", () => signOut());
byId("dev-sign-in").addEventListener("click", () =>
  attempt(async () => {
    keepToken((await ask("POST", "dev/token", DEV_USER)).token);
    await signIn();
  }),
);

async function start() {
  const oidc = offered();
  show(byId("issuer"), oidc !== null);
  if (oidc !== null) {
    setText(byId("issuer-name"), new URL(oidc.issuer).host);
    byId("issuer-sign-in").addEventListener("click", () => attempt(() => begin(oidc)));
  }
  const token = await finish(oidc);
  if (token !== null) keepToken(token);
  if (isSignedIn()) await signIn();
}

show(byId("dev-sign-in"), document.body.dataset.devMode === "true");
attempt(async () => {
  try {
    await start();
  } finally {
    show(byId("sign-in"), !isSignedIn());
  }
});
