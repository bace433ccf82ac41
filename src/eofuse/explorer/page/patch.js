// A patch large: all its modalities, truth and prediction side by side, and what is known of it.

const dialog = byId("patch");
let opener = null;

function openPatch(patch) {
  hideTip();
  if (!dialog.open) {
    opener = document.activeElement;
    dialog.showModal();
  }
  look(patch);
  drawPatch(patch);
  dialog.scrollTop = 0;
}

function stepPatch(by) {
  const rows = sorted(), at = rows.indexOf(state.focus), to = at < 0 ? 0 : at + by;
  if (to < 0 || to >= rows.length) return;
  openPatch(rows[to]);
}

function drawPatch(patch) {
  const rows = sorted(), at = rows.indexOf(patch), body = byId("patch-body"), large = facts.large[patch];
  byId("patch-title").textContent = facts.ids[patch];
  byId("previous").disabled = at <= 0;
  byId("next").disabled = at < 0 || at === rows.length - 1;
  const place = at < 0 ? "not among the selected patches" : `${whole(at + 1)} of ${whole(rows.length)} selected`;
  const part = columnNamed("part in the run") ?? columnNamed("split");
  const held = part !== null && part.text(patch) === "test" ? " · a test patch" : part !== null && part.text(patch) !== "–" ? ` · ${part.text(patch)}` : "";
  body.replaceChildren(make("p", { className: "note" }, `${place}${held}`));
  const wrong = isWrong(patch);
  if (wrong !== null) {
    const text = `${wrong ? "✗ Wrong" : "✓ Right"}: predicted ${columnNamed("predicted").text(patch)}, true ${columnNamed("true").text(patch)}`;
    body.append(make("p", { className: wrong ? "is-wrong" : "" }, text));
  }
  if (large) body.append(panels(large));
  else body.append(...small(patch));
  const list = make("dl");
  for (const column of state.columns) {
    if (column.knows(patch)) list.append(make("dt", {}, column.name), make("dd", {}, column.text(patch)));
  }
  body.append(list);
}

function small(patch) {
  const picture = thumbnail(patch), found = [];
  if (picture !== null) {
    picture.setAttribute("aria-hidden", "false");
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", thumbs.title);
    found.push(make("div", { className: "panels" }, make("figure", {}, picture, make("figcaption", {}, make("strong", {}, thumbs.title)))));
  }
  found.push(
    make("p", { className: "note" }, "This page has no further pictures of this patch. To see them all:"),
    make("pre", { tabIndex: 0 }, make("code", {}, `eofuse show ${shellWord(facts.store)} ${shellWord(facts.ids[patch])}`)));
  return found;
}

function panels(large) {
  const images = large.strips.map((source) => {
    if (!source) return null;
    const image = new Image();
    image.src = source;
    return { image, ready: image.decode().catch(() => null) };
  });
  const box = make("div", { className: "panels" });
  const ground = large.boxes ? large.panels.slice(large.ground).find((panel) => panel.picture) : null;
  for (const panel of large.panels) {
    const caption = make("figcaption", {}, make("strong", {}, panel.title), panel.caption);
    for (const [colour, name] of panel.legend ?? []) caption.append(key(colour, name, panel.series ? seen : channels));
    if (panel.ramp) {
      const ramp = make("span", { className: "ramp" });
      ramp.style.background = `linear-gradient(to right, ${panel.ramp.colours.join(", ")})`;
      caption.append(ramp, make("span", { className: "ends" }, make("span", {}, panel.ramp.ends[0]), make("span", {}, panel.ramp.ends[1])));
    }
    if (panel.series) {
      box.append(make("figure", {}, seriesCanvas(panel), caption));
      continue;
    }
    if (!panel.picture) {
      box.append(make("figure", {}, make("div", { className: "absent" }, "absent"), caption));
      continue;
    }
    const [strip, left, width, height] = panel.picture, isGround = panel === ground;
    const times = isGround ? 4 : 1, canvas = make("canvas", { width: width * times, height: height * times });
    canvas.classList.toggle("is-map", strip === 1);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", panel.title);
    images[strip].ready.then(() => {
      const pen = canvas.getContext("2d");
      pen.drawImage(images[strip].image, left, 0, width, height, 0, 0, canvas.width, canvas.height);
      if (isGround) drawBoxes(pen, large.boxes);
    });
    if (isGround) caption.append(...boxWords(large.boxes));
    box.append(make("figure", { className: width > 2.5 * height ? "wide" : "" }, canvas, caption));
  }
  return box;
}

/** A canvas with the lines of a series, each between its own smallest and largest number; gaps interrupt them. */
function seriesCanvas(panel) {
  const [width, height, edge] = [480, 300, 14], canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d"), { times, lines } = panel.series;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${panel.title}: ${(panel.legend ?? []).map(([, label]) => label).join("; ")}`);
  pen.lineWidth = 2.5;
  for (const [colour, heights] of lines) {
    pen.strokeStyle = pen.fillStyle = css(seen(colour));
    pen.beginPath();
    let before = false;
    heights.forEach((value, i) => {
      const left = edge + (times[i] / 100) * (width - 2 * edge), top = height - edge - (value / 100) * (height - 2 * edge);
      if (value !== null) {
        pen[before ? "lineTo" : "moveTo"](left, top);
        pen.fillRect(left - 4, top - 4, 8, 8);
      }
      before = value !== null;
    });
    pen.stroke();
  }
  return canvas;
}

function key(colour, name, shade = channels) {
  const chip = make("span", { className: "chip" });
  chip.style.background = css(shade(colour));
  return make("span", { className: "key" }, chip, name);
}

function drawBoxes(pen, boxes) {
  const across = pen.canvas.width / boxes.size[0], down = pen.canvas.height / boxes.size[1];
  for (const [list, dash] of [[boxes.true, []], [boxes.predicted, [10, 6]]]) {
    for (const [x0, y0, x1, y1, colour] of list) {
      for (const [stroke, line] of [["rgb(16 22 28 / 80%)", 7], [css(channels(colour)), 3.5]]) {
        pen.setLineDash(dash);
        pen.strokeStyle = stroke;
        pen.lineWidth = line;
        pen.strokeRect(x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down);
      }
    }
  }
}

function boxWords(boxes) {
  const found = [make("span", {}, ` Solid: ${counted(boxes.true.length, "true box", "true boxes")}. Dashed: ${counted(boxes.predicted.length, "predicted box", "predicted boxes")}, with a score of at least ${numberText(boxes.least)}. `)];
  const names = new Map(boxes.true.map(([, , , , colour, name]) => [name, colour]));
  for (const [, , , , colour, name] of boxes.predicted) names.set(name.replace(/ [\d.]+$/, ""), colour);
  for (const [name, colour] of names) found.push(key(colour, name));
  return found;
}

byId("previous").addEventListener("click", () => stepPatch(-1));
byId("next").addEventListener("click", () => stepPatch(1));
byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => opener?.focus?.());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") stepPatch(-1);
  else if (event.key === "ArrowRight") stepPatch(1);
  else return;
  event.preventDefault();
});

views.push((what) => {
  if (dialog.open && (what.has("columns") || what.has("chosen"))) drawPatch(state.focus);
});
