// What is selected, filtered, coloured and looked at; every view draws this state and nothing else.

const heldOut = unpack(facts.heldOut);
const setRows = facts.setRows.map(unpack);
const ownColumns = facts.columns.map((told) => new Column(told));

const state = {
  set: facts.sets.length ? 0 : -1,
  columns: ownColumns,
  filters: new Map(),
  picked: null,
  passing: new Uint8Array(count).fill(1),
  chosen: new Uint8Array(count).fill(1),
  chosenCount: count,
  sorted: null,
  order: null,
  colour: null,
  focus: -1,
  tool: "lasso",
};

const views = [];
let waiting = false;
let touched = new Set();

/** Says that something changed: `chosen`, `colour`, `columns`, `focus`, `order`. Views draw once, before the next frame. */
function changed(...what) {
  what.forEach((each) => touched.add(each));
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const now = touched;
    touched = new Set();
    for (const view of views) view(now);
  });
}

const columnNamed = (name) => state.columns.find((column) => column.name === name) ?? null;

/** Takes the predictions of a set as columns, before those of the index. */
function useSet(number) {
  state.set = number;
  const told = facts.sets[number];
  const own = told ? told.columns.map((column) => new Column(column, setRows[told.rows])) : [];
  const before = new Map(state.columns.map((column) => [column.name, column]));
  state.columns = [...own, ...ownColumns];
  for (const [name] of state.filters) {
    const column = columnNamed(name);
    if (column === null || String(column.names) !== String(before.get(name)?.names)) state.filters.delete(name);
  }
  if (state.colour !== null && columnNamed(state.colour) === null) state.colour = null;
  state.sorted = null;
  rechoose();
  changed("columns", "colour");
}

/** Whether a patch passes a filter. */
function passes(column, filter, patch) {
  if (column.isNumber) return column.values[patch] >= filter.low && column.values[patch] <= filter.high;
  if (!column.isList) return filter.has(column.values[patch]);
  if (!column.knows(patch)) return filter.has(-1);
  return column.codes(patch).some((code) => filter.has(code));
}

/** Which patches pass all filters, and are picked if any are. */
function rechoose() {
  state.passing.fill(1);
  for (const [name, filter] of state.filters) {
    const column = columnNamed(name);
    void column.values;
    for (let i = 0; i < count; i++) if (state.passing[i] && !passes(column, filter, i)) state.passing[i] = 0;
  }
  let chosen = 0;
  for (let i = 0; i < count; i++) {
    state.chosen[i] = state.passing[i] && (state.picked === null || state.picked[i]) ? 1 : 0;
    chosen += state.chosen[i];
  }
  state.chosenCount = chosen;
  state.sorted = null;
  changed("chosen");
}

function setFilter(column, filter) {
  if (filter === null) state.filters.delete(column.name);
  else state.filters.set(column.name, filter);
  rechoose();
}

/** Picks patches by a lasso or box: `replace`, `add` to or `remove` from those picked before; null picks all. */
function pick(mask, how = "replace") {
  if (mask !== null && how !== "replace" && state.picked !== null) {
    const before = state.picked;
    mask = mask.map((is, i) => (how === "add" ? is | before[i] : before[i] & ~is & 1));
  }
  state.picked = mask;
  rechoose();
}

const ORDERS = [
  ["error", "largest error first"], ["-confidence", "least confident first"], ["confidence", "most confident first"],
  ["-error", "smallest error first"],
];

/** Numbers by which a patch comes earlier, the larger first. */
function keys() {
  const [, sign, name] = /^(-?)(.*)$/s.exec(state.order);
  const column = name === "colour" ? columnNamed(state.colour) : columnNamed(name);
  if (column === null || column.isList) return null;
  const keyed = new Float64Array(count), values = column.values;
  for (let i = 0; i < count; i++) {
    const value = column.isNumber ? values[i] : -values[i];
    keyed[i] = column.knows(i) ? (sign ? -value : value) : -Infinity;
  }
  return keyed;
}

/** The chosen patches in their order. */
function sorted() {
  if (state.sorted === null) {
    const rows = new Uint32Array(state.chosenCount);
    for (let i = 0, at = 0; i < count; i++) if (state.chosen[i]) rows[at++] = i;
    const by = state.order === "store" || state.order === null ? null : keys();
    if (by !== null) rows.sort((a, b) => (by[a] === by[b] ? a - b : by[a] < by[b] ? 1 : -1));
    state.sorted = rows;
  }
  return state.sorted;
}

function look(patch) {
  state.focus = patch;
  changed("focus");
}

/** A patch in a few words, for captions and screen readers. */
function describe(patch) {
  const column = columnNamed(state.colour);
  const told = column === null ? "" : `${column.name}: ${column.text(patch)}`;
  const predicted = columnNamed("predicted"), truth = columnNamed("true");
  const both = predicted !== null && truth !== null && predicted.knows(patch)
    ? `predicted ${predicted.text(patch)}, true ${truth.text(patch)}` : "";
  return [both, told].filter((text) => text !== "").join("; ");
}
