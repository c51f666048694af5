// The map of one policy: users with their trails, cells, BSs, IRSs in the colour of their owner, links.

const EDGE = { left: 46, right: 14, top: 26, bottom: 36 }; // room for the marks of the axes, in CSS pixels
const LEAST_SHARE = 0.03; // of a link that is drawn

// Width and height of each map for a page, whether maps stand beside each other, and whether x and y change places:
// whatever shows a metre largest.
function planMaps(box, count, width, height, gap) {
  const wide = box[2] - box[0] || 1, deep = box[3] - box[1] || 1;
  let best = null;
  for (const turned of [false, true]) {
    const [across, up] = turned ? [deep, wide] : [wide, deep];
    for (const beside of count > 1 ? [true, false] : [false]) {
      const w = (beside ? (width - gap) / 2 : width) - EDGE.left - EDGE.right;
      const h = (beside || count === 1 ? height : Math.max(height * 0.62, 200)) - EDGE.top - EDGE.bottom;
      const scale = Math.min(w / across, h / up) * (turned ? 0.9 : 1); // as it is, where little is lost
      if (!best || scale > best.rank) best = { rank: scale, scale: Math.min(w / across, h / up), turned, beside };
    }
  }
  const [across, up] = best.turned ? [deep, wide] : [wide, deep];
  const size = [across * best.scale + EDGE.left + EDGE.right, up * best.scale + EDGE.top + EDGE.bottom];
  return { ...best, width: Math.round(size[0]), height: Math.round(size[1]) };
}

class MapView {
  constructor(canvas, data, panel, look) {
    Object.assign(this, { canvas, data, panel, look, still: document.createElement("canvas"), picked: null });
  }

  layout(plan) {
    this.plan = plan;
    this.pen = fit(this.canvas, plan.width, plan.height);
    const crowd = Math.max(this.data.numUsers / 14, 1);
    const short = Math.min(plan.width, plan.height);
    this.userRadius = [Math.max(3.4 / crowd ** 0.25, 2), Math.max(Math.min(short / 30, 13) / crowd ** 0.27, 3.5)];
    this.irsSide = Math.min(Math.max(19 - this.panel.numIrs / 4, 12), Math.max(short / 16, 12));
    this.bsSide = this.data.numBs > 12 ? 12 : 17;
    this.bsAt = this.data.bs.map((place) => this.toScreen(place[0], place[1]));
    const places = this.panel.irs.map((place) => this.toScreen(place[0], place[1]));
    this.irsPlaces = places;
    this.irsAt = spread(places, this.irsSide + 1.5, this.bsAt, this.irsSide / 2 + this.bsSide / 2, plan);
    this.drawStill();
  }

  toScreen(x, y) {
    const { box } = this.data, { scale, turned, height } = this.plan;
    const [across, up] = turned ? [y - box[1], x - box[0]] : [x - box[0], y - box[1]];
    return [EDGE.left + across * scale, height - EDGE.bottom - up * scale];
  }

  userPlace(slot, k) {
    const { box, position } = this.data;
    return this.toScreen(box[0] + position.at(slot, 2 * k), box[1] + position.at(slot, 2 * k + 1));
  }

  radius(rate) {
    const [least, most] = this.userRadius;
    return Math.sqrt(least ** 2 + (most ** 2 - least ** 2) * Math.min(rate / (this.data.mostRate || 1), 1));
  }

  // --- what stays: ground, cells, axes

