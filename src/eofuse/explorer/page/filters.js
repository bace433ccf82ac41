// Filters: a facet a column, with counts of all patches and of the chosen ones.

const BINS = 40;
const FEW_NAMES = 12;

class Facet {
  constructor(column) {
    this.column = column;
    this.all = false;
    this.box = make("details", { className: "facet" }, make("summary", {}, ...breakable(column.name)));
    this.body = make("div");
    this.box.append(this.body);
    this.box.addEventListener("toggle", () => { if (this.box.open) this.fill(); });
  }

  get filter() {
    return state.filters.get(this.column.name) ?? null;
  }

  refresh() {
    this.box.classList.toggle("active", this.filter !== null);
    if (this.box.open) this.fill();
  }

  fill() {
    if (this.column.isNumber) this.fillNumbers();
    else this.fillNames();
  }

  fillNames() {
    const { column } = this, { all, chosen } = countsOf(column);
    const codes = [...column.names.keys(), -1].filter((code) => all.at(code) > 0);
    if (column.colours.length === 0) codes.sort((a, b) => all.at(b) - all.at(a));
    const shown = this.all ? codes : codes.slice(0, FEW_NAMES);
    if (this.list === undefined) {
      this.list = make("ul");
      this.lines = new Map();
      this.body.append(this.list);
    }
    for (const code of shown) {
      if (!this.lines.has(code)) this.lines.set(code, this.line(code));
      const { box, number, bar } = this.lines.get(code);
      box.checked = this.filter?.has(code) ?? false;
      number.textContent = `${whole(chosen.at(code))} of ${whole(all.at(code))}`;
      bar.style.width = `${(100 * chosen.at(code)) / all.at(code)}%`;
    }
    if (codes.length > shown.length && this.button === undefined) {
      this.button = make("button", { type: "button" }, `All ${whole(codes.length)}`);
      this.button.addEventListener("click", () => {
        this.all = true;
        this.button.remove();
        this.fill();
      });
      this.body.append(this.button);
    }
  }

  line(code) {
    const { column } = this, name = code < 0 ? (column.isPrediction ? "no prediction" : "not known") : column.names[code];
    const box = make("input", { type: "checkbox" }), number = make("span", { className: "n" }), bar = make("span");
    const said = make("span", { className: "name" });
    if (code >= 0 && (column.colours.length > 0 || column.name === state.colour)) {
      const chip = make("span", { className: "chip" });
      chip.style.background = css(codeColour(column, code));
      said.append(chip);
    }
    said.append(name);
    this.list.append(make("li", {}, make("label", {}, box, said, number, make("span", { className: "share" }, bar))));
    box.addEventListener("change", () => {
      const filter = new Set(this.filter ?? []);
      if (box.checked) filter.add(code);
      else filter.delete(code);
      setFilter(column, filter.size ? filter : null);
    });
    return { box, number, bar };
  }

  fillNumbers() {
    const { column } = this, { least, most, known } = endsOf(column), isDate = column.sort === "date";
    if (this.canvas === undefined) {
      this.canvas = make("canvas");
      this.canvas.setAttribute("role", "img");
      const write = isDate ? dateText : numberText;
      const input = (name) => {
        const made = make("input", { type: isDate ? "date" : "number", step: "any" });
        made.addEventListener("change", () => this.typed());
        return [made, make("label", {}, name, made)];
      };
      const [[from, fromLabel], [to, toLabel]] = [input("from"), input("to")];
      this.inputs = [from, to];
      const clear = make("button", { type: "button" }, "All");
      clear.addEventListener("click", () => setFilter(column, null));
      const unit = column.unit ? ` ${column.unit}` : "";
      this.body.append(
        this.canvas, make("div", { className: "ends" }, make("span", {}, write(least)), make("span", {}, `${write(most)}${unit}`)),
        make("div", { className: "range" }, fromLabel, toLabel, clear));
      this.listen();
    }
    const filter = this.filter, show = (value) => (isDate ? dateText(value) : String(Number(value.toPrecision(6))));
    this.inputs[0].value = filter && filter.low > -Infinity ? show(filter.low) : "";
    this.inputs[1].value = filter && filter.high < Infinity ? show(filter.high) : "";
    this.canvas.setAttribute("aria-label", `Histogram of ${column.name}, ${counted(known, "patch", "patches")}, ${whole(state.chosenCount)} selected`);
    this.drawBars(least, most, filter);
  }

