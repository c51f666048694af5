// The page: what is where, what keys and fingers do, and the slot that is shown.

const SPEEDS = [1, 2, 5, 10, 20, 50]; // slots per second
const WINDOWS = [20, 50, 100, 200, 500];
const GAP = 22; // between two maps, CSS pixels
const byId = (id) => document.getElementById(id);

class Player {
  constructor(data) {
    Object.assign(this, { data, slot: 0, playing: false, window: data.slots, picked: null, last: null, frames: [] });
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.speed = this.calm ? 2 : 10;
    this.look = new Look(data.colours);
    this.look.changed = () => this.restyle();
    this.build();
    this.listen();
    this.restyle();
    const watch = new ResizeObserver(() => this.measure());
    watch.observe(document.querySelector("main"));
    watch.observe(byId("controls"));
  }

  // --- what is there

  build() {
    const { data } = this, two = data.panels.length > 1;
    byId("title").textContent = data.title;
    byId("facts").textContent = [...data.facts, `seed ${data.seed}`].join(" · ");
    byId("slot").max = data.slots - 1;
    byId("legend").open = innerWidth > 760; // a telephone has no room for it at first
    this.scores = data.panels.map((panel) => this.buildScore(two ? panel.letter : null, panel.policy, ["now", "mean so far"]));
    if (two) this.scores.push(this.buildScore("A−B", "A minus B", ["now", "mean so far"]));
    byId("panels").classList.toggle("two", two);
    this.maps = [];
    this.charts = [];
    this.rows = [];
    this.details = [];
    for (const panel of data.panels) this.buildMap(panel, two);
    if (two) {
      byId("difference").hidden = false;
      const [a, b] = data.panels;
      const title = [make("span", {}, "System sum rate, A minus B "), make("small", {}, "[bit/s/Hz]; line: mean so far")];
      byId("difference-title").append(...title);
      byId("difference-plot").setAttribute("aria-label", `System sum rate of ${a.policy} minus that of ${b.policy}, slot by slot`);
      this.charts.push(new Difference(byId("difference-plot"), data, this.look, null));
    }
    for (const panel of data.panels) this.buildPanel(panel, two);
    this.buildChoices();
  }

  buildScore(letter, policy, names) {
    const values = names.map((name) => [name, make("dd", {}, "")]);
    const list = make("dl", {}, ...values.map(([name, value]) => make("div", {}, make("dt", {}, name), value)));
    list.lastChild.append(make("dd", { class: "unit" }, "bit/s/Hz"));
    const badge = letter && letter.length === 1 ? [make("span", { class: "badge" }, letter)] : [];
    byId("scores").append(make("div", { class: "score" }, make("div", { class: "name" }, ...badge, make("span", {}, policy)), list));
    return values.map(([, value]) => value);
  }

  buildMap(panel, two) {
    const { data } = this, figure = make("figure");
    if (two && data.map) figure.append(make("figcaption", {}, make("span", { class: "badge" }, panel.letter), make("span", {}, panel.policy)));
    const detail = make("p", { class: "detail" });
    if (data.map) {
      const canvas = make("canvas", { role: "img" });
      figure.append(canvas, detail);
      const view = new MapView(canvas, data, panel, this.look);
      canvas.addEventListener("click", (event) => this.pick(view.find(...within(canvas, event))));
      this.maps.push(view);
    } else {
      const why = "There is no map: the channels of this scenario were recorded without the positions of users.";
      if (!this.details.length) byId("maps").append(make("p", { class: "nomap" }, why));
      figure.append(detail);
    }
    this.details.push(detail);
    byId("maps").append(figure);
  }

  buildPanel(panel, two) {
    const { data, look } = this, section = make("section", { class: "panel" });
    if (two) section.append(make("h2", { class: "policy" }, make("span", { class: "badge" }, panel.letter), make("span", {}, panel.policy)));
    const add = (Kind, title, unit, label) => {
      const canvas = make("canvas", { role: "img", "aria-label": `${label}, policy ${panel.policy}` });
      section.append(make("div", { class: "chart" }, make("h2", {}, `${title} `, make("small", {}, unit)), canvas));
      const chart = new Kind(canvas, data, look, panel);
      this.charts.push(chart);
      return chart;
    };
    add(Rates, "Rates of the BSs, added up", "[bit/s/Hz]; line: mean of the system so far", "Rates of the base stations over time");
    section.append(this.buildTable(panel));
    const users = add(Users, "Rates of the users", "[bit/s/Hz] in this slot; line: mean so far", "Rates of the users in this slot");
    users.canvas.addEventListener("click", (event) => {
      const k = users.userAt(within(users.canvas, event)[0]);
      this.pick(k === null ? null : { kind: "user", i: k });
    });
    if (panel.numIrs) {
      add(Owners, "IRSs", data.delayed ? "bids decide the owner of the next slot" : "", "Bids and owners of the IRSs over time");
    } else section.append(make("p", { class: "none" }, "This policy plays without IRSs."));
    byId("panels").append(section);
  }