  drawStill() {
    const { data, look, plan } = this, pen = fit(this.still, plan.width, plan.height);
    const { scale, turned, width, height } = plan, { box } = data;
    const inner = [EDGE.left, EDGE.top, width - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom];
    pen.fillStyle = look.raised;
    pen.fillRect(...inner);
    if (data.shaded) this.shade(pen, inner);
    pen.strokeStyle = look.line;
    pen.lineWidth = 1;
    pen.strokeRect(...inner);
    const ends = turned ? [box[1], box[3], box[0], box[2]] : [box[0], box[2], box[1], box[3]];
    const [unit, metres] = Math.max(...box.map(Math.abs)) >= 1e4 ? ["km", 1000] : ["m", 1];
    const names = (turned ? ["y", "x"] : ["x", "y"]).map((name) => `${name} [${unit}]`);
    const across = ticks(ends[0], ends[1], inner[2] / 70), up = ticks(ends[2], ends[3], inner[3] / 50);
    for (const [i, text] of numerals(across.map((at) => at / metres)).entries()) {
      const x = inner[0] + (across[i] - ends[0]) * scale;
      line(pen, look.muted, 1, x, height - EDGE.bottom, x, height - EDGE.bottom + 4);
      if (x + 3.5 * text.length > width - EDGE.right - 38) continue; // the name stands there
      write(pen, text, x, height - EDGE.bottom + 18, { colour: look.muted, align: "center" });
    }
    for (const [i, text] of numerals(up.map((at) => at / metres)).entries()) {
      const y = height - EDGE.bottom - (up[i] - ends[2]) * scale;
      line(pen, look.muted, 1, EDGE.left - 4, y, EDGE.left, y);
      write(pen, text, EDGE.left - 13, y, { colour: look.muted, align: "right", room: EDGE.left - 13 });
    }
    write(pen, names[0], width - EDGE.right, height - EDGE.bottom + 18, { colour: look.muted, align: "right" });
    write(pen, names[1], EDGE.left - 8, 8, { colour: look.muted, align: "right" });
  }

