// A colour for each patch, by the values of a column, and what the colours mean.

const PALETTE = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c2d04", "#780069", "#00c878", "#b4873c", "#4b00b4", "#ff1e69",
  "#6969ff", "#1e5a3c", "#96d2a5", "#f0e442", "#873c69", "#96f069", "#3c2d96", "#e11ec3",
];
const RAMP = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const STEPS = 64;

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function channels(hex) {
  const text = /^#[0-9a-f]{6}$/i.test(hex) ? hex : "#888888";
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

/** A colour as a number whose bytes in memory are red, green, blue, opaque. */
const wordOf = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** A colour that can be seen on the page's ground. */
function seen(hex) {
  const [red, green, blue] = channels(hex);
  const light = (0.3 * red + 0.59 * green + 0.11 * blue) / 255;
  const mixed = (other, share) => [red, green, blue].map((value) => Math.round(value + (other - value) * share));
  if (dark.matches && light < 0.28) return mixed(255, 0.45 - light);
  if (!dark.matches && light > 0.86) return mixed(90, (light - 0.86) * 3);
  return [red, green, blue];
}

const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

function rampAt(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2);
  const [a, b] = [channels(RAMP[low]), channels(RAMP[low + 1])];
  return a.map((value, i) => Math.round(value + (b[i] - value) * (place - low)));
}

const codeColour = (column, code) => seen(column.colours?.[code] || PALETTE[code % PALETTE.length]);

/** The ends of most numbers: 2nd and 98th percentile, or all if that leaves nothing. */
function endsOf(column) {
  if (column.ends2) return column.ends2;
  const known = column.values.filter((value) => Number.isFinite(value)).sort();
  const at = (share) => known[Math.min(known.length - 1, Math.max(0, Math.round(share * (known.length - 1))))];
  let [low, high] = [at(0.02), at(0.98)];
  if (!(low < high)) [low, high] = [known[0], known[known.length - 1]];
  column.ends2 = { low, high, least: known[0], most: known[known.length - 1], known: known.length };
  return column.ends2;
}

/** Colours of all patches as words for a picture; 0 where a patch has no value. */
function coloursOf(column) {
  const words = new Uint32Array(count);
  if (column === null) return words.fill(wordOf(channels(theme("accent"))));
  const values = column.values;
  if (column.isNumber) {
    const { low, high } = endsOf(column), span = high - low || 1;
    const steps = Array.from({ length: STEPS }, (_, i) => wordOf(rampAt(i / (STEPS - 1))));
    for (let i = 0; i < count; i++) {
      const share = (values[i] - low) / span;
      if (share === share) words[i] = steps[Math.round(Math.min(Math.max(share, 0), 1) * (STEPS - 1))];
    }
    return words;
  }
  const known = column.names.map((_, code) => wordOf(codeColour(column, code)));
  for (let i = 0; i < count; i++) {
    const code = column.isList ? column.codes(i)[0] ?? -1 : values[i];
    if (code >= 0) words[i] = known[code];
  }
  return words;
}

/** How many patches have each code, and how many of these are chosen. */
function countsOf(column) {
  const all = new Uint32Array(column.names.length + 1), chosen = new Uint32Array(column.names.length + 1);
  const values = column.values, last = column.names.length;
  const add = (code, i) => {
    const at = code < 0 ? last : code;
    all[at] += 1;
    chosen[at] += state.chosen[i];
  };
  for (let i = 0; i < count; i++) {
    if (!column.isList) add(values[i], i);
    else if (!column.has[i]) add(-1, i);
    else column.codes(i).forEach((code) => add(code, i));
  }
  return { all, chosen };
}

const MOST_CHIPS = 24;

function drawLegend() {
  const place = byId("legend"), column = columnNamed(state.colour);
  place.replaceChildren();
  if (column === null) return;
  place.append(make("strong", {}, column.name));
  if (column.isNumber) {
    const { low, high, least, most } = endsOf(column);
    const write = column.sort === "date" ? dateText : numberText;
    const ramp = make("span", { className: "ramp", role: "img", ariaLabel: "colour scale" });
    ramp.style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
    const unit = column.unit ? ` ${column.unit}` : "";
    place.append(
      make("span", {}, `${least < low ? "≤ " : ""}${write(low)}`), ramp, make("span", {}, `${most > high ? "≥ " : ""}${write(high)}${unit}`),
    );
  } else {
    const { all } = countsOf(column);
    const codes = [...column.names.keys()].filter((code) => all[code] > 0).sort((a, b) => all[b] - all[a]);
    for (const code of codes.slice(0, MOST_CHIPS)) {
      const chip = make("span", { className: "chip" });
      chip.style.background = css(codeColour(column, code));
      place.append(make("span", {}, chip, `${column.names[code]} (${whole(all[code])})`));
    }
    if (codes.length > MOST_CHIPS) place.append(make("span", {}, `and ${whole(codes.length - MOST_CHIPS)} more; colours repeat`));
    if (column.isList) place.append(make("span", { className: "note" }, "the first label of each patch"));
  }
  let without = 0;
  for (let i = 0; i < count; i++) without += column.knows(i) ? 0 : 1;
  if (without > 0) {
    const chip = make("span", { className: "chip" });
    chip.style.background = theme("none");
    place.append(make("span", {}, chip, column.isPrediction ? `no prediction (${whole(without)})` : `not known (${whole(without)})`));
  }
}

views.push((what) => {
  if (what.has("colour")) drawLegend();
});