  buildTable(panel) {
    const { data } = this, table = make("table"), rows = [];
    table.append(make("thead", {}, make("tr", {}, ...["", "users", "IRSs", "now", "mean", "power [W]"].map((name) => make("th", { scope: "col" }, name)))));
    const body = make("tbody");
    for (let m = 0; m <= data.numBs; m++) {
      const cells = Array.from({ length: 5 }, () => make("td"));
      const swatch = make("i", { class: "swatch" }), first = make("td");
      if (m < data.numBs) first.append(swatch, `BS ${m}`);
      else first.append("system");
      body.append(make("tr", m < data.numBs ? {} : { class: "system" }, first, ...cells));
      rows.push({ swatch, cells });
    }
    table.append(body);
    this.rows.push(rows);
    return table;
  }

  buildChoices() {
    const { data } = this, { numIrs } = data.panels.reduce((a, b) => (b.numIrs > a.numIrs ? b : a));
    for (const speed of SPEEDS) byId("speed").append(make("option", { value: speed }, `${speed}/s`));
    byId("speed").value = this.speed;
    for (const count of WINDOWS.filter((x) => x < data.slots)) byId("window").append(make("option", { value: count }, `${count}`));
    byId("window").append(make("option", { value: data.slots }, "all"));
    byId("window").value = data.slots;
    byId("pick").append(make("option", { value: "" }, "\u2013"));
    for (const [kind, name, count] of [["irs", "IRS", numIrs], ["user", "user", data.numUsers]]) {
      for (let i = 0; i < count; i++) byId("pick").append(make("option", { value: `${kind}-${i}` }, `${name} ${i}`));
    }
  }

  buildLegend() {
    const { data, look } = this, list = byId("marks"), view = this.maps[0];
    list.replaceChildren();
    const some = data.panels.some((panel) => panel.numIrs);
    const mark = (text, width, paint) => {
      const canvas = document.createElement("canvas");
      const pen = fit(canvas, width, 24);
      pen.translate(width / 2, 12);
      paint(pen);
      canvas.setAttribute("aria-hidden", "true");
      list.append(make("li", {}, canvas, text));
    };
    if (view) {
      const round = (rate) => (pen) => {
        pen.beginPath();
        pen.arc(0, 0, view.radius(rate), 0, 7);
        pen.fillStyle = look.muted;
        pen.fill();
      };
      const most = roundUp(data.mostRate * 0.5);
      mark("user at rate 0", 14, round(0));
      mark(`at ${Number(most.toPrecision(3))} bit/s/Hz; colour: the BS of its cell`, 28, round(most));
      mark(`its last ${data.trail} slots`, 26, (pen) => [0, 1, 2, 3, 4].forEach((i) => dot(pen, look.muted, 5 * i - 10, 4 - 2 * i, 1.5)));
      if (data.shaded) mark("ground: the nearest BS", 22, (pen) => {
        pen.globalAlpha = Number(look.shade);
        pen.fillStyle = look.bs(0);
        pen.fillRect(-10, -8, 20, 16);
      });
    }
    if (some) {
      const square = (fill, edge, width) => (pen) => {
        pen.fillStyle = fill;
        pen.fillRect(-7, -7, 14, 14);
        pen.strokeStyle = edge;
        pen.lineWidth = width;
        pen.strokeRect(-7, -7, 14, 14);
      };
      mark("IRS in the colour of its owner", 18, square(look.bs(0), look.ink, 1));
      if (view && data.panels.some((panel) => panel.facing)) {
        mark("the way it faces", 26, (pen) => { line(pen, look.ink, 2, -4, 0, 12, 0); pen.translate(-5, 0); square(look.bs(0), look.ink, 1)(pen); });
      }
      mark("IRS without an owner in this slot", 18, square(look.idle, look.ink, 1));
      if (data.panels.some((panel) => panel.holder.raw.some((bs, i) => bs !== panel.owner.raw[i]))) {
        mark("idle, being set up for this BS", 20, square(look.idle, look.bs(0), 2.6));
      }
      if (view) {
        mark("BS and an IRS it owns", 30, (pen) => line(pen, look.bs(0), 2.6, -14, 0, 14, 0));
        const who = data.allReflect ? "any user it reflects to" : "a user it serves";
        mark(`IRS and ${who}: the thicker, the more of the user's signal comes over it (from ${Math.round(100 * LEAST_SHARE)} % on)`, 30, (pen) => {
          line(pen, look.bs(0), 0.8, -14, -5, 14, -5);
          line(pen, look.bs(0), 5, -14, 4, 14, 4);
        });
        mark("this path works against the others", 30, (pen) => {
          pen.setLineDash([3, 3]);
          line(pen, look.bs(0), 1.5, -14, 0, 14, 0);
        });
      }
      mark("bids of BS 0, 1 ..., above the line: above 0", 30, (pen) => {
        line(pen, look.line, 1, -14, 0, 14, 0);
        pen.fillStyle = look.bs(0);
        pen.fillRect(-11, -9, 9, 9);
        pen.fillStyle = look.bs(1);
        pen.fillRect(2, 0, 9, 5);
      });
      mark("the IRS changes hands", 22, (pen) => {
        pen.fillStyle = look.bs(0);
        pen.fillRect(-10, -7, 10, 14);
        pen.fillStyle = look.bs(1);
        pen.fillRect(0, -7, 10, 14);
        pen.fillStyle = look.ink;
        pen.fillRect(-0.6, -7, 1.2, 5);
      });
    }
    if (data.recorded && view) list.append(make("li", {}, "Channels are recorded ones; BSs and IRSs stand where the scenario's fields put them."));
  }

