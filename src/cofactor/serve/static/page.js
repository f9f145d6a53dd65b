// The page: somebody on one side, what comes next on the other.
import * as calls from "./calls.js";
import { filterControls } from "./filters.js";
import { attributesOf, describeBy, factsOf, itemButton, learn, nameOf, named } from "./items.js";
import { hideTip, later, make, showTip, suggest } from "./pieces.js";

const $ = (selector) => document.querySelector(selector);
const FIRST_OF_HISTORY = matchMedia("(max-width: 52rem)").matches ? 5 : 12;
const state = { user: null, past: [], added: [], all: false };
let about = { models: [], columns: [], limits: {} }, filters = null;

/* What is wrong is said in one place, and taken back when all is well again. */
const wrong = (error) => {
  if (error.name === "AbortError") return;
  const ofFilter = error.message?.startsWith("filter") || error.field === "filter";
  $("#filter-wrong").textContent = ofFilter ? error.message : "";
  if (ofFilter) $("#filters").open = true;
  $("#trouble").textContent = ofFilter ? "" : error.message;
  $("#trouble").hidden = ofFilter;
};
const busy = (is) => $("#lists").setAttribute("aria-busy", String(is));
const well = () => { $("#trouble").hidden = true; $("#filter-wrong").textContent = ""; };

/* Who is asked for */
const asked = () => ({
  ...(state.user === null ? {} : { user: state.user }),
  ...(state.user === null || state.added.length ? { history: state.added.map(({ item, weight }) => (weight === undefined ? { item } : { item, weight })) } : {}),
});

const remember = () => {
  const { parts, words } = filters.state();
  const kept = { user: state.user, added: state.added, k: Number($("#k").value), parts, words, first: $("#first").value, second: $("#second").value, repeats: $("#repeats").checked };
  history.replaceState(null, "", `#${encodeURIComponent(calls.write(kept))}`);
};

const recall = async () => {
  let kept = {};
  try {
    kept = calls.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
  } catch {
    // an address that was written by hand
  }
  const most = Number($("#k").max);
  $("#k").value = Math.min(most, Number.isInteger(kept.k) ? kept.k : 10);
  $("#repeats").checked = kept.repeats === true;
  filters.restore({ parts: Array.isArray(kept.parts) ? kept.parts : [], words: String(kept.words ?? "") });
  for (const which of ["first", "second"]) {
    const options = [...$(`#${which}`).options].map((one) => one.value);
    if (options.includes(kept[which])) $(`#${which}`).value = kept[which];
  }
  state.added = Array.isArray(kept.added) ? kept.added.filter((one) => ["string", "number", "bigint"].includes(typeof one?.item)) : [];
  await learn(state.added.map(({ item }) => item));
  if (kept.user !== null && kept.user !== undefined) await choose(kept.user, state.added);
  else changedPerson();
};

const choose = async (id, added = []) => {
  busy(true);
  try {
    const { user, history: past } = await calls.user(id);
    await learn(past.map(({ item }) => item));
    Object.assign(state, { user, past: [...past].sort((a, b) => (b.weight ?? 1) - (a.weight ?? 1)), added, all: false });
    $("#user").value = String(user);
    await changedPerson();
  } catch (error) {
    if (!$("#lists").children.length) await changedPerson();
    busy(false);
    wrong(error);
  }
};

const add = async (id) => {
  busy(true);
  if (!state.added.some(({ item }) => calls.keyOf(item) === calls.keyOf(id))) state.added.unshift({ item: id });
  $("#add").value = "";
  try {
    await learn([id]);
  } catch (error) {
    wrong(error);
  }
  changedPerson();
};

const count = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;

