// Colours of both themes, and canvases that are sharp on every screen.

// the same hues on a dark ground: light enough to be told apart there
const ON_DARK = {
  "#0072B2": "#3A94DB", "#D55E00": "#EC7A1C", "#009E73": "#1DB88C", "#CC79A7": "#E39CC4", "#E69F00": "#F0B429",
  "#56B4E9": "#93D5FF", "#882255": "#C2437F", "#000000": "#F4F4F4",
};
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

class Look {
  constructor(colours) {
    this.colours = colours;
    const system = matchMedia("(prefers-color-scheme: dark)");
    this.choose(system.matches);
    system.addEventListener("change", () => {
      this.choose(system.matches);
      if (this.changed) this.changed();
    });
  }

  choose(dark) {
    this.dark = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "raised", "ink", "muted", "line", "grid", "idle", "halo", "accent", "shade"]) {
      this[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  // the colour of a BS; of nobody (-1) that of idle IRSs
  bs(m) {
    if (m < 0) return this.idle;
    const colour = this.colours[m % this.colours.length];
    return this.dark ? ON_DARK[colour] || colour : colour;
  }

  // black or white, whichever can be read on a colour
  on(colour) {
    const [r, g, b] = rgb(colour).map((x) => (x / 255 <= 0.04 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.27 ? "#000000" : "#ffffff";
  }
}

function rgb(colour) {
  const digits = colour.length === 4 ? [...colour.slice(1)].map((x) => x + x).join("") : colour.slice(1);
  return [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16));
}

// A canvas of so many CSS pixels, with as many points as the screen has; drawn in CSS pixels.
function fit(canvas, width, height) {
  const ratio = Math.min(Math.max(devicePixelRatio || 1, 1), 3);
  const points = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== points[0] || canvas.height !== points[1]) [canvas.width, canvas.height] = points;
  if (canvas.style) {
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.lineJoin = "round";
  pen.clearRect(0, 0, width, height);
  return pen;
}

// room: how wide the text may be; a wider one is drawn narrower
function write(pen, text, x, y, { colour, size = 11, align = "left", weight = 400, base = "middle", halo, room } = {}) {
  pen.font = `${weight} ${size}px ${FONT}`;
  pen.textAlign = align;
  pen.textBaseline = base;
  if (halo) {
    pen.strokeStyle = halo;
    pen.lineWidth = 3;
    pen.strokeText(text, x, y, room);
  }
  pen.fillStyle = colour;
  pen.fillText(text, x, y, room);
}

// Round numbers for about so many marks between two ends.
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// The next round number from a value on.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((x) => x * power >= value * 0.9999);
}

function minus(text) {
  return `${text}`.replaceAll("-", "\u2212");
}

function fixed(value, digits = 2) {
  return minus(value.toFixed(digits));
}

// Numbers of an axis, all with as many decimals; where they are very large or very small, with powers of ten.
function numerals(values) {
  const most = Math.max(...values.map(Math.abs));
  if (most >= 1e5 || (most > 0 && most < 1e-3)) {
    return values.map((value) => (value ? minus(Number(value.toPrecision(3)).toExponential().replace("e+", "e")) : "0"));
  }
  const digits = Math.max(...values.map((value) => (`${Math.abs(value)}`.split(".")[1] || "").length));
  return values.map((value) => fixed(value, digits));
}

function signed(value) {
  return (value < 0 ? "" : "+") + fixed(value);
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