  // --- sizes and colours

  restyle() {
    byId("theme").textContent = this.look.dark ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", this.look.dark ? "Use light colours" : "Use dark colours");
    for (const rows of this.rows) for (const [m, { swatch }] of rows.entries()) swatch.style.background = this.look.bs(m);
    this.width = 0;
    this.measure();
    if (byId("marks")) this.buildLegend();
  }

  measure() {
    const style = getComputedStyle(document.querySelector("main"));
    document.body.style.paddingBottom = `${byId("controls").offsetHeight + 28}px`;
    const width = document.querySelector("main").clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    document.documentElement.style.scrollPaddingBottom = document.body.style.paddingBottom; // nothing in focus is behind it
    if (width === this.width || width < 50) return;
    this.width = width;
    if (this.maps.length) {
      const height = Math.min(Math.max(innerHeight * 0.66, 330), 620);
      const one = this.maps.length === 1 && width > 900 && (this.data.box[2] - this.data.box[0]) / (this.data.box[3] - this.data.box[1] || 1) < 1.7
        && (this.data.box[3] - this.data.box[1]) / (this.data.box[2] - this.data.box[0] || 1) < 1.7;
      const plan = planMaps(this.data.box, this.maps.length, one ? width * 0.48 : width, height, GAP);
      byId("maps").classList.toggle("beside", plan.beside);
      document.querySelector("main").classList.toggle("one", one); // its numbers stand beside the map
      for (const map of this.maps) map.layout(plan);
    }
    this.range = null;
    this.draw();
    this.buildLegend();
  }

  // the slots that charts show: all, or so many around the present one
  ranged() {
    const { slots } = this.data, size = Math.min(this.window, slots);
    const from = Math.min(Math.max(this.slot - Math.floor(size / 2), 0), slots - size);
    return [from, from + size];
  }

  // --- a slot

  seek(slot, spoken = true) {
    this.slot = Math.min(Math.max(Math.round(slot), 0), this.data.slots - 1);
    this.draw();
    if (spoken && !this.playing) byId("spoken").textContent = this.inWords();
  }

  draw() {
    const before = performance.now(), { data, slot } = this, range = this.ranged();
    if (!this.range || range[0] !== this.range[0] || range[1] !== this.range[1]) {
      this.range = range;
      for (const chart of this.charts) chart.layout(chart.canvas.parentElement.clientWidth, range);
    }
    for (const map of this.maps) map.draw(slot);
    for (const chart of this.charts) chart.draw(slot);
    this.drawTexts();
    this.frames.push(performance.now() - before);
    if (this.frames.length > 1000) this.frames.shift();
  }

