// Charts and tables answer to those who point at them: by mouse, finger or keyboard. Only text is ever put on the page.
(() => {
  if (window.cofactorCharts) return;
  window.cofactorCharts = true;
  const box = document.createElement("div");
  box.className = "chart-tip";
  box.setAttribute("role", "status");
  box.hidden = true;
  document.body.append(box);
  let spot = null, place = null; // place tells again, where the page has come to, what the keyboard asked for

  const hide = () => {
    box.hidden = true;
    place = null;
    spot?.setAttribute("visibility", "hidden");
    spot = null;
  };

  const show = (text, x, y) => {
    box.textContent = text;
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const left = Math.min(Math.max(4, x - width / 2), document.documentElement.clientWidth - width - 4);
    const top = y - height - 12 < 4 ? y + 16 : y - height - 12;
    box.style.transform = `translate(${left}px, ${top}px)`;
  };

  const shown = (plot) => {
    plot.points ??= JSON.parse(plot.dataset.tips);
    const off = plot.off ?? new Set();
    return plot.points.filter((point) => !off.has(point[3]));
  };

  const mark = (plot, [x, y, text]) => {
    hide();
    const at = new DOMPoint(x, y).matrixTransform(plot.getScreenCTM());
    spot = plot.querySelector(".chart-spot");
    spot.setAttribute("cx", x);
    spot.setAttribute("cy", y);
    spot.setAttribute("visibility", "visible");
    show(text, at.x, at.y);
  };

  const nearest = (plot, event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
    let best = null, least = Infinity;
    for (const point of shown(plot)) {
      const far = Math.hypot(point[0] - at.x, (point[1] - at.y) / 2); // along the x axis first, as lines are read
      if (far < least) [best, least] = [point, far];
    }
    return best;
  };

  const point = (event) => {
    const plot = event.target.closest?.(".chart-plot");
    const found = plot && nearest(plot, event);
    if (found) return mark(plot, found);
    const told = event.target.closest?.("[data-tip]");
    hide();
    if (told) show(told.dataset.tip, event.clientX, event.clientY);
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", () => (place ?? hide)(), { capture: true, passive: true });

  document.addEventListener("focusin", (event) => {
    const told = event.target.closest?.("[data-tip]");
    if (!told?.matches(":focus-visible")) return;
    place = () => {
      const { left, top } = told.getBoundingClientRect();
      show(told.dataset.tip, left + 60, top);
    };
    place();
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const plot = event.target.closest?.(".chart-plot");
    if (event.key === "Escape") hide();
    if (!step || !plot) return;
    const points = shown(plot);
    if (!points.length) return;
    event.preventDefault();
    plot.at = ((plot.at ?? (step > 0 ? -1 : 0)) + step + points.length) % points.length;
    const go = () => {
      mark(plot, points[plot.at]);
      place = go;
    };
    go();
  });

  const toggle = (button) => {
    const plot = button.closest(".chart").querySelector(".chart-plot");
    const number = Number(button.dataset.series), off = (plot.off ??= new Set());
    if (!off.delete(number)) off.add(number);
    button.setAttribute("aria-pressed", String(!off.has(number)));
    plot.querySelector(`g[data-series="${number}"]`).classList.toggle("off", off.has(number));
  };

  const number = (text) => {
    const found = text.replaceAll(",", "").replace("\u2212", "-").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/);
    return found ? Number(found[0]) : NaN;
  };

  const sort = (button) => {
    const head = button.closest("th"), body = button.closest("table").tBodies[0], at = head.cellIndex;
    const numeric = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric; // numbers: the highest first
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    const value = (row) => row.cells[at].textContent.trim();
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!numeric) return sign * x.localeCompare(y);
      const [p, q] = [number(x), number(y)];
      if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q); // what is no number comes last
      return sign * (p - q);
    };
    body.append(...[...body.rows].sort(compare));
  };

  document.addEventListener("click", (event) => {
    const legend = event.target.closest?.(".chart-legend button");
    if (legend) toggle(legend);
    const head = event.target.closest?.("th button");
    if (head) sort(head);
  });

  // A printed page shows what is folded on the screen.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    hide();
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
