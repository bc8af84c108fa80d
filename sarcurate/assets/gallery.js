"use strict";
// All text reaches the page as text nodes and attributes, never as markup.
const facts = JSON.parse(document.getElementById("facts").textContent);
const chips = facts.chips;
const place = new Map(chips.map((chip, index) => [chip.chip_id, index]));
const get = (id) => document.getElementById(id);
const STEP = 240; // chips laid out at once
const STORE = "sarcurate-gallery-" + facts.revision;
const KEYS = { k: "keep", d: "reject", u: "unsure" };
const ON_CHIP = ["keep", "reject", "unsure"];

let order = []; // indices of the chips that pass the filters, sorted
let laidOut = 0;
let current = null; // index of the chip in the panel
let held = false;
const cards = new Map();
const given = readGiven();

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function words(value, digits = 4) {
  return value === null || value === undefined ? "–" : String(Number(value.toPrecision(digits)));
}

function valueOf(measure, index) {
  return measure in facts.values ? facts.values[measure][index] : null;
}

function picture(chipId, alt) {
  const image = element("img", { loading: "lazy", decoding: "async", alt });
  image.onload = () => image.classList.toggle("large", image.naturalWidth > 160);
  image.src = "chips/" + chipId.slice(0, 2) + "/" + chipId + ".png";
  return image;
}

function labelOf(chip) {
  return chip.new_label ? chip.label + " → " + chip.new_label : chip.label;
}

// --- verdicts given in this page

function readGiven() {
  try {
    const entries = JSON.parse(localStorage.getItem(STORE) || "[]");
    return new Map(entries.filter(([chipId]) => place.has(chipId)));
  } catch {
    return new Map();
  }
}

function keepGiven() {
  let stored = true;
  try {
    localStorage.setItem(STORE, JSON.stringify([...given]));
  } catch {
    stored = false;
  }
  window.onbeforeunload = stored || !given.size ? null : (event) => event.preventDefault();
}

function rule(index, verdict, newLabel, reason) {
  const chipId = chips[index].chip_id;
  if (verdict) given.set(chipId, { verdict, new_label: newLabel, reason });
  else given.delete(chipId);
  keepGiven();
  if (cards.has(index)) dress(index);
  if (index === current) showDetail(index);
  count();
}

function toggle(index, verdict) {
  const now = given.get(chips[index].chip_id);
  rule(index, now && now.verdict === verdict ? "" : verdict, "", now ? now.reason : "");
}

function buttons(index) {
  const now = given.get(chips[index].chip_id);
  return ON_CHIP.map((verdict) => {
    const button = element("button", { type: "button", tabIndex: -1, textContent: verdict });
    button.setAttribute("aria-pressed", String(Boolean(now) && now.verdict === verdict));
    button.onclick = (event) => {
      event.stopPropagation();
      toggle(index, verdict);
    };
    return button;
  });
}

// --- the sheet

function cell(text) {
  const safe = text && facts.formula_signs.includes(text[0]) ? "'" + text : text;
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}

function sheet() {
  const lines = [facts.columns.join(",")];
  for (const [index, chip] of chips.entries()) {
    const said = given.get(chip.chip_id);
    if (!said) continue;
    const row = {
      ...chip,
      ...said,
      kept: chip.kept ? "kept" : "rejected",
      reason_rejected: chip.reason,
      enl: String(valueOf("enl", index) ?? ""),
      log_psd_distance: String(valueOf("log_psd_distance", index) ?? ""),
    };
    lines.push(facts.columns.map((name) => cell(row[name])).join(","));
  }
  return lines.join("\n") + "\n";
}