  drawTexts() {
    const { data, slot } = this, [a, b] = data.panels, slider = byId("slot");
    slider.value = slot;
    const seconds = `${Number((slot * data.slotSeconds).toPrecision(6))} s`;
    slider.setAttribute("aria-valuetext", `slot ${slot}, ${seconds}`);
    byId("now").replaceChildren(`slot ${slot} `, make("small", {}, `of 0–${data.slots - 1} · ${seconds}`));
    for (const [i, panel] of data.panels.entries()) {
      this.scores[i][0].textContent = fixed(panel.system[slot]);
      this.scores[i][1].textContent = fixed(panel.meanSystem[slot]);
      this.drawTable(panel, this.rows[i]);
      if (data.map) this.maps[i].canvas.setAttribute("aria-label", `Map of policy ${panel.policy}, slot ${slot}`);
      this.details[i].textContent = this.picked ? (data.map || !b ? "" : `${panel.letter}: `) + this.describe(panel) : i ? "" : data.map ? "Select an IRS or a user on the map to see its numbers." : "";
    }
    if (b) {
      this.scores[2][0].textContent = signed(a.system[slot] - b.system[slot]);
      this.scores[2][1].textContent = signed(a.meanSystem[slot] - b.meanSystem[slot]);
    }
  }

  drawTable(panel, rows) {
    const { data, slot } = this, users = new Array(data.numBs).fill(0), irs = new Array(data.numBs).fill(0);
    for (let k = 0; k < data.numUsers; k++) users[data.cell.at(slot, k)]++;
    for (let l = 0; l < panel.numIrs; l++) if (panel.owner.at(slot, l) >= 0) irs[panel.owner.at(slot, l)]++;
    const add = (list) => list.reduce((x, y) => x + y, 0);
    let power = 0;
    for (const [m, { cells }] of rows.entries()) {
      const all = m === data.numBs;
      if (!all) power += panel.power.at(slot, m);
      const texts = [
        all ? add(users) : users[m], all ? add(irs) : irs[m],
        fixed(all ? panel.system[slot] : panel.sumRate.at(slot, m)),
        fixed(all ? panel.meanSystem[slot] : panel.meanBs[slot * data.numBs + m]),
        Number((all ? power : panel.power.at(slot, m)).toPrecision(3)),
      ];
      for (const [i, text] of texts.entries()) cells[i].textContent = text;
    }
  }

  // --- what is marked

  pick(found) {
    this.picked = found && !(this.picked && this.picked.kind === found.kind && this.picked.i === found.i) ? found : null;
    for (const view of [...this.maps, ...this.charts]) view.picked = this.picked;
    byId("pick").value = this.picked ? `${this.picked.kind}-${this.picked.i}` : "";
    this.draw();
  }

  describe(panel) {
    const { data, slot, picked: { kind, i } } = this, who = (m) => (m < 0 ? "nobody" : `BS ${m}`);
    const share = (l, k) => panel.shares.at(slot, l * data.numUsers + k), percent = (x) => `${fixed(100 * x, 0)} %`;
    if (kind === "irs") {
      if (i >= panel.numIrs) return `There is no IRS ${i}.`;
      const owner = panel.owner.at(slot, i), holder = panel.holder.at(slot, i);
      const bids = Array.from({ length: data.numBs }, (_, m) => `BS ${m} ${signed(panel.bids.at(slot, m * panel.numIrs + i))}`);
      const served = Array.from({ length: data.numUsers }, (_, k) => [share(i, k), k]).filter(([x]) => Math.abs(x) >= 0.005);
      served.sort((x, y) => y[0] - x[0]);
      const users = served.slice(0, 6).map(([x, k]) => `user ${k} ${percent(x)}`).join(", ");
      const waits = owner < 0 && holder >= 0 ? `, being set up for ${who(holder)}` : "";
      return `IRS ${i}: owner ${who(owner)}${waits}. Bids: ${bids.join(", ")}. ` + (users ? `Share of signals: ${users}${served.length > 6 ? " ..." : ""}.` : "It brings nobody a signal.");
    }
    const cell = data.cell.at(slot, i), parts = [];
    let rest = 1;
    for (let l = 0; l < panel.numIrs; l++) {
      rest -= share(l, i);
      if (Math.abs(share(l, i)) >= 0.005) parts.push([share(l, i), l]);
    }
    parts.sort((x, y) => y[0] - x[0]);
    const over = parts.slice(0, 6).map(([x, l]) => `IRS ${l} ${percent(x)}`);
    const rate = panel.rates.at(slot, i);
    const signal = rate > 0 ? ` Of its signal: ${["direct " + percent(rest), ...over].join(", ")}.` : "";
    return `User ${i} of BS ${cell}: ${fixed(rate)} bit/s/Hz, mean so far ${fixed(panel.meanUser[slot * data.numUsers + i])}.${signal}`;
  }

