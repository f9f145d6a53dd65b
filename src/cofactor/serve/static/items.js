// Items as rows of lists: what is known of them, and how they are told.
import * as calls from "./calls.js";
import { make, picture, shown } from "./pieces.js";

const known = new Map();
let facts = { columns: [], name: null, image: null, most: 500 };

export const describeBy = ({ columns = [], name_column: name, image_column: image, limits = {} }) => {
  facts = { columns: columns.map((one) => one.name), name, image, most: Math.min(500, limits.ids ?? 500) };
};

/** Ask for what is known of items that were not asked for yet. */
export const learn = async (ids) => {
  if (!facts.columns.length) return;
  const missing = [...new Map(ids.filter((id) => !known.has(calls.keyOf(id))).map((id) => [calls.keyOf(id), id])).values()];
  for (let at = 0; at < missing.length; at += facts.most) {
    const part = missing.slice(at, at + facts.most);
    const { items } = await calls.items(part);
    for (const id of part) known.set(calls.keyOf(id), {});
    for (const one of items) known.set(calls.keyOf(one.item), one.attributes ?? {});
  }
};

export const attributesOf = (id) => known.get(calls.keyOf(id)) ?? {};
export const nameOf = (id) => shown(attributesOf(id)[facts.name]) || String(id);
export const pictureOf = (id) => (facts.image ? picture(attributesOf(id)[facts.image]) : null);
export const named = () => Boolean(facts.name);

/** The attributes that stand below a name: a few, those that say something. */
const more = (id) => {
  const has = attributesOf(id);
  const told = facts.columns.filter((one) => one !== facts.name && one !== facts.image).map((one) => [one, shown(has[one])]);
  const texts = told.filter(([, text]) => text && text.length <= 60).slice(0, 3);
  return texts.map(([one, text]) => (typeof has[one] === "string" || Array.isArray(has[one]) ? text : `${one} ${text}`)).join(" · ");
};

/** The button with picture, name and attributes of an item. */
export const itemButton = (id, choose, label) => make("button", { type: "button", class: "item", onclick: () => choose(id), "aria-haspopup": "dialog", "aria-description": label },
  pictureOf(id),
  make("span", { class: "text" }, make("span", { class: "name" }, nameOf(id)), make("span", { class: "more" }, more(id) || (facts.name && nameOf(id) !== String(id) ? String(id) : ""))));

/** All that is known of an item, as a list of terms. */
export const factsOf = (id) => {
  const list = make("dl", { class: "facts" }), image = pictureOf(id);
  if (image) list.append(image);
  const rows = [["id", String(id)], ...Object.entries(attributesOf(id)).filter(([one]) => one !== facts.name && one !== facts.image)];
  list.append(...rows.filter(([, value]) => shown(value)).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, shown(value)))));
  return list;
};
