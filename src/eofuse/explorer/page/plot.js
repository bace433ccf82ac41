// A scatter plot on a canvas: map or embedding. Points are painted into pixels directly, which takes 100,000 in a few milliseconds.

const NEAR = 14;
const LEAST_STEP = 3;

/** Radius of a point in pixels of the screen, by the number of points. */
const radiusOf = (number) => (number > 40000 ? 1.4 : number > 12000 ? 1.9 : number > 3000 ? 2.6 : number > 600 ? 3.6 : 4.8);

/** A disc as shares of covered pixels. */
function disc(radius) {
  const reach = Math.ceil(radius), side = 2 * reach + 1, cover = [];
  for (let down = -reach; down <= reach; down++) {
    for (let across = -reach; across <= reach; across++) {
      const share = Math.min(Math.max(radius + 0.5 - Math.hypot(down, across), 0), 1);
      if (share > 0.02) cover.push([down, across, Math.round(share * 255)]);
    }
  }
  return { reach, side, cover };
}

/** An order of points in which none lies above another by its place in the store. */
function shuffled(number) {
  const order = new Uint32Array(number);
  let random = 1;
  for (let i = 0; i < number; i++) {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    const other = random % (i + 1);
    order[i] = order[other];
    order[other] = i;
  }
  return order;
}

const drawOrder = shuffled(count);

class Plot {
  constructor(root, told, options) {
    this.x = unpack(told.x);
    this.y = unpack(told.y);
    this.options = options;
    this.known = told.known;
    this.canvases = ["base", "points", "top"].map((name) => make("canvas", { className: name }));
    [this.base, this.points, this.top] = this.canvases;
    Object.assign(this.top, { tabIndex: 0 });
    this.top.setAttribute("role", "application");
    this.top.setAttribute("aria-roledescription", "scatter plot");
    this.top.setAttribute("aria-label", `${options.title}, ${counted(told.known, "patch", "patches")}. Arrow keys go from patch to patch, Enter opens one, plus and minus zoom, V selects what is in view, Escape clears.`);
    this.stage = make("div", { className: `stage ${options.isMap ? "of-map" : ""}` }, ...this.canvases);
    const button = (text, label, action) => {
      const made = make("button", { type: "button", title: label, ariaLabel: `${label}: ${options.title}` }, text);
      made.addEventListener("click", action);
      return made;
    };
    root.append(
      make("figure", {},
        make("div", { className: "plot-head" },
          make("strong", {}, options.title),
          make("div", {},
            button("Select view", "Select what is in view", () => this.pickView()),
            button("+", "Zoom in", () => this.zoom(1.5)), button("−", "Zoom out", () => this.zoom(1 / 1.5)),
            button("Fit", "Show all", () => this.fit()))),
        this.stage, make("figcaption", {}, options.caption)));
    if (options.isMap) this.prepareMap();
    this.path = null;
    this.fingers = new Map();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.resize();
    views.push((what) => {
      if (what.has("colour") || what.has("chosen") || what.has("columns")) this.drawPoints();
      if (what.has("focus") || what.has("theme")) this.drawTop();
      if (what.has("theme")) this.drawBase();
    });
  }

  prepareMap() {
    let low = Infinity, high = -Infinity;
    for (const value of this.y) if (value === value) { low = Math.min(low, value); high = Math.max(high, value); }
    this.stretch = Math.max(Math.cos((((low + high) / 2) * Math.PI) / 180), 0.2);
    for (let i = 0; i < count; i++) this.x[i] *= this.stretch;
    this.land = new Path2D();
    for (const ring of land.rings) {
      let across = 0, up = 0;
      for (let i = 0; i < ring.length; i += 2) {
        across += ring[i];
        up += ring[i + 1];
        this.land[i === 0 ? "moveTo" : "lineTo"]((across / 100) * this.stretch, up / 100);
      }
      this.land.closePath();
    }
  }