  inWords() {
    const { data, slot } = this;
    const rates = data.panels.map((panel) => `${panel.policy} ${fixed(panel.system[slot])}`).join(", ");
    return `Slot ${slot}: ${rates} bit/s/Hz. ${this.picked ? data.panels.map((panel) => this.describe(panel)).join(" ") : ""}`;
  }

  // --- keys, fingers, time

  listen() {
    byId("slot").addEventListener("input", (event) => this.seek(Number(event.target.value)));
    for (const [id, act] of [["first", () => this.seek(0)], ["back", () => this.seek(this.slot - 1)], ["forward", () => this.seek(this.slot + 1)],
      ["last", () => this.seek(this.data.slots - 1)], ["play", () => this.toggle()], ["theme", () => this.turn()]]) {
      byId(id).addEventListener("click", act);
    }
    byId("speed").addEventListener("change", (event) => { this.speed = Number(event.target.value); });
    byId("window").addEventListener("change", (event) => { this.window = Number(event.target.value); this.draw(); });
    byId("pick").addEventListener("change", (event) => {
      const [kind, i] = event.target.value.split("-");
      this.picked = null;
      this.pick(kind ? { kind, i: Number(i) } : null);
    });
    document.addEventListener("keydown", (event) => this.key(event));
    for (const when of ["beforeprint", "afterprint"]) addEventListener(when, () => this.print(when === "beforeprint"));
    for (const chart of this.charts) this.drag(chart);
  }

  // paper is white
  print(begins) {
    if (begins) this.screen = this.look.dark;
    if (this.screen) {
      this.look.choose(!begins);
      this.restyle();
    }
  }

  turn() {
    this.look.choose(!this.look.dark);
    this.restyle();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const step = event.shiftKey ? 10 : 1, end = this.data.slots - 1;
    const acts = {
      " ": () => this.toggle(), ArrowLeft: () => this.seek(this.slot - step), ArrowRight: () => this.seek(this.slot + step),
      Home: () => this.seek(0), End: () => this.seek(end), PageUp: () => this.seek(this.slot - 10), PageDown: () => this.seek(this.slot + 10),
      d: () => this.turn(), Escape: () => this.pick(null),
    };
    const pressed = event.key === " " && ["BUTTON", "SUMMARY"].includes(event.target.tagName); // these have their own
    if (!acts[event.key] || pressed) return;
    event.preventDefault();
    acts[event.key]();
  }

  // a finger or a mouse that is drawn along a chart moves the slot
  drag(chart) {
    const follow = (event) => {
      const slot = chart.slotAt(within(chart.canvas, event)[0]);
      if (slot !== null) this.seek(slot);
    };
    chart.canvas.addEventListener("pointerdown", (event) => {
      if (chart.slotAt(0) === null) return;
      chart.canvas.setPointerCapture(event.pointerId);
      follow(event);
    });
    chart.canvas.addEventListener("pointermove", (event) => {
      if (chart.canvas.hasPointerCapture(event.pointerId)) follow(event);
    });
  }

  toggle() {
    if (!this.playing && this.slot === this.data.slots - 1) this.seek(0);
    this.playing = !this.playing;
    document.body.classList.toggle("playing", this.playing);
    byId("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.last = null;
    cancelAnimationFrame(this.waiting);
    if (this.playing) this.waiting = requestAnimationFrame((now) => this.tick(now));
    else byId("spoken").textContent = this.inWords();
  }

  tick(now) {
    if (!this.playing) return;
    if (this.last === null) this.last = now;
    const due = Math.floor(((now - this.last) / 1000) * this.speed);
    if (due > 0) {
      this.last = due > 5 ? now : this.last + (1000 * due) / this.speed; // a page that slept does not run after
      this.seek(this.slot + Math.min(due, 5));
      if (this.slot === this.data.slots - 1) return this.toggle();
    }
    this.waiting = requestAnimationFrame((next) => this.tick(next));
  }
}

// Where an event is on a canvas, in CSS pixels.
function within(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

load()
  .then((data) => { window.irsReplay = new Player(data); })
  .catch((error) => {
    byId("problem").hidden = false;
    byId("problem").textContent = `This replay cannot be shown here: ${error.message || error}. It needs a browser of 2023 or later.`;
    console.error(error);
  });