const drawHistory = () => {
  const past = state.all ? state.past : state.past.slice(0, FIRST_OF_HISTORY);
  const rows = state.added.map(({ item, weight }) => ({ item, weight, isNew: true })).concat(past);
  $("#history").replaceChildren(...rows.map(({ item, weight, isNew }) => make("li", { "data-key": calls.keyOf(item) },
    itemButton(item, openItem),
    make("span", { class: "side" },
      weight !== undefined && weight !== null && weight !== 1 ? make("span", { title: "weight" }, `× ${Number(Number(weight).toPrecision(3))}`) : null,
      isNew ? make("button", { type: "button", class: "icon", "aria-label": `Take ${nameOf(item)} out of the history`, onclick: () => drop(item) }, "✕") : null))));
  const hidden = state.past.length - past.length;
  $("#all-history").hidden = !hidden;
  $("#all-history").textContent = `Show ${hidden.toLocaleString("en")} more`;
  const nobody = state.user === null && !state.added.length;
  $("#who").textContent = nobody ? "Nobody yet. Without a history, lists hold what is popular."
    : state.user === null ? `A new person who liked ${count(state.added.length, "item")}.`
      : `${state.user} has ${count(state.past.length, "item")}${state.added.length ? `, and ${state.added.length} more here` : ""}.`;
  $("#who").className = nobody ? "pale" : "";
  $("#clear").hidden = nobody;
  $("#copy").hidden = state.user === null || !state.past.length;
};

const drop = (id) => {
  const at = state.added.findIndex(({ item }) => calls.keyOf(item) === calls.keyOf(id));
  state.added.splice(at, 1);
  changedPerson();
  ($("#history .icon") ?? $("#add")).focus();
};

/* Lists */
let running = null;

const listOf = async (model, signal) => {
  const filter = filters.read(), started = performance.now();
  const answer = await calls.recommend({
    ...asked(), k: Number($("#k").value), exclude_seen: !$("#repeats").checked, fallback: true,
    ...(filter ? { filter } : {}), ...(model ? { model } : {}),
  }, signal);
  return { ...answer, model_asked: model, total: performance.now() - started, ...answer.lists[0] };
};

/* The second list may fail, as where there is no previous version, and the first is shown all the same. */
const secondListOf = (model, signal) => listOf(model, signal).catch((error) => {
  if (error.name === "AbortError" || error.field === "filter") throw error;
  return { failed: error.message, model: { name: model }, items: [] };
});

const refresh = async () => {
  running?.abort();
  running = new AbortController();
  const { signal } = running, box = $("#lists");
  busy(true);
  hideTip();
  remember();
  try {
    const second = $("#second").value;
    const lists = await Promise.all([listOf($("#first").value, signal), ...(second ? [secondListOf(second, signal)] : [])]);
    await learn(lists.flatMap((list) => list.items.map(({ item }) => item)));
    if (signal.aborted) return;
    well();
    const keys = lists.map((list) => new Set(list.items.map(({ item }) => calls.keyOf(item))));
    const both = lists.length === 2 && !lists[1].failed ? [...keys[0]].filter((key) => keys[1].has(key)).length : null;
    box.replaceChildren(...lists.map((list, n) => drawList(list, n, both === null ? null : keys[1 - n], both)));
  } catch (error) {
    wrong(error);
  } finally {
    if (!signal.aborted) busy(false);
  }
};
const refreshLater = later(120, refresh);
const refreshSoon = () => { busy(true); refreshLater(); };
const changedPerson = () => { drawHistory(); return refresh(); };

const SOURCES = { popular: "popular items, as there is nothing to go by", fold_in: "worked out from this history just now", model: "as learned in training" };
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