function download() {
  const url = URL.createObjectURL(new Blob([sheet()], { type: "text/csv" }));
  element("a", { href: url, download: "verdicts-given.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// --- one chip in the grid

function card(index) {
  const chip = chips[index];
  const made = element("article", { className: "chip", tabIndex: 0 });
  made.onmouseenter = () => held || show(index);
  made.onfocus = () => show(index);
  made.onclick = () => {
    held = true;
    show(index);
  };
  cards.set(index, made);
  made.append(picture(chip.chip_id, "chip " + chip.chip_id + ", " + chip.label));
  made.append(element("div", { className: "facts" }), element("div", { className: "buttons" }));
  dress(index);
  return made;
}

function dress(index) {
  const chip = chips[index];
  const made = cards.get(index);
  const sort = get("sort").value;
  const paragraph = (className, text) => element("p", { className, textContent: text });
  const lines = [
    paragraph("name", labelOf(chip)),
    paragraph("faint", chip.set + " " + chip.chip_id.slice(0, 8)),
    paragraph("faint", "ENL " + words(valueOf("enl", index), 3) + ", PSD " + words(valueOf("log_psd_distance", index), 3)),
  ];
  if (!["enl", "log_psd_distance"].includes(sort)) {
    lines.push(paragraph("faint", facts.names[sort] + " " + words(valueOf(sort, index))));
  }
  lines.push(chip.kept ? paragraph("kept", "kept") : paragraph("why", chip.reason));
  if (chip.said) lines.push(paragraph("faint", chip.verdict + ": " + chip.said));
  const now = given.get(chip.chip_id);
  if (now) lines.push(paragraph("here", "here: " + [now.verdict, now.new_label].join(" ").trim()));
  made.classList.toggle("rejected", !chip.kept);
  made.classList.toggle("given", given.has(chip.chip_id));
  made.classList.toggle("current", index === current);
  made.querySelector(".facts").replaceChildren(...lines);
  made.querySelector(".buttons").replaceChildren(...buttons(index));
}

// --- the panel

function show(index) {
  if (index === current) return;
  const before = current;
  current = index;
  for (const one of [before, index]) if (cards.has(one)) cards.get(one).classList.toggle("current", one === index);
  showDetail(index);
}

function figure(chipId, role) {
  const [set, label] = facts.kin[chipId];
  const [low, high] = facts.windows_db[set];
  const told = role + ": " + set + ", " + label + ", " + chipId.slice(0, 8) + ", " + low + " to " + high + " dB";
  return element("figure", {}, picture(chipId, role), element("figcaption", { textContent: told }));
}

function row(name, className, ...cells) {
  const head = element("th", { scope: "row", textContent: name });
  return element("tr", { className }, head, ...cells.map((text) => element("td", { textContent: text })));
}

function gateTable(chip, index) {
  const limits = (gate) =>
    [gate.low === null ? "" : "≥ " + words(gate.low), gate.high === null ? "" : "≤ " + words(gate.high)]
      .filter(Boolean)
      .join(", ");
  const rows = facts.gates.map((gate) =>
    row(
      gate.name,
      chip.failed.includes(gate.measure) ? "failed" : "",
      words(valueOf(gate.measure, index)),
      limits(gate),
    ),
  );
  return element("table", {}, element("caption", { textContent: "gates: value and limits" }), ...rows);
}

function ruling(chip, index) {
  const now = given.get(chip.chip_id);
  const relabel = element("select", {}, element("option", { value: "", textContent: "–" }));
  for (const label of facts.classes) {
    if (label !== chip.label) relabel.append(element("option", { value: label, textContent: label }));
  }
  relabel.value = now ? now.new_label : "";
  const reason = element("input", { value: now ? now.reason : "", maxLength: 300, disabled: !now });
  relabel.onchange = () => rule(index, relabel.value ? "relabel" : "", relabel.value, reason.value.trim());
  reason.onchange = () => rule(index, now.verdict, now.new_label, reason.value.trim());
  return [
    element("div", { className: "buttons" }, ...buttons(index)),
    element("label", { textContent: "relabel to" }, relabel),
    element("label", { textContent: "reason (after the verdict)" }, reason),
  ];
}

function showDetail(index) {
  const chip = chips[index];
  const paragraph = (className, text) => element("p", { className, textContent: text });
  const parts = [
    element("h2", { textContent: labelOf(chip) + ", " + chip.set }),
    element("code", { textContent: chip.chip_id }),
    chip.kept ? paragraph("kept", "kept") : paragraph("why", "rejected: " + chip.reason),
  ];
  if (chip.kept && chip.sentences.length) {
    parts.push(paragraph("why", "kept by people although: " + chip.sentences.join("; ")));
  }
  if (chip.said) parts.push(paragraph("", "verdict " + chip.verdict + ": " + chip.said));
  if (chip.prompt) parts.push(paragraph("faint", "prompt: " + chip.prompt));
  const roles = { content: "content", style: "style", peer: "real chip of the class" };
  const kin = Object.keys(roles).filter((role) => chip[role] in facts.kin);
  parts.push(
    element(
      "div",
      { className: "kin" },
      figure(chip.chip_id, "this chip"),
      ...kin.map((role) => figure(chip[role], roles[role])),
    ),
    ...ruling(chip, index),
    gateTable(chip, index),
    element(
      "details",
      {},
      element("summary", { textContent: "all scores" }),
      element("table", {}, ...Object.keys(facts.names).map((name) => row(name, "", words(valueOf(name, index))))),
    ),
  );
  get("detail").replaceChildren(...parts);
}

// --- the grid

function passes(chip) {
  const asked = (id) => get(id).value;
  const gate = asked("gate");
  const label = asked("class");
  return (
    (!asked("set") || chip.set === asked("set")) &&
    (!label || chip.label === label || chip.new_label === label) &&
    (!asked("kept") || chip.kept === (asked("kept") === "kept")) &&
    (!gate || (gate === "*" ? chip.failed.length > 0 : gate === "-" ? !chip.failed.length : chip.failed.includes(gate))) &&
    (!asked("verdict") || chip.verdict === asked("verdict")) &&
    (!asked("given") || given.has(chip.chip_id) === (asked("given") === "yes")) &&
    chip.chip_id.startsWith(asked("id").trim())
  );
}

function arrange() {
  const values = facts.values[get("sort").value];
  const sign = Number(get("order").value);
  order = [...chips.keys()].filter((index) => passes(chips[index]));
  order.sort((a, b) => {
    if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null) || a - b;
    return sign * (values[a] - values[b]) || a - b;
  });
  cards.clear();
  laidOut = 0;
  get("grid").replaceChildren();
  layOut();
  count();
}

function layOut() {
  const next = order.slice(laidOut, laidOut + STEP);
  laidOut += next.length;
  get("grid").append(...next.map(card));
  const left = order.length - laidOut;
  const button = element("button", { type: "button", textContent: "show more (" + left + " left)", onclick: layOut });
  get("more").replaceChildren(...(left ? [button] : []));
}

function count() {
  const kept = order.filter((index) => chips[index].kept).length;
  get("count").textContent =
    order.length + " of " + chips.length + " chips, " + kept + " kept; " + given.size + " verdicts given here";
  get("download").disabled = get("clear").disabled = !given.size;
}

function move(step) {
  const at = order.indexOf(current);
  const next = Math.min(Math.max(at < 0 ? 0 : at + step, 0), order.length - 1);
  while (next >= laidOut && laidOut < order.length) layOut();
  const made = cards.get(order[next]);
  if (made) {
    held = true;
    made.focus();
  }
}

function columns() {
  return getComputedStyle(get("grid")).gridTemplateColumns.split(" ").length;
}

document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
  if (event.key === "Escape") held = false;
  else if (event.key in steps) move(steps[event.key]);
  else if (event.key in KEYS && current !== null) toggle(current, KEYS[event.key]);
  else return;
  event.preventDefault();
});

get("controls").addEventListener("input", arrange);
get("controls").addEventListener("submit", (event) => event.preventDefault());
get("download").onclick = download;
get("clear").onclick = () => {
  if (!confirm("Discard all " + given.size + " verdicts given here?")) return;
  given.clear();
  keepGiven();
  arrange();
  if (current !== null) showDetail(current);
};
new IntersectionObserver((seen) => {
  if (seen.some((one) => one.isIntersecting) && laidOut < order.length) layOut();
}, { rootMargin: "600px" }).observe(get("more"));
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--head", document.querySelector("header").offsetHeight + "px");
}).observe(document.querySelector("header"));

get("sort").value = "gate_margin" in facts.values ? "gate_margin" : Object.keys(facts.values)[0];
arrange();
if (order.length) show(order[0]);