  // Cells are where a BS is the nearest one, in three dimensions.
  shade(pen, [left, top, width, height]) {
    const { data, look, plan } = this, step = 2;
    const columns = Math.ceil(width / step), rows = Math.ceil(height / step);
    const picture = new ImageData(columns, rows), ground = rgb(look.raised), shade = Number(look.shade);
    const tones = data.bs.map((_, m) => rgb(look.bs(m)).map((x, i) => ground[i] + shade * (x - ground[i])));
    const rise = data.bs.map((place) => (place[2] - data.userHeight) ** 2);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const across = ((column + 0.5) * step) / plan.scale, up = (height - (row + 0.5) * step) / plan.scale;
        const [x, y] = plan.turned ? [data.box[0] + up, data.box[1] + across] : [data.box[0] + across, data.box[1] + up];
        let best = 0, least = Infinity;
        for (let m = 0; m < data.numBs; m++) {
          const far = (data.bs[m][0] - x) ** 2 + (data.bs[m][1] - y) ** 2 + rise[m];
          if (far < least) [best, least] = [m, far];
        }
        picture.data.set([...tones[best], 255], 4 * (row * columns + column));
      }
    }
    const small = document.createElement("canvas");
    [small.width, small.height] = [columns, rows];
    small.getContext("2d").putImageData(picture, 0, 0);
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, left, top, columns * step, rows * step);
    pen.restore();
  }

  // --- a slot

  draw(slot) {
    const { pen, plan, data } = this;
    pen.clearRect(0, 0, plan.width, plan.height);
    pen.drawImage(this.still, 0, 0, plan.width, plan.height);
    this.slot = slot;
    this.userAt = Array.from({ length: data.numUsers }, (_, k) => this.userPlace(slot, k));
    this.drawTrails(slot);
    this.drawLinks(slot);
    this.drawIrs(slot);
    this.drawUsers(slot);
    this.drawBs();
    this.drawPicked();
  }

  drawTrails(slot) {
    const { pen, data, look } = this, from = Math.max(0, slot - data.trail), size = this.userRadius[0] * 0.42;
    const side = 1.77 * size, few = data.numUsers <= 32; // of many, a square as large as the dot: it is drawn far faster
    const colours = data.bs.map((_, m) => look.bs(m));
    for (let t = from; t < slot; t++) {
      pen.globalAlpha = 0.15 + (0.55 * (t - from)) / data.trail;
      for (let k = 0; k < data.numUsers; k++) {
        const [x, y] = this.userPlace(t, k);
        if (few) dot(pen, colours[data.cell.at(t, k)], x, y, size);
        else {
          pen.fillStyle = colours[data.cell.at(t, k)];
          pen.fillRect(x - side / 2, y - side / 2, side, side);
        }
      }
    }
    pen.globalAlpha = 1;
  }

  // whether a link belongs to what is marked; everything does where nothing is
  shown(l, k) {
    const { picked } = this;
    return !picked || (picked.kind === "irs" ? picked.i === l : k === null || picked.i === k);
  }

  drawLinks(slot) {
    const { pen, panel, look, data } = this, thin = Math.max(1, (panel.numIrs * data.numUsers) / (60 * data.numBs)) ** 0.35;
    for (let l = 0; l < panel.numIrs; l++) {
      const owner = panel.owner.at(slot, l), colour = look.bs(owner);
      if (owner >= 0) {
        pen.globalAlpha = this.shown(l, null) ? 0.75 : 0.15;
        line(pen, colour, 2.6 / thin, ...this.bsAt[owner], ...this.irsAt[l]);
      }
      for (let k = 0; k < data.numUsers; k++) {
        const share = panel.shares.at(slot, l * data.numUsers + k);
        if (Math.abs(share) < LEAST_SHARE || !this.shown(l, k)) continue;
        pen.globalAlpha = this.picked ? 0.95 : 0.3 + 0.6 * Math.min(Math.abs(share), 1);
        if (share < 0) pen.setLineDash([3, 3]);
        line(pen, colour, (0.8 + 5 * Math.min(Math.abs(share), 1)) / thin, ...this.irsAt[l], ...this.userAt[k]);
        pen.setLineDash([]);
      }
    }
    pen.globalAlpha = 1;
  }

  drawUsers(slot) {
    const { pen, data, panel, look } = this;
    const order = Array.from({ length: data.numUsers }, (_, k) => k);
    order.sort((a, b) => panel.rates.at(slot, b) - panel.rates.at(slot, a)); // small ones on top
    for (const k of order) {
      pen.beginPath();
      pen.arc(...this.userAt[k], this.radius(panel.rates.at(slot, k)), 0, 7);
      pen.fillStyle = look.bs(data.cell.at(slot, k));
      pen.fill();
      pen.strokeStyle = look.halo;
      pen.lineWidth = 1.2;
      pen.stroke();
    }
    if (data.numUsers > 16) return;
    for (const k of order) {
      const [x, y] = this.userAt[k], r = this.radius(panel.rates.at(slot, k));
      write(pen, `${k}`, x + r * 0.75 + 2, y - r * 0.75 - 3, { colour: look.ink, size: 10.5, halo: look.halo });
    }
  }

  drawIrs(slot) {
    const { pen, panel, look, irsSide: side } = this;
    for (let l = 0; l < panel.numIrs; l++) {
      const [x, y] = this.irsAt[l], [placeX, placeY] = this.irsPlaces[l];
      if (Math.hypot(x - placeX, y - placeY) > 2) {
        line(pen, look.ink, 1, placeX, placeY, x, y);
        dot(pen, look.ink, placeX, placeY, 1.6);
      }
      if (panel.facing) this.drawFacing(x, y, panel.facing[l]);
    }
    for (let l = 0; l < panel.numIrs; l++) {
      const [x, y] = this.irsAt[l], owner = panel.owner.at(slot, l), holder = panel.holder.at(slot, l);
      const colour = look.bs(owner);
      pen.fillStyle = colour;
      pen.fillRect(x - side / 2, y - side / 2, side, side);
      const waiting = owner < 0 && holder >= 0;
      pen.strokeStyle = waiting ? look.bs(holder) : look.ink;
      pen.lineWidth = waiting ? 2.6 : 1;
      pen.strokeRect(x - side / 2, y - side / 2, side, side);
      const size = Math.min(side * 0.68, (side * 1.45) / `${l}`.length);
      write(pen, `${l}`, x, y + 0.5, { colour: look.on(colour), size, align: "center", weight: 600 });
    }
  }

  drawFacing(x, y, [east, north]) {
    const [right, up] = this.plan.turned ? [north, east] : [east, north];
    line(this.pen, this.look.ink, 2, x, y, x + right * this.irsSide, y - up * this.irsSide);
  }

  drawBs() {
    const { pen, look, data, bsSide: side, plan } = this;
    for (const [m, [x, y]] of this.bsAt.entries()) {
      pen.beginPath();
      pen.moveTo(x, y - side * 0.62);
      pen.lineTo(x + side * 0.56, y + side * 0.42);
      pen.lineTo(x - side * 0.56, y + side * 0.42);
      pen.closePath();
      pen.fillStyle = look.bs(m);
      pen.fill();
      pen.strokeStyle = look.ink;
      pen.lineWidth = 1.1;
      pen.stroke();
      const text = data.numBs <= 12 && plan.width > 260 ? `BS ${m}` : `${m}`;
      const inward = x < plan.width * 0.25 ? 1 : x > plan.width * 0.75 ? -1 : 0;
      const below = y < plan.height * 0.4;
      const beside = inward ? [x + inward * (side * 0.62 + 3), y] : [x, y + (below ? side * 0.95 : -side * 1.05)];
      const align = inward > 0 ? "left" : inward < 0 ? "right" : "center";
      write(pen, text, ...beside, { colour: look.ink, size: 12, weight: 700, align, halo: look.halo });
    }
  }

  drawPicked() {
    if (!this.picked) return;
    const { kind, i } = this.picked, at = kind === "irs" ? this.irsAt[i] : this.userAt[i];
    if (!at) return;
    const { pen, look } = this;
    pen.beginPath();
    pen.arc(...at, kind === "irs" ? this.irsSide * 0.95 : this.radius(this.panel.rates.at(this.slot, i)) + 4, 0, 7);
    pen.strokeStyle = look.accent;
    pen.lineWidth = 2.5;
    pen.stroke();
  }

  // The IRS or user at a place on the screen, if there is one.
  find(x, y) {
    let best = null, least = 16;
    const near = (kind, places) => {
      for (const [i, at] of places.entries()) {
        const far = Math.hypot(at[0] - x, at[1] - y);
        if (far < least) [best, least] = [{ kind, i }, far];
      }
    };
    near("user", this.userAt || []);
    near("irs", this.irsAt || []);
    return best;
  }
}

