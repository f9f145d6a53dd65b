// Pieces of the page. Whatever comes from data is put there as text, never as HTML.

/** An element with properties and children; children that are no elements become text. */
export const make = (name, properties = {}, ...children) => {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "class") one.className = value;
    else if (key.startsWith("on")) one.addEventListener(key.slice(2), value);
    else if (key in one && !key.startsWith("aria")) one[key] = value;
    else one.setAttribute(key, value);
  }
  one.append(...children.filter((child) => child !== null && child !== undefined));
  return one;
};

/** A picture, where the address is one of the web; it goes where it cannot be loaded. */
export const picture = (address) => {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!["http:", "https:"].includes(url.protocol)) return null;
  const image = make("img", { alt: "", loading: "lazy", referrerPolicy: "no-referrer", src: url.href });
  image.addEventListener("error", () => image.remove());
  return image;
};

export const shown = (value) => {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(shown).filter(Boolean).join(", ");
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};

/** Call a function when nothing has come for a while. */
export const later = (wait, run) => {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), wait);
  };
};

/**
 * Suggestions below an input (the combobox of ARIA 1.2).
 *
 * find(text, signal) gives what there is; tell(one) its text; choose(one) is called with what was chosen.
 */
export const suggest = (input, { find, tell, choose, nothing, wrong }) => {
  const list = make("ul", { id: `${input.id}-found`, role: "listbox", tabIndex: -1, hidden: true, "aria-label": "Suggestions" });
  input.after(list);
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", list.id]])
    input.setAttribute(name, value);
  let found = [], at = -1, running = null;

  const close = () => {
    running?.abort();
    list.hidden = true;
    found = [];
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (place) => {
    at = place;
    [...list.children].forEach((one, n) => one.setAttribute("aria-selected", String(n === at)));
    list.children[at]?.scrollIntoView({ block: "nearest" });
    if (at < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const take = (place) => {
    const one = found[place];
    close();
    choose(one);
  };
  const look = async () => {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    try {
      found = await find(input.value.trim(), signal);
    } catch (error) {
      if (error.name !== "AbortError") wrong(error);
      return;
    }
    if (signal.aborted || document.activeElement !== input) return;
    list.replaceChildren(...found.map((one, n) => make("li", {
      id: `${input.id}-${n}`, role: "option", "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); take(n); },
    }, tell(one))));
    if (!found.length) list.append(make("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, nothing));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(found.length && input.value.trim() ? 0 : -1);
  };
  const soon = later(120, look);

  input.addEventListener("input", soon);
  input.addEventListener("focus", look);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", async (event) => {
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return look();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (found.length) mark((at + step + found.length) % found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (list.hidden || at < 0) await look();
      if (found.length && at >= 0) take(at);
    }
    return undefined;
  });
};

const tip = document.querySelector("#tip");

export const hideTip = () => { tip.hidden = true; };

/** Show a text beside an element, inside of the window. */
export const showTip = (text, beside) => {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect(), box = beside.getBoundingClientRect();
  const left = Math.min(Math.max(4, box.left + 24), document.documentElement.clientWidth - width - 4);
  const top = box.bottom + height + 8 < window.innerHeight ? box.bottom + 4 : Math.max(4, box.top - height - 4);
  tip.style.transform = `translate(${left}px, ${top}px)`;
};