  drawBars(least, most, filter) {
    const all = new Uint32Array(BINS), chosen = new Uint32Array(BINS), { values } = this.column, span = most - least || 1;
    for (let i = 0; i < count; i++) {
      const bin = Math.min(Math.floor(((values[i] - least) / span) * BINS), BINS - 1);
      if (bin === bin) { all[bin] += 1; chosen[bin] += state.chosen[i]; }
    }
    const { width, height } = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const pen = this.canvas.getContext("2d"), tallest = Math.max(...all), side = width / BINS;
    pen.scale(ratio, ratio);
    for (const [counts, colour] of [[all, theme("bar")], [chosen, theme("accent")]]) {
      pen.fillStyle = colour;
      counts.forEach((number, i) => {
        const tall = number ? Math.max((number / tallest) * (height - 2), 1.5) : 0;
        pen.fillRect(i * side + 0.5, height - tall, Math.max(side - 1, 1), tall);
      });
    }
    if (filter === null) return;
    const at = (value) => (Math.min(Math.max((value - least) / span, 0), 1)) * width;
    pen.strokeStyle = theme("ink");
    pen.lineWidth = 1.5;
    for (const value of [filter.low, filter.high]) {
      pen.beginPath(); pen.moveTo(at(value), 0); pen.lineTo(at(value), height); pen.stroke();
    }
  }

  listen() {
    const { canvas, column } = this;
    const valueAt = (event) => {
      const { left, width } = canvas.getBoundingClientRect(), { least, most } = endsOf(column);
      return least + Math.min(Math.max((event.clientX - left) / width, 0), 1) * (most - least);
    };
    let start = null, x = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      [start, x] = [valueAt(event), event.clientX];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (start === null || Math.abs(event.clientX - x) < 3) return;
      const value = valueAt(event);
      setFilter(column, { low: Math.min(start, value), high: Math.max(start, value) });
    });
    canvas.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(event.clientX - x) < 3) setFilter(column, null);
      start = null;
    });
  }

  typed() {
    const isDate = this.column.sort === "date";
    const [low, high] = this.inputs.map((input) => (input.value === "" ? NaN : isDate ? Date.parse(input.value) / 864e5 : Number(input.value)));
    const none = Number.isNaN(low) && Number.isNaN(high);
    const filter = { low: Number.isNaN(low) ? -Infinity : low, high: Number.isNaN(high) ? Infinity : isDate ? high + 1 : high };
    setFilter(this.column, none ? null : filter);
  }
}

let facets = [];
const OPEN = ["right or wrong", "error", "confidence", "part in the run", "dominant land cover"];

/** Whether a facet is open at first. */
const isWanted = (name) => OPEN.includes(name) || name === facts.colour || (name === "split" && columnNamed("part in the run") === null);

function makeFacets() {
  const place = byId("facets"), open = new Set(facets.filter((facet) => facet.box.open).map((facet) => facet.column.name));
  const first = facets.length === 0;
  place.replaceChildren();
  facets = state.columns.map((column) => new Facet(column));
  const groups = new Map();
  for (const facet of facets) {
    if (!groups.has(facet.column.group)) groups.set(facet.column.group, []);
    groups.get(facet.column.group).push(facet);
  }
  for (const [group, own] of groups) place.append(make("h3", {}, group), ...own.map((facet) => facet.box));
  const wide = matchMedia("(min-width: 801px)").matches;
  if (first) byId("filters").open = wide;
  for (const facet of facets) facet.box.open = first ? wide && isWanted(facet.column.name) : open.has(facet.column.name);
  facets.forEach((facet) => facet.refresh());
}

views.push((what) => {
  if (what.has("columns")) makeFacets();
  else if (what.has("chosen") || what.has("theme")) facets.forEach((facet) => facet.refresh());
});
