// Thumbnails: sheets of small pictures, the gallery of chosen patches, and what stands beside the pointer.

const thumbs = facts.thumbnails, thumbPlaces = unpack(thumbs.places);
const sheets = new Map();

/** A sheet of thumbnails, read when it is first needed. */
function sheetOf(number) {
  if (!sheets.has(number)) {
    const image = new Image();
    image.src = thumbs.sheets[number];
    sheets.set(number, { image, ready: image.decode().catch(() => null) });
  }
  return sheets.get(number);
}

/** A canvas with the small picture of a patch; null if it has none. */
function thumbnail(patch) {
  const place = thumbPlaces[patch];
  if (place < 0) return null;
  const { side, perLine, perSheet } = thumbs, sheet = sheetOf(Math.floor(place / perSheet)), at = place % perSheet;
  const canvas = make("canvas", { width: side, height: side });
  canvas.setAttribute("aria-hidden", "true");
  sheet.ready.then(() => {
    const [left, top] = [(at % perLine) * side, Math.floor(at / perLine) * side];
    canvas.getContext("2d").drawImage(sheet.image, left, top, side, side, 0, 0, side, side);
  });
  return canvas;
}

const PAGE = 60;
let shownCount = PAGE;

/** Whether a prediction is wrong; null where nothing is predicted. */
function isWrong(patch) {
  const verdict = columnNamed("right or wrong");
  if (verdict === null || !verdict.knows(patch)) return null;
  return verdict.names[verdict.values[patch]] === "wrong";
}

function card(patch) {
  const wrong = isWrong(patch), predicted = columnNamed("predicted"), error = columnNamed("error"), column = columnNamed(state.colour);
  const said = [];
  if (predicted !== null && predicted.knows(patch)) {
    const text = wrong ? `✗ ${predicted.text(patch)}, true ${columnNamed("true").text(patch)}` : `${wrong === false ? "✓ " : ""}${predicted.text(patch)}`;
    said.push(make("span", { className: `said ${wrong ? "is-wrong" : ""}` }, text));
  } else if (error !== null && error.knows(patch)) {
    said.push(make("span", { className: "said" }, `error ${error.text(patch)}`));
  }
  if (column !== null && !["predicted", "true", "right or wrong"].includes(column.name) && !(said.length && column.name === "error" && predicted === null)) {
    said.push(make("span", { className: "said" }, column.text(patch)));
  }
  const id = make("span", { className: "id", title: facts.ids[patch] }, make("bdi", {}, facts.ids[patch]));
  const button = make("button", { type: "button" }, thumbnail(patch) ?? (thumbs.side ? make("span", { className: "blank" }, "no picture") : null), ...said, id);
  button.setAttribute("aria-label", `${facts.ids[patch]}. ${describe(patch)}${wrong === null ? "" : wrong ? ", wrong" : ", right"}`);
  button.dataset.patch = patch;
  button.addEventListener("click", () => openPatch(patch));
  button.addEventListener("pointerenter", () => look(patch));
  button.addEventListener("focus", () => look(patch));
  return make("li", {}, button);
}

function drawGallery() {
  const rows = sorted(), place = byId("gallery");
  place.replaceChildren(...Array.from(rows.subarray(0, shownCount), card));
  byId("more").hidden = rows.length <= shownCount;
  const shown = Math.min(rows.length, shownCount);
  const words = byId("order").selectedOptions[0]?.textContent ?? "";
  byId("gallery-note").textContent = rows.length === 0
    ? "No patch meets all filters and lies within the selection."
    : `${whole(shown)} of ${counted(rows.length, "selected patch", "selected patches")}, ${words}.${thumbs.title ? ` Pictures: ${thumbs.title}.` : ""}`;
}

byId("more").addEventListener("click", () => {
  const before = shownCount;
  shownCount += PAGE;
  drawGallery();
  byId("gallery").children[before]?.firstChild.focus();
});

byId("gallery").addEventListener("keydown", (event) => {
  const buttons = [...byId("gallery").querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
  if (at < 0) return;
  const line = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - line, ArrowDown: at + line, Home: 0, End: buttons.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  buttons[Math.min(Math.max(to, 0), buttons.length - 1)].focus();
});

const tip = byId("tip");

function showTip(patch, x, y) {
  if (tip.dataset.patch !== String(patch)) {
    tip.dataset.patch = patch;
    tip.replaceChildren(...[thumbnail(patch), make("div", {}, facts.ids[patch]), make("div", {}, describe(patch))].filter((each) => each !== null));
  }
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(x + 14, innerWidth - width - 4)}px`;
  tip.style.top = `${y + 14 + height > innerHeight ? Math.max(y - height - 10, 4) : y + 14}px`;
}

function hideTip() {
  tip.hidden = true;
}

views.push((what) => {
  if (what.has("chosen") && !what.has("more")) shownCount = PAGE;
  if (["chosen", "order", "colour", "columns"].some((each) => what.has(each))) drawGallery();
  if (what.has("focus")) {
    for (const button of byId("gallery").querySelectorAll("button")) button.classList.toggle("focus", Number(button.dataset.patch) === state.focus);
  }
});