function line(pen, colour, width, x, y, toX, toY) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(toX, toY);
  pen.stroke();
}

function dot(pen, colour, x, y, radius) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
}

// Places that lie at least so far apart, and so far from others, each as near to its own as that allows.
function spread(places, apart, others, fromOthers, plan) {
  const found = places.map((at) => [...at]);
  if (places.length > 300) return found;
  for (let round = 0; round < 80; round++) {
    let moved = false;
    for (let i = 0; i < found.length; i++) {
      for (let j = i + 1; j < found.length; j++) moved = push(found[i], found[j], apart, 0.5, i + j) || moved;
      for (const other of others) moved = push(found[i], [...other], fromOthers, 1, i) || moved;
      found[i][0] = Math.min(Math.max(found[i][0], apart / 2), plan.width - apart / 2);
      found[i][1] = Math.min(Math.max(found[i][1], apart / 2), plan.height - apart / 2);
    }
    if (!moved) break;
  }
  return found;
}

// Two squares that overlap are pushed apart along the way between them.
function push(a, b, apart, part, turn) {
  let dx = a[0] - b[0], dy = a[1] - b[1];
  const gap = apart - Math.max(Math.abs(dx), Math.abs(dy));
  if (gap <= 0.01) return false;
  if (Math.hypot(dx, dy) < 0.01) [dx, dy] = [Math.cos(turn), Math.sin(turn)];
  const size = Math.max(Math.abs(dx), Math.abs(dy));
  const [stepX, stepY] = [(dx / size) * (gap + 0.02), (dy / size) * (gap + 0.02)];
  a[0] += stepX * part;
  a[1] += stepY * part;
  b[0] -= stepX * part;
  b[1] -= stepY * part;
  return true;
}
