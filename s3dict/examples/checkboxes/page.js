// Only the rows in view are in the document. The page shows the latest state from the server, overlaid with the clicks
// that are not confirmed yet. Those are retried until they are: a click sets a box instead of toggling it, so it is
// idempotent.

const ROWS_AROUND = 6;
const RETRY_MILLISECONDS = 2000;
const TIMEOUT_MILLISECONDS = 12000;

const board = document.getElementById("board");
const header = document.querySelector("header");
const state = document.getElementById("state");
const range = document.getElementById("range");
const boxes = Number(board.dataset.boxes);
const boxesPerChunk = Number(board.dataset.chunk);
const bitmaps = new Map(); // by chunk
const unconfirmed = new Map(); // box: requested state
const rows = new Map(); // row: its element

let columns = 0;
let cell = 0;
let template = null;
let current = 0; // the box in the tab order
let shown = ""; // the chunks that the server sends updates for
let scheduled = false;

const written = new Intl.NumberFormat("en").format;

// ---- State

const isKnown = (box) => unconfirmed.has(box) || bitmaps.has(Math.floor(box / boxesPerChunk));

function isChecked(box) {
  if (unconfirmed.has(box)) return unconfirmed.get(box);
  const bitmap = bitmaps.get(Math.floor(box / boxesPerChunk));
  const place = box % boxesPerChunk;
  return bitmap !== undefined && ((bitmap[place >> 3] >> (place & 7)) & 1) === 1;
}

// ---- Rows

const rowOf = (box) => Math.floor(box / columns);

/** The distance from the board's first row to the lower edge of the header, in pixels. */
const scrolled = () => header.getBoundingClientRect().bottom - board.getBoundingClientRect().top;

function measure() {
  cell = parseFloat(getComputedStyle(board).getPropertyValue("--cell"));
  const fitting = Math.max(1, Math.floor(board.clientWidth / cell));
  const next = fitting < 10 ? fitting : fitting - (fitting % 5);
  if (next === columns) return;
  columns = next;
  template = document.createElement("div");
  template.className = "row";
  for (let column = 0; column < columns; column++) {
    const input = document.createElement("input");
    input.type = "checkbox";
    input.tabIndex = -1;
    input.style.setProperty("--column", column);
    template.append(input);
  }
  board.style.setProperty("--columns", columns);
  for (const element of rows.values()) element.remove();
  rows.clear();
}

/** Lays the board out for the current window size, and keeps the top row in place. */
function layOut() {
  const top = columns ? Math.max(0, Math.floor(scrolled() / cell)) * columns : 0;
  measure();
  board.style.height = `${Math.ceil(boxes / columns) * cell}px`;
  if (top) bringToTop(top);
  render();
}

function bringToTop(box) {
  window.scrollBy(0, rowOf(box) * cell - scrolled() - 8);
}

function makeRow(row) {
  const element = template.cloneNode(true);
  element.style.transform = `translateY(${row * cell}px)`;
  element.style.setProperty("--row-hue", (265 + row * 4) % 360);
  const first = row * columns;
  [...element.children].forEach((input, column) => {
    const box = first + column;
    input.dataset.box = box;
    input.setAttribute("aria-label", `Box ${written(box + 1)}`);
    input.hidden = box >= boxes;
    if (box === current) input.tabIndex = 0;
  });
  paint(element, false);
  return element;
}

/** Renders the state of a row; boxes changed by other visitors are highlighted. */
function paint(element, highlight) {
  const inputs = element.children;
  const first = Number(inputs[0].dataset.box);
  const unknown = !isKnown(first) || !isKnown(Math.min(boxes, first + columns) - 1);
  const highlighting = highlight && !element.classList.contains("unknown");
  element.classList.toggle("unknown", unknown);
  for (const input of inputs) {
    const box = Number(input.dataset.box);
    const checked = isChecked(box);
    if (highlighting && input.checked !== checked) flash(input);
    input.checked = checked;
    if (unconfirmed.has(box)) input.setAttribute("aria-busy", "true");
    else input.removeAttribute("aria-busy");
  }
}

function flash(input) {
  input.classList.add("news");
  input.addEventListener("animationend", () => input.classList.remove("news"), { once: true });
}

function repaint(box) {
  const element = rows.get(rowOf(box));
  if (element) paint(element, false);
}

function visibleRows() {
  const last = Math.ceil(boxes / columns) - 1;
  const top = Math.floor(scrolled() / cell);
  const bottom = top + Math.ceil(window.innerHeight / cell);
  return [Math.max(0, top - ROWS_AROUND), Math.min(last, bottom + ROWS_AROUND)];
}

function render() {
  scheduled = false;
  const [first, last] = visibleRows();
  showRange();
  for (const [row, element] of rows) {
    // The focused row stays in the document, so that the keyboard keeps its position.
    if ((row < first || row > last) && !element.contains(document.activeElement)) {
      element.remove();
      rows.delete(row);
    }
  }
  for (let row = first; row <= last; row++) {
    if (rows.has(row)) continue;
    const element = makeRow(row);
    const above = rows.get(row - 1);
    rows.set(row, element);
    if (above) above.after(element);
    else board.prepend(element);
  }
  if (!rows.has(rowOf(current))) moveTabStop(first * columns);
  show(first * columns, Math.min(boxes, (last + 1) * columns) - 1);
}

