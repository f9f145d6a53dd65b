// Calls of the server. Addresses are relative, so that the page also works below a path of a proxy.

const KEY = "cofactor-key";

/** Numbers beyond 2^53 are kept as BigInt: they are ids, and another number is another id. */
const exact = (_, value, context) =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value;
const written = (_, value) => (typeof value === "bigint" ? JSON.rawJSON(String(value)) : value);

export const parse = (text) => JSON.parse(text, exact);
export const write = (value) => JSON.stringify(value, written);

/** What tells ids apart: 12 is not "12". */
export const keyOf = (id) => `${typeof id === "string" ? "s" : "n"}${id}`;

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { status, code: error.code, field: error.field });
  }
}

let asking = null;

/** Ask for a key once, however many calls need it. */
const askForKey = () => {
  const dialog = document.querySelector("#ask-key"), input = dialog.querySelector("input");
  asking ??= new Promise((done) => {
    input.value = "";
    dialog.addEventListener("close", () => {
      asking = null;
      if (input.value) sessionStorage.setItem(KEY, input.value);
      done(Boolean(input.value));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
};

const call = async (path, body, signal) => {
  const headers = { accept: "application/json" };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer, text;
  try {
    answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, signal, body: body === undefined ? undefined : write(body) });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The server cannot be reached.", code: "unreachable" });
  }
  if (answer.status === 401 && (await askForKey())) return call(path, body, signal);
  let read;
  try {
    read = parse(text);
  } catch {
    throw new Refused(answer.status, { message: `The server gave an answer that is no JSON (status ${answer.status}).`, code: "no_json" });
  }
  if (!answer.ok) throw new Refused(answer.status, read.error ?? { message: `Status ${answer.status}`, code: "unknown" });
  return read;
};

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== ""));

export const about = () => call("about");
export const users = (q, signal) => call(`users?${query({ q })}`, undefined, signal);
export const user = (id) => call(`user?user=${encodeURIComponent(id)}`);
export const search = (q, signal) => call(`search?${query({ q, k: 12 })}`, undefined, signal);
export const items = (ids) => call("items", { items: ids });
export const similar = (id, k, filter, model, signal) => call(`similar?item=${encodeURIComponent(id)}&${query({ k, filter, model })}`, undefined, signal);
export const recommend = (body, signal) => call("recommend", body, signal);
export const explain = (body, signal) => call("explain", body, signal);
