// The page's head and controls, the ids of what is selected, and the first drawing.

function say(text) {
  byId("status").textContent = text;
}

function statusWords() {
  let held = 0;
  for (let i = 0; i < count; i++) held += state.chosen[i] & heldOut[i];
  const filters = state.filters.size ? `, ${counted(state.filters.size, "filter", "filters")}` : "";
  const test = held ? `; ${whole(held)} of these are validation or test patches` : "";
  const column = columnNamed("right or wrong");
  let right = 0, known = 0;
  if (column !== null) {
    for (let i = 0; i < count; i++) {
      if (state.chosen[i] && column.values[i] >= 0) { known += 1; right += column.values[i] === 0 ? 1 : 0; }
    }
  }
  const share = known ? `; ${numberText(Math.round((1000 * right) / known) / 10)} % of ${counted(known, "test prediction", "test predictions")} right` : "";
  return `${whole(state.chosenCount)} of ${counted(count, "patch", "patches")} selected${filters}${test}${share}.`;
}

function chosenIds() {
  const without = !byId("held-out").hidden && byId("held-out").firstChild.checked, found = [];
  let left = 0;
  for (const patch of sorted()) {
    if (without && heldOut[patch]) left += 1;
    else found.push(facts.ids[patch]);
  }
  return { found, left };
}

function drawIds() {
  const { found, left } = chosenIds();
  const without = left ? `; ${counted(left, "validation or test patch", "validation and test patches")} left out` : "";
  byId("ids-note").textContent = `${counted(found.length, "id", "ids")}, one a line, in the order of the patches above${without}.`;
  byId("copy").disabled = byId("download").disabled = found.length === 0;
}

function drawCommands() {
  const store = shellWord(facts.store), lines = [`eofuse subset ${store} -o chosen.store --ids ids.txt`];
  if (facts.canSuggest) lines.push(`eofuse suggest ${shellWord(facts.run)} ${store} --ids ids.txt`);
  byId("commands").textContent = lines.join("\n");
}