/** Shows the range of fully visible boxes. */
function showRange() {
  const top = Math.max(0, Math.ceil(scrolled() / cell));
  const bottom = Math.floor((window.innerHeight - board.getBoundingClientRect().top) / cell);
  const last = Math.min(boxes, Math.max(top + 1, bottom) * columns);
  range.textContent = `Boxes ${written(top * columns + 1)} – ${written(last)}`;
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(render);
}

const inputOf = (box) => rows.get(rowOf(box))?.children[box % columns];

function moveTabStop(box) {
  const before = inputOf(current);
  if (before) before.tabIndex = -1;
  current = box;
  const input = inputOf(current);
  if (input) input.tabIndex = 0;
}

/** Scrolls the box into view and focuses it. */
function goTo(box) {
  const target = Math.min(boxes - 1, Math.max(0, box));
  const top = rowOf(target) * cell - scrolled();
  const room = window.innerHeight - header.offsetHeight;
  if (top < 0 || top + cell > room) window.scrollBy(0, top - Math.floor(room / 2 / cell) * cell);
  moveTabStop(target);
  render();
  const input = inputOf(target);
  input.classList.add("target");
  input.addEventListener("blur", () => input.classList.remove("target"), { once: true });
  input.focus({ preventScroll: true });
}

// ---- The server

let socket = null;
let lastMessageAt = 0;
let waitBeforeConnecting = 250;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  lastMessageAt = Date.now();
  socket.onopen = () => {
    waitBeforeConnecting = 250;
    shown = "";
    render();
    for (const box of unconfirmed.keys()) sendClick(box);
  };
  socket.onmessage = ({ data }) => {
    lastMessageAt = Date.now();
    if (typeof data === "string") receive(JSON.parse(data));
    else update(new DataView(data).getUint32(0), new Uint8Array(data, 4));
  };
  socket.onclose = reconnect;
}

function reconnect() {
  showState("trouble", "Reconnecting");
  setTimeout(connect, waitBeforeConnecting);
  waitBeforeConnecting = Math.min(2 * waitBeforeConnecting, 4000);
}

/** A server that hangs, or a lost network, does not close the connection. */
function reconnectAfterTimeout() {
  if (socket.readyState > WebSocket.OPEN || Date.now() - lastMessageAt < TIMEOUT_MILLISECONDS) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  reconnect();
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function sendClick(box) {
  if (unconfirmed.has(box)) send({ box, checked: unconfirmed.get(box) });
}

/** Sends the chunks in view to the server; a hidden page needs none. */
function show(first, last) {
  const chunks = [];
  if (!document.hidden) {
    for (let chunk = Math.floor(first / boxesPerChunk); chunk * boxesPerChunk <= last; chunk++) chunks.push(chunk);
  }
  if (socket?.readyState !== WebSocket.OPEN || shown === String(chunks)) return;
  shown = String(chunks);
  for (const chunk of bitmaps.keys()) if (!chunks.includes(chunk)) bitmaps.delete(chunk);
  send({ show: chunks });
}

function update(chunk, bitmap) {
  bitmaps.set(chunk, bitmap);
  for (const [row, element] of rows) {
    const first = row * columns;
    if (first < (chunk + 1) * boxesPerChunk && first + columns > chunk * boxesPerChunk) paint(element, true);
  }
}

function receive({ checked, trouble, saved, failed }) {
  for (const [box, wanted] of saved) {
    if (unconfirmed.get(box) !== wanted) continue; // clicked again since
    unconfirmed.delete(box);
    repaint(box);
  }
  for (const box of failed) setTimeout(sendClick, RETRY_MILLISECONDS, box);
  document.getElementById("checked").textContent = written(checked);
  document.getElementById("share").style.transform = `scaleX(${checked / boxes})`;
  if (trouble) showState("trouble", "Storage is unavailable");
  else if (unconfirmed.size) showState("saving", "Saving");
  else showState("live", "Live");
}

function showState(name, text) {
  if (state.dataset.state === name && state.textContent === text) return;
  state.dataset.state = name;
  state.textContent = text;
}

// ---- The visitor

board.addEventListener("change", ({ target }) => {
  const box = Number(target.dataset.box);
  if (!isKnown(box)) {
    target.checked = false;
    return;
  }
  unconfirmed.set(box, target.checked);
  target.setAttribute("aria-busy", "true");
  target.classList.remove("news");
  if (state.dataset.state === "live") showState("saving", "Saving");
  sendClick(box);
});

board.addEventListener("focusin", ({ target }) => moveTabStop(Number(target.dataset.box)));

board.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor((window.innerHeight - header.offsetHeight) / cell) - 1) * columns;
  const steps = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
    PageUp: -page,
    PageDown: page,
    Home: -boxes,
    End: boxes,
  };
  const step = steps[event.key];
  if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  goTo(current + step);
});

document.getElementById("go").addEventListener("submit", (event) => {
  event.preventDefault();
  goTo(document.getElementById("number").valueAsNumber - 1);
});

window.addEventListener("scroll", schedule, { passive: true });
window.addEventListener("resize", layOut);
document.addEventListener("visibilitychange", schedule);
setInterval(reconnectAfterTimeout, 1000);

layOut();
connect();