const drawList = (list, n, others, both) => {
  if (list.failed) return make("div", {}, make("h3", {}, list.model.name), make("p", { class: "wrong" }, list.failed));
  const top = Math.max(...list.items.map(({ score }) => score ?? 0), 0), title = `list-${n}`;
  const rows = list.items.map(({ item, score }, place) => {
    const why = make("button", { type: "button", class: "icon", "aria-expanded": "false", "aria-label": `Why ${nameOf(item)}?` }, "Why?");
    const row = make("li", { "data-key": calls.keyOf(item) },
      make("span", { class: "rank" }, String(place + 1)),
      itemButton(item, (id) => openItem(id, list.model_asked), `Score ${score}`),
      make("span", { class: "side" }, others && !others.has(calls.keyOf(item)) ? make("span", { class: "only" }, "only here") : null, why),
      make("span", { class: "bar", title: `Score ${score}` }, make("i")));
    row.lastChild.firstChild.style.setProperty("--share", top > 0 ? Math.max(0, score / top) : 0);
    explainOn(row, why, item, list.model_asked);
    return row;
  });
  const told = [`${ms(list.took_ms)} in the server, ${ms(list.total)} in all`, SOURCES[list.source] ?? list.source];
  if (both !== null) told.push(`${both} of ${list.items.length} in both lists`);
  if (list.unknown_items?.length) told.push(`${count(list.unknown_items.length, "item")} of the history not known to the model`);
  return make("div", { role: "region", "aria-labelledby": title },
    make("div", { class: "list-head" },
      make("h3", { id: title }, list.model.name, " ", make("span", { class: "pale" }, `version ${list.model.version}`)),
      make("p", { class: "pale" }, `${told.join(" · ")}.`)),
    rows.length ? make("ol", { class: "items", "aria-label": `Recommended by ${list.model.name}` }, ...rows)
      : make("p", {}, filters.read() ? "No item is left by this filter." : "There is nothing to recommend."));
};

/* Why */
const reasons = async (item, model, signal) => {
  const { score, because } = await calls.explain({ ...asked(), item, k: 5, ...(model ? { model } : {}) }, signal);
  await learn(because.map((one) => one.item));
  const told = because.reduce((sum, { contribution }) => sum + Math.abs(contribution), 0);
  return because.map((one) => ({ ...one, share: one.contribution / (Math.max(told, score) || 1) }));
};

const lines = (because) => because.map(({ item, share }) => [nameOf(item), `${share < 0 ? "−" : ""}${Math.round(100 * Math.abs(share))} %`]);

const highlight = (because) => {
  const keys = new Set(because.map(({ item }) => calls.keyOf(item)));
  for (const row of $("#history").children) row.classList.toggle("because", keys.has(row.dataset.key));
};

const NO_REASON = "Nothing in this history speaks for it.";

const explainOn = (row, button, item, model) => {
  let found = null, running_ = null;
  const get = () => (found ??= reasons(item, model, (running_ = new AbortController()).signal).catch((error) => { found = null; throw error; }));
  const tell = later(200, async () => {
    if (!row.matches(":hover") || button.ariaExpanded === "true") return;
    let because, text;
    try {
      because = await get();
      text = because.length ? ["Because of", ...lines(because).map(([name, share]) => `${share}  ${name}`)].join("\n") : NO_REASON;
    } catch (error) {
      if (error.name === "AbortError") return;
      [because, text] = [[], error.message];
    }
    if (!row.matches(":hover") || button.ariaExpanded === "true") return;
    showTip(text, row);
    highlight(because);
  });
  const leave = () => { hideTip(); if (button.ariaExpanded !== "true") highlight([]); if (running_ && !found) running_.abort(); };
  row.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") tell(); });
  row.addEventListener("pointerleave", leave);
  button.addEventListener("click", async () => {
    hideTip();
    row.querySelector(".why")?.remove();
    const open = button.ariaExpanded !== "true";
    button.ariaExpanded = String(open);
    if (!open) return highlight([]);
    const box = make("div", { class: "why", role: "status" });
    row.append(box);
    try {
      const because = await get();
      highlight(because);
      if (because.length) box.append(make("p", {}, "Because of"), make("ul", {}, ...lines(because).map(([name, share]) => make("li", {}, make("span", {}, name), make("span", { class: "share" }, share)))));
      else box.append(make("p", {}, NO_REASON));
    } catch (error) {
      box.append(make("p", {}, error.message));
    }
    return undefined;
  });
};