  resize() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!width || !height) return;
    const first = this.width === undefined;
    const middle = first ? null : [this.width, this.height];
    [this.width, this.height] = [width, height];
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of this.canvases) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    if (first || this.isFitted) this.fit();
    else if (middle !== null) this.draw();
  }

  /** Shows all points; lonely ones far off included. */
  fit() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < count; i++) {
      const x = this.x[i], y = this.y[i];
      if (x !== x || y !== y) continue;
      left = Math.min(left, x); right = Math.max(right, x); low = Math.min(low, y); high = Math.max(high, y);
    }
    const least = this.options.isMap ? 0.02 : 1e-6;
    const room = 0.9, across = Math.max(right - left, least), up = Math.max(high - low, least);
    this.scale = Math.min((this.width * room) / across, (this.height * room) / up);
    this.center = [(left + right) / 2, (low + high) / 2];
    this.draw();
    this.isFitted = true;
  }

  zoom(factor, at = [this.width / 2, this.height / 2]) {
    const [x, y] = this.dataAt(at);
    this.scale *= factor;
    this.center = [x - (at[0] - this.width / 2) / this.scale, y + (at[1] - this.height / 2) / this.scale];
    this.isFitted = false;
    this.draw();
  }

  move(across, down) {
    this.center = [this.center[0] - across / this.scale, this.center[1] + down / this.scale];
    this.isFitted = false;
    this.draw();
  }

  dataAt([left, top]) {
    return [this.center[0] + (left - this.width / 2) / this.scale, this.center[1] - (top - this.height / 2) / this.scale];
  }

  screenAt(patch) {
    return [
      this.width / 2 + (this.x[patch] - this.center[0]) * this.scale, this.height / 2 - (this.y[patch] - this.center[1]) * this.scale,
    ];
  }

  draw() {
    this.drawBase();
    this.drawPoints();
    this.drawTop();
  }

  drawBase() {
    if (!this.options.isMap || this.width === undefined) return;
    const pen = this.base.getContext("2d"), [x, y] = this.center, scale = this.scale * this.ratio;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.base.width, this.base.height);
    pen.setTransform(scale, 0, 0, -scale, this.base.width / 2 - x * scale, this.base.height / 2 + y * scale);
    pen.fillStyle = theme("land");
    pen.strokeStyle = theme("coast");
    pen.lineWidth = this.ratio / scale;
    pen.fill(this.land);
    pen.stroke(this.land);
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.drawGraticule(pen);
  }

  drawGraticule(pen) {
    const steps = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
    const stepAt = (scale) => steps.find((each) => each * scale < 130) ?? 0.001;
    const digits = (step) => Math.max(0, Math.ceil(-Math.log10(step)));
    const [along, up] = [stepAt(this.scale * this.stretch), stepAt(this.scale)];
    const [left, high] = this.dataAt([0, 0]), [right, low] = this.dataAt([this.width, this.height]);
    const write = (value, step, plus, minus) => {
      const rounded = Number(value.toFixed(digits(step)));
      return `${Math.abs(rounded)}° ${rounded === 0 ? "" : rounded > 0 ? plus : minus}`.trim();
    };
    pen.strokeStyle = theme("rule");
    pen.fillStyle = theme("quiet");
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    const from = Math.max(left / this.stretch, -180), to = Math.min(right / this.stretch, 180);
    for (let lon = Math.ceil(from / along) * along; lon <= to; lon += along) {
      const at = this.width / 2 + (lon * this.stretch - this.center[0]) * this.scale;
      pen.beginPath(); pen.moveTo(at, 0); pen.lineTo(at, this.height); pen.stroke();
      pen.fillText(write(lon, along, "E", "W"), at + 3, this.height - 4);
    }
    const south = Math.max(low, -90), north = Math.min(high, 90);
    for (let lat = Math.ceil(south / up) * up; lat <= north; lat += up) {
      const at = this.height / 2 - (lat - this.center[1]) * this.scale;
      pen.beginPath(); pen.moveTo(0, at); pen.lineTo(this.width, at); pen.stroke();
      if (at > 12) pen.fillText(write(lat, up, "N", "S"), 3, at - 3);
    }
  }

  drawPoints() {
    if (this.width === undefined) return;
    const { width, height } = this.points, pen = this.points.getContext("2d");
    const picture = pen.createImageData(width, height), words = new Uint32Array(picture.data.buffer);
    const colours = pointColours();
    const some = state.chosenCount < count;
    const dim = wordOf(channels(theme("dim"))), nothing = wordOf(channels(theme("none")));
    const radius = radiusOf(this.known) * this.ratio;
    const small = disc(some ? radius * 0.75 : radius), large = disc(radius);
    const scale = this.scale * this.ratio, [x, y] = this.center;
    const paint = (i, word, { reach, cover }) => {
      const left = Math.round(width / 2 + (this.x[i] - x) * scale), top = Math.round(height / 2 - (this.y[i] - y) * scale);
      if (!(left >= reach && top >= reach && left < width - reach && top < height - reach)) return;
      const start = top * width + left;
      for (let k = 0; k < cover.length; k++) {
        const [down, across, share] = cover[k], at = start + down * width + across;
        if (share === 255) { words[at] = word; continue; }
        const before = words[at], old = before >>> 24;
        if (old === 0) { words[at] = ((word & 0xffffff) | (share << 24)) >>> 0; continue; }
        const keep = 255 - share;
        const red = ((word & 255) * share + (before & 255) * keep) >> 8;
        const green = (((word >> 8) & 255) * share + ((before >> 8) & 255) * keep) >> 8;
        const blue = (((word >> 16) & 255) * share + ((before >> 16) & 255) * keep) >> 8;
        words[at] = ((Math.max(old, share) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
      }
    };
    if (some) for (let k = 0; k < count; k++) if (!state.chosen[drawOrder[k]]) paint(drawOrder[k], dim, small);
    for (let k = 0; k < count; k++) {
      const i = drawOrder[k];
      if (state.chosen[i] && colours[i] === 0) paint(i, nothing, large);
    }
    for (let k = 0; k < count; k++) {
      const i = drawOrder[k];
      if (state.chosen[i] && colours[i] !== 0) paint(i, colours[i], large);
    }
    pen.putImageData(picture, 0, 0);
  }

  drawTop() {
    if (this.width === undefined) return;
    const pen = this.top.getContext("2d");
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.strokeStyle = theme("ink");
    if (this.path !== null && this.path.length > 1) {
      pen.beginPath();
      this.path.forEach(([left, top], i) => pen[i === 0 ? "moveTo" : "lineTo"](left, top));
      pen.closePath();
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 3]);
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 0.12;
      pen.fillStyle = theme("accent");
      pen.fill();
      pen.globalAlpha = 1;
    }
    if (state.focus >= 0 && Number.isFinite(this.x[state.focus])) {
      const [left, top] = this.screenAt(state.focus);
      for (const [colour, line] of [[theme("paper"), 4.5], [theme("ink"), 2]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = line;
        pen.beginPath();
        pen.arc(left, top, radiusOf(this.known) + 5, 0, 7);
        pen.stroke();
      }
    }
  }

  /** The chosen patch nearest to a place on the screen, −1 if none is near. */
  nearest([left, top], reach = NEAR) {
    let found = -1, least = reach * reach;
    const [x, y] = this.dataAt([left, top]), scale = this.scale;
    for (let i = 0; i < count; i++) {
      if (!state.chosen[i]) continue;
      const across = (this.x[i] - x) * scale, up = (this.y[i] - y) * scale, far = across * across + up * up;
      if (far < least) { least = far; found = i; }
    }
    return found;
  }

  /** Picks the patches within a closed path on the screen. */
  pickWithin(path, how) {
    const corners = path.map((place) => this.dataAt(place)), mask = new Uint8Array(count), number = corners.length;
    const xs = corners.map((each) => each[0]), ys = corners.map((each) => each[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let i = 0; i < count; i++) {
      const x = this.x[i], y = this.y[i];
      if (!state.passing[i] || !(x >= left && x <= right && y >= low && y <= high)) continue;
      let inside = 0;
      for (let a = 0, b = number - 1; a < number; b = a++) {
        if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) inside ^= 1;
      }
      mask[i] = inside;
    }
    pick(mask, how);
  }

  pickView() {
    const { width, height } = this;
    this.pickWithin([[0, 0], [width, 0], [width, height], [0, height]], "replace");
  }

  placeOf(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  listen() {
    const canvas = this.top;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => { this.fingers.clear(); this.path = null; this.drawTop(); });
    canvas.addEventListener("pointerleave", () => hideTip());
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), this.placeOf(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    views.push((what) => {
      if (what.has("tool")) canvas.classList.toggle("moving", state.tool === "move");
    });
  }

  press(event) {
    if (event.button > 0) return;
    this.top.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.placeOf(event));
    this.start = this.last = this.placeOf(event);
    this.path = this.fingers.size === 1 && state.tool !== "move" ? [this.start] : null;
    hideTip();
  }

  drag(event) {
    const place = this.placeOf(event);
    if (!this.fingers.has(event.pointerId)) {
      const patch = this.nearest(place);
      if (patch >= 0) showTip(patch, event.clientX, event.clientY);
      else hideTip();
      return;
    }
    if (this.fingers.size === 2) {
      const spread = () => { const [a, b] = [...this.fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
      const before = spread();
      this.fingers.set(event.pointerId, place);
      const [a, b] = [...this.fingers.values()];
      this.path = null;
      this.start = null;
      if (before > 0) this.zoom(spread() / before, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
      return;
    }
    this.fingers.set(event.pointerId, place);
    if (state.tool === "move") this.move(place[0] - this.last[0], place[1] - this.last[1]);
    else if (this.path !== null && state.tool === "box") {
      const [left, top] = this.start;
      this.path = [[left, top], [place[0], top], place, [left, place[1]]];
    } else if (this.path !== null) {
      const end = this.path[this.path.length - 1];
      if (Math.hypot(place[0] - end[0], place[1] - end[1]) >= LEAST_STEP) this.path.push(place);
    }
    this.last = place;
    this.drawTop();
  }

  release(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    const path = this.path, place = this.placeOf(event), start = this.start;
    this.path = null;
    if (start !== null && Math.hypot(place[0] - start[0], place[1] - start[1]) < 4 && (path === null || path.length < 4)) {
      const patch = this.nearest(place);
      if (patch >= 0) openPatch(patch);
    } else if (path !== null && path.length > 2) {
      this.pickWithin(path, event.shiftKey ? "add" : event.altKey || event.ctrlKey ? "remove" : "replace");
    }
    this.drawTop();
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key in ways && !event.ctrlKey && !event.metaKey && !event.altKey) this.step(ways[event.key]);
    else if (event.key === "Enter" && state.focus >= 0) openPatch(state.focus);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key === "v" || event.key === "V") this.pickView();
    else if (event.key === "Escape") pick(null);
    else return;
    event.preventDefault();
  }

  /** Goes to the chosen patch that lies next in a direction. */
  step([across, up]) {
    const from = state.focus >= 0 && Number.isFinite(this.x[state.focus]) ? state.focus : -1;
    let found = -1, least = Infinity;
    const [x, y] = from < 0 ? this.center : [this.x[from], this.y[from]];
    for (let i = 0; i < count; i++) {
      if (!state.chosen[i] || i === from) continue;
      const right = this.x[i] - x, above = this.y[i] - y, along = right * across + above * up;
      const aside = Math.abs(right * up) + Math.abs(above * across);
      if (from >= 0 && !(along > 0 && along >= aside * 0.5)) continue;
      const far = from < 0 ? right * right + above * above : along + 2 * aside;
      if (far < least) { least = far; found = i; }
    }
    if (found < 0) return;
    look(found);
    const [left, top] = this.screenAt(found);
    if (left < 0 || top < 0 || left > this.width || top > this.height) {
      this.center = [this.x[found], this.y[found]];
      this.isFitted = false;
      this.draw();
    }
    say(`${facts.ids[found]}. ${describe(found)}`);
  }
}

let colourCache = { key: null, words: null };

/** Colours of the points, computed once for both plots. */
function pointColours() {
  const column = columnNamed(state.colour), key = `${state.set} ${state.colour} ${dark.matches}`;
  if (colourCache.key !== key) colourCache = { key, words: coloursOf(column) };
  return colourCache.words;
}