async function copyIds() {
  const text = `${chosenIds().found.join("\n")}\n`;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${counted(chosenIds().found.length, "id", "ids")} copied.`);
}

function downloadIds() {
  const address = URL.createObjectURL(new Blob([`${chosenIds().found.join("\n")}\n`], { type: "text/plain" }));
  make("a", { href: address, download: "ids.txt" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function fillColours() {
  const select = byId("colour"), groups = new Map();
  for (const column of state.columns) {
    if (!groups.has(column.group)) groups.set(column.group, []);
    groups.get(column.group).push(column);
  }
  select.replaceChildren(make("option", { value: "" }, "nothing"));
  for (const [group, own] of groups) {
    select.append(make("optgroup", { label: group }, ...own.map((column) => make("option", { value: column.name }, column.name))));
  }
  if (state.colour === null && state.columns.length) {
    const wanted = ["right or wrong", "error", facts.colour].map(columnNamed).find((column) => column !== null);
    state.colour = (wanted ?? state.columns[0]).name;
  }
  select.value = state.colour ?? "";
}

function fillOrders() {
  const select = byId("order"), has = (order) => columnNamed(order.replace("-", "")) !== null;
  const found = [...ORDERS.filter(([order]) => has(order)), ["store", "as in the store"], ["colour", "by colour, largest first"], ["-colour", "by colour, smallest first"]];
  select.replaceChildren(...found.map(([order, words]) => make("option", { value: order }, words)));
  if (!found.some(([order]) => order === state.order)) state.order = found[0][0];
  select.value = state.order;
}

/** Choices of target, variant and seed; those with a single value are only named. */
function fillSets() {
  const place = byId("sets");
  if (state.set < 0) return;
  const now = facts.sets[state.set];
  const words = { target: "Target", variant: "Variant", seed: "Seed" };
  const seedWords = (seed) => (seed === null ? "all, together" : String(seed));
  place.replaceChildren();
  let among = facts.sets.map((set, number) => ({ ...set, number }));
  for (const name of ["target", "variant", "seed"]) {
    const values = [...new Set(among.map((set) => set[name]))];
    if (values.length > 1) {
      const select = make("select", {}, ...values.map((value) => make("option", { value: String(value), selected: value === now[name] }, name === "seed" ? seedWords(value) : value)));
      select.addEventListener("change", () => {
        const wanted = { ...now, [name]: values[select.selectedIndex] };
        const score = (set) => ["target", "variant", "seed"].reduce((sum, each) => sum + (set[each] === wanted[each] ? (each === name ? 4 : 1) : 0), 0);
        const best = facts.sets.map(score).reduce((found, value, number, all) => (value > all[found] ? number : found), 0);
        useSet(best);
        byId("sets").querySelectorAll("select")[[...place.querySelectorAll("select")].indexOf(select)]?.focus();
      });
      place.append(make("label", {}, words[name], select));
    }
    among = among.filter((set) => set[name] === now[name]);
  }
  place.hidden = place.children.length === 0;
}

function drawKicker() {
  const set = facts.sets[state.set], kinds = { store: "Store", run: "Run", study: "Study" };
  const parts = [`Explorer · ${kinds[facts.kind]} ${facts.path}`, counted(count, "patch", "patches")];
  if (facts.kind !== "store") parts.push(`store ${facts.store}`);
  if (set) {
    const seed = set.seed === null ? "mean of the seeds" : facts.kind === "study" ? `seed ${set.seed}` : "";
    const who = facts.kind === "study" ? ` by ${set.variant}${seed ? `, ${seed}` : ""}` : "";
    parts.push(`${set.target} of ${counted(setRows[set.rows].length, "test patch", "test patches")} predicted${who}`, `error: ${set.error}`);
  }
  byId("kicker").textContent = parts.join(" · ");
}

byId("simulated").hidden = !facts.simulated;
byId("held-out").hidden = !heldOut.some((is) => is);
if (facts.notes.length) {
  byId("notes").hidden = false;
  byId("notes").querySelector("ul").append(...facts.notes.map((note) => make("li", {}, note)));
}
if (facts.map !== null) {
  const without = count - facts.map.known;
  new Plot(byId("plots"), facts.map, { title: "Map", isMap: true, caption: `Longitude and latitude of ${counted(facts.map.known, "patch", "patches")}${without ? `; ${whole(without)} have no place` : ""}.` });
}
if (facts.embedding !== null) {
  const without = count - facts.embedding.known;
  new Plot(byId("plots"), facts.embedding, { title: facts.embedding.title, isMap: false, caption: `${facts.embedding.words}.${without ? ` ${whole(without)} patches lack an input.` : ""}` });
}

byId("colour").addEventListener("change", (event) => {
  state.colour = event.target.value || null;
  state.sorted = null;
  changed("colour");
});
byId("order").addEventListener("change", (event) => {
  state.order = event.target.value;
  state.sorted = null;
  changed("order");
});
for (const input of document.querySelectorAll("input[name=tool]")) {
  input.addEventListener("change", () => {
    state.tool = input.value;
    changed("tool");
  });
}
byId("clear").addEventListener("click", () => {
  state.filters.clear();
  pick(null);
});
byId("held-out").firstChild.addEventListener("change", drawIds);
byId("copy").addEventListener("click", copyIds);
byId("download").addEventListener("click", downloadIds);
dark.addEventListener("change", () => changed("theme", "colour"));

views.unshift((what) => {
  if (what.has("columns")) {
    fillColours();
    fillOrders();
    fillSets();
    drawKicker();
  }
});
views.push((what) => {
  if (what.has("chosen") || what.has("columns")) say(statusWords());
  if (["chosen", "columns", "order"].some((each) => what.has(each))) drawIds();
});

drawCommands();
useSet(state.set);
