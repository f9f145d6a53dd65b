// Controls for the columns of the table of items, and the filter that they make together.
import { make, shown } from "./pieces.js";

const WORDS = new Set(["and", "or", "not", "in", "null"]);
const plain = (text) => /^[^\s=<>!(),'"`]+$/.test(text) && !WORDS.has(text.toLowerCase());
const column = (name) => (plain(name) ? name : `\`${name.replaceAll("`", "``")}\``);
const value = (text) => (plain(text) ? text : `'${text.replaceAll("'", "''")}'`);

const choice = (one, values, changed) => {
  const select = make("select", { id: `filter-${one.name}`, onchange: changed }, make("option", { value: "" }, "any"));
  select.append(...values.map((text) => make("option", { value: text }, text)));
  return [select, () => (select.selectedIndex ? `${column(one.name)} = ${value(select.value)}` : ""), (part) => {
    const at = values.findIndex((text) => part === `${column(one.name)} = ${value(text)}`);
    select.selectedIndex = at + 1;
    return at >= 0;
  }];
};

/** A slider over the quantiles of a column, each as far from the next; the last place is no filter. */
const slider = (one, label, changed) => {
  const steps = one.quantiles, last = steps.length - 1;
  const input = make("input", { id: `filter-${one.name}`, type: "range", min: 0, max: last, step: 1, value: last });
  const most = () => (Number(input.value) === last ? null : steps[Number(input.value)]);
  const part = () => `${column(one.name)} <= ${most()}`;
  const tell = () => {
    const text = most() === null ? "any" : `at most ${shown(most())}`;
    label.textContent = `${one.name}: ${text}`;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => { tell(); changed(); });
  tell();
  return [input, () => (most() === null ? "" : part()), (given) => {
    const at = steps.findIndex((step, n) => n < last && given === `${column(one.name)} <= ${step}`);
    input.value = at < 0 ? last : at;
    tell();
    return at >= 0;
  }];
};

/** Numbers that count nothing have no slider. */
const isId = (one) => /(^|_)id$/i.test(one.name);

/** A filter that these columns allow. */
const example = (columns) => {
  const listed = columns.find((one) => one.values?.length), ranged = columns.find((one) => one.quantiles && !isId(one));
  const parts = [
    ...(listed ? [`${column(listed.name)} in (${listed.values.slice(0, 2).map(value).join(", ")})`] : []),
    ...(ranged ? [`not ${column(ranged.name)} < ${ranged.quantiles[Math.floor(ranged.quantiles.length / 2)]}`] : []),
  ];
  return parts.length ? parts.join(" and ") : `${column(columns[0]?.name ?? "name")} != null`;
};

/** Put the controls up; gives read() and write(parts) of what they say, and the text in words besides. */
export const filterControls = (columns, skip, changed) => {
  const box = document.querySelector("#controls"), words = document.querySelector("#filter");
  const controls = [];
  for (const one of columns) {
    if (skip.includes(one.name)) continue;
    const label = make("label", { htmlFor: `filter-${one.name}` }, one.name);
    let made = null;
    if (one.values?.length > 1) made = choice(one, one.values, changed);
    else if (one.quantiles?.length > 1 && !isId(one)) made = slider(one, label, changed);
    if (!made) continue;
    box.append(make("div", { class: "field" }, label, made[0]));
    controls.push(made);
  }
  words.addEventListener("input", changed);
  const usable = columns.filter((one) => one.operators.length).map((one) => column(one.name));
  document.querySelector("#filter-help").textContent = `Such as: ${example(columns)}. Columns: ${usable.join(", ")}.`;
  document.querySelector("#filters").hidden = !usable.length;
  return {
    read: () => {
      const parts = controls.map(([, read]) => read()).filter(Boolean), text = words.value.trim();
      if (text) parts.unshift(parts.length ? `(${text})` : text);
      document.querySelector("#n-filters").textContent = parts.length ? `: ${parts.join(" and ")}` : "";
      return parts.join(" and ");
    },
    state: () => ({ parts: controls.map(([, read]) => read()).filter(Boolean), words: words.value }),
    restore: ({ parts = [], words: text = "" }) => {
      const left = [...parts];
      for (const [, , write] of controls) {
        const at = left.findIndex((part) => write(part));
        if (at >= 0) left.splice(at, 1);
        else write("");
      }
      words.value = [...left, text].filter(Boolean).join(" and ");
    },
  };
};