/* One item, and what is similar */
const openItem = async (id, model = $("#first").value) => {
  hideTip();
  const dialog = $("#details"), body = $("#details-body");
  $("#details-title").textContent = nameOf(id);
  const list = make("ol", { class: "items", "aria-label": `Similar to ${nameOf(id)}`, "aria-busy": "true" });
  const had = state.added.concat(state.past).some(({ item }) => calls.keyOf(item) === calls.keyOf(id));
  body.replaceChildren(factsOf(id),
    had ? make("p", { class: "pale" }, "In the history.")
      : make("button", { type: "button", class: "strong", onclick: () => { dialog.close(); add(id); } }, "Add to the history"),
    make("h3", {}, "Similar"), list);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  $("#details-title").focus();
  const mine = () => list.isConnected;
  try {
    const { items } = await calls.similar(id, 10, filters.read(), model);
    await learn(items.map(({ item }) => item));
    if (!mine()) return;
    list.append(...items.map(({ item }, n) => make("li", {}, make("span", { class: "rank" }, String(n + 1)), itemButton(item, (other) => openItem(other, model)))));
    if (!items.length) list.replaceWith(make("p", {}, "Nothing."));
  } catch (error) {
    if (mine()) list.replaceWith(make("p", { class: "wrong" }, error.message));
  }
  list.setAttribute("aria-busy", "false");
};

/* Beginning */
const drawAbout = () => {
  const [first] = about.models;
  $("#about").textContent = about.models.map((one) => `${one.name}: ${one.class}, ${count(one.n_users, "user")}, ${count(one.n_items, "item")}`).join(" · ");
  document.title = `${first?.name ?? "Recommendations"} · Recommendations`;
  const names = about.models.map((one) => one.name);
  $("#first").append(...names.map((name) => make("option", { value: name }, name)));
  $("#second").append(make("option", { value: "" }, "nothing"), ...names.map((name) => make("option", { value: name }, name)), make("option", { value: "previous" }, "the previous version"));
  $("#k").max = Math.min(50, about.limits.k ?? 50);
};

const tellK = () => { $("#k-shown").textContent = $("#k").value; };

const start = async () => {
  try {
    about = { limits: {}, columns: [], ...(await calls.about()) };
  } catch (error) {
    return wrong(error);
  }
  describeBy(about);
  drawAbout();
  filters = filterControls(about.columns, [about.name_column, about.image_column], refreshSoon);
  suggest($("#user"), { find: async (text, signal) => (await calls.users(text, signal)).users, tell: String, choose, nothing: "Nobody of this id.", wrong });
  suggest($("#add"), {
    find: async (text, signal) => {
      if (!text) return [];
      const { items } = await calls.search(text, signal);
      await learn(items.map(({ item }) => item));
      return items;
    },
    tell: ({ item, name }) => make("span", {}, make("span", { class: "name" }, name || String(item)), make("span", { class: "pale" }, Object.values(attributesOf(item)).filter((one) => typeof one === "string" && one !== name && one.length < 30).slice(0, 2).join(" · "))),
    choose: ({ item }) => add(item), nothing: named() ? "Type the beginning of a name." : "Type an id.", wrong,
  });
  $("#options").addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
  for (const selector of ["#first", "#second", "#repeats"]) $(selector).addEventListener("change", refresh);
  $("#k").addEventListener("input", () => { tellK(); refreshSoon(); });
  $("#all-history").addEventListener("click", () => { state.all = true; drawHistory(); });
  $("#clear").addEventListener("click", () => { Object.assign(state, { user: null, past: [], added: [] }); $("#user").value = ""; changedPerson(); $("#user").focus(); });
  $("#copy").addEventListener("click", () => {
    const seen = new Set(state.added.map(({ item }) => calls.keyOf(item)));
    const past = state.past.filter(({ item }) => !seen.has(calls.keyOf(item))).slice(0, about.limits.history ?? 1000);
    Object.assign(state, { user: null, added: [...state.added, ...past.map(({ item, weight }) => ({ item, weight: weight ?? undefined }))], past: [] });
    $("#user").value = "";
    changedPerson();
    $("#add").focus();
  });
  $("#details").addEventListener("click", (event) => { if (event.target === $("#details")) $("#details").close(); });
  document.addEventListener("scroll", hideTip, { passive: true });
  await recall();
  tellK();
  return undefined;
};

start();
