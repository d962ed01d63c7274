// Signing in at the token issuer: authorization code with PKCE. The code is in the address for the moment of coming back;
// the token never is.

import { ApiError } from "./api.js";

const BEGUN = "vfexport.sign-in";

// Returns what the API knows of the issuer; null where there is none.
export function offered() {
  return JSON.parse(document.body.dataset.oidc || "null");
}

// Leaves the page for the issuer's.
export async function begin(oidc) {
  const verifier = random();
  const state = random();
  sessionStorage.setItem(BEGUN, JSON.stringify({ verifier, state, hash: location.hash }));
  const address = new URL(oidc.authorizationEndpoint);
  const query = {
    response_type: "code",
    client_id: oidc.clientId,
    redirect_uri: returnAddress(),
    scope: oidc.scope,
    audience: oidc.audience,
    state,
    code_challenge: await digest(verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  location.assign(address);
}

// Returns the token when the browser has just come back from the issuer, else null; throws ApiError.
export async function finish(oidc) {
  const answer = new URLSearchParams(location.search);
  if (oidc === null || !answer.has("state")) return null;
  const begun = JSON.parse(sessionStorage.getItem(BEGUN) ?? "null");
  sessionStorage.removeItem(BEGUN);
  history.replaceState(null, "", location.pathname + (begun?.hash ?? ""));
  // Another's answer, or one that this tab has not asked for, signs nobody in.
  const isOwn = begun !== null && answer.get("state") === begun.state && [null, oidc.issuer].includes(answer.get("iss"));
  if (!isOwn) throw failure("This sign-in was not begun here.");
  if (!answer.has("code")) throw failure(`The issuer refused: ${answer.get("error_description") ?? answer.get("error")}.`);
  return exchange(oidc, answer.get("code"), begun.verifier);
}

async function exchange(oidc, code, verifier) {
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    client_id: oidc.clientId,
    redirect_uri: returnAddress(),
    code,
    code_verifier: verifier,
  });
  let answer;
  try {
    answer = await fetch(oidc.tokenEndpoint, { method: "POST", body, credentials: "omit", cache: "no-store" });
  } catch {
    throw failure("The issuer does not answer.");
  }
  const token = answer.ok ? (await answer.json()).access_token : undefined;
  if (typeof token !== "string") throw failure("The issuer gave no token.");
  return token;
}

function failure(message) {
  return new ApiError(0, { code: "SignInFailed", message, hint: "Sign in again." });
}

function returnAddress() {
  return location.origin + location.pathname;
}

function random() {
  return encode(crypto.getRandomValues(new Uint8Array(32)));
}

async function digest(text) {
  return encode(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

function encode(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
