// What changes over time: rates, their difference, owners of the IRSs; and the rates of the users in a slot.

// A chart over slots. What does not depend on the slot is drawn once, onto a picture of its own.
class Chart {
  constructor(canvas, data, look, panel) {
    Object.assign(this, { canvas, data, look, panel, still: document.createElement("canvas") });
    this.edge = { left: 40, right: 10, top: 8, bottom: 34 };
  }

  // range: the slots that are shown, from the first to the one after the last
  layout(width, range) {
    Object.assign(this, { width, range, height: this.heightFor(width) });
    this.pen = fit(this.canvas, width, this.height);
    const pen = fit(this.still, width, this.height);
    this.drawStill(pen);
  }

  draw(slot) {
    this.pen.clearRect(0, 0, this.width, this.height);
    this.pen.drawImage(this.still, 0, 0, this.width, this.height);
    this.drawSlot(this.pen, slot);
  }

  // the place of the beginning of a slot
  x(slot) {
    const { left, right } = this.edge, [from, to] = this.range;
    return left + ((slot - from) / (to - from)) * (this.width - left - right);
  }

  slotAt(x) {
    const { left, right } = this.edge, [from, to] = this.range;
    const slot = Math.floor(from + ((x - left) / (this.width - left - right)) * (to - from));
    return Math.min(Math.max(slot, from), to - 1);
  }

  y(value, low, high) {
    const { top, bottom } = this.edge;
    return this.height - bottom - ((value - low) / (high - low)) * (this.height - top - bottom);
  }

  // slots and seconds below
  drawTime(pen) {
    const { look, data, height, edge } = this, [from, to] = this.range, y = height - edge.bottom;
    line(pen, look.muted, 1, edge.left, y, this.width - edge.right, y);
    for (const slot of ticks(from, to - 1, Math.min((this.width - edge.left) / 80, to - from - 1))) {
      const x = this.x(slot + 0.5), last = x > this.width - 62;
      line(pen, look.muted, 1, x, y, x, y + 4);
      write(pen, `${slot}`, x, y + 11, { colour: look.muted, align: "center" });
      const seconds = `${Number((slot * data.slotSeconds).toPrecision(6))} s`;
      if (!last) write(pen, seconds, x, y + 24, { colour: look.muted, align: "center", size: 10 });
    }
    write(pen, "slot", edge.left - 8, y + 11, { colour: look.muted, align: "right" });
  }

  drawValues(pen, low, high, count) {
    const { look, edge } = this;
    const values = ticks(low, high, count), texts = numerals(values);
    for (const [i, value] of values.entries()) {
      const y = this.y(value, low, high);
      line(pen, look.grid, 1, edge.left, y, this.width - edge.right, y);
      write(pen, texts[i], edge.left - 6, y, { colour: look.muted, align: "right", room: edge.left - 6 });
    }
  }

  drawCursor(pen, slot) {
    const [from, to] = this.range;
    if (slot < from || slot >= to) return;
    const left = this.x(slot), right = this.x(slot + 1);
    pen.globalAlpha = 0.16;
    pen.fillStyle = this.look.ink;
    if (right - left > 3) pen.fillRect(left, this.edge.top, right - left, this.height - this.edge.top - this.edge.bottom);
    pen.globalAlpha = 1;
    const x = (left + right) / 2;
    line(pen, this.look.ink, 1.4, x, this.edge.top - 4, x, this.height - this.edge.bottom);
  }

  // a line through a value in each slot
  trace(pen, value, low, high) {
    const [from, to] = this.range;
    pen.beginPath();
    for (let t = from; t < to; t++) pen.lineTo(this.x(t + 0.5), this.y(value(t), low, high));
  }
}

// Rates of the BSs on top of one another, so that the upper edge is the system's; its mean so far as a line.
class Rates extends Chart {
  heightFor(width) {
    return width < 420 ? 170 : 190;
  }

  drawStill(pen) {
    const { data, look, panel } = this, [from, to] = this.range, top = roundUp(data.mostSystem);
    this.drawValues(pen, 0, top, 4);
    const below = new Float64Array(to - from);
    for (let m = 0; m < data.numBs; m++) {
      pen.beginPath();
      for (let t = from; t < to; t++) pen.lineTo(this.x(t + 0.5), this.y(below[t - from], 0, top));
      for (let t = to - 1; t >= from; t--) {
        below[t - from] += panel.sumRate.at(t, m);
        pen.lineTo(this.x(t + 0.5), this.y(below[t - from], 0, top));
      }
      pen.closePath();
      pen.fillStyle = look.bs(m);
      pen.globalAlpha = 0.85;
      pen.fill();
      pen.globalAlpha = 1;
    }
    for (const [colour, width] of [[look.halo, 4], [look.ink, 1.8]]) {
      this.trace(pen, (t) => panel.meanSystem[t], 0, top);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke();
    }
    this.drawTime(pen);
  }

  drawSlot(pen, slot) {
    this.drawCursor(pen, slot);
  }
}

// The first policy's system rate minus the second's.
class Difference extends Chart {
  heightFor(width) {
    return width < 420 ? 150 : 160;
  }

  drawStill(pen) {
    const { data, look, edge } = this, [a, b] = data.panels, [from, to] = this.range;
    let most = 0.01;
    for (let t = 0; t < data.slots; t++) most = Math.max(most, Math.abs(a.system[t] - b.system[t]));
    most = roundUp(most);
    this.most = most;
    this.drawValues(pen, -most, most, 4);
    for (let t = from; t < to; t++) {
      const value = a.system[t] - b.system[t], zero = this.y(0, -most, most), y = this.y(value, -most, most);
      const left = this.x(t), wide = Math.max(this.x(t + 1) - left - (to - from < 200 ? 0.6 : 0), 0.6);
      pen.fillStyle = value >= 0 ? look.accent : look.muted;
      pen.globalAlpha = 0.55;
      pen.fillRect(left, Math.min(y, zero), wide, Math.abs(y - zero));
    }
    pen.globalAlpha = 1;
    line(pen, look.muted, 1, edge.left, this.y(0, -most, most), this.width - edge.right, this.y(0, -most, most));
    for (const [colour, width] of [[look.halo, 4], [look.ink, 1.8]]) {
      this.trace(pen, (t) => a.meanSystem[t] - b.meanSystem[t], -most, most);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke();
    }
    const words = { colour: look.muted, size: 11.5, weight: 600, halo: look.halo };
    write(pen, "A has more", edge.left + 6, edge.top + 8, words);
    write(pen, "B has more", edge.left + 6, this.height - edge.bottom - 9, words);
    this.drawTime(pen);
  }

  drawSlot(pen, slot) {
    this.drawCursor(pen, slot);
  }
}

// A row for each IRS: bids of all BSs now, and its owners over time with a notch where it changes hands.
class Owners extends Chart {
  constructor(...given) {
    super(...given);
    this.edge = { left: 118, right: 40, top: 22, bottom: 34 };
  }

  heightFor(width) {
    const count = this.panel.numIrs;
    this.row = count <= 8 ? 26 : count <= 16 ? 21 : 17;
    if (width < 420) this.edge.left = 100;
    return this.edge.top + this.edge.bottom + count * this.row;
  }

  top(l) {
    return this.edge.top + l * this.row;
  }

  drawStill(pen) {
    const { look, panel, edge, row } = this, head = { colour: look.muted, size: 11 };
    write(pen, "IRS", 2, 9, head);
    write(pen, `bids, \u00b1${Number(panel.mostBid.toPrecision(2))}`, 30, 9, { ...head, room: edge.left - 40 });
    write(pen, "owner over time", edge.left, 9, head);
    write(pen, "changes", this.width - 2, 9, { ...head, align: "right" });
    for (let l = 0; l < panel.numIrs; l++) {
      this.drawOwners(pen, l);
      const [from, to] = this.range, top = this.top(l) + 2;
      const changes = panel.changes[l].filter((t) => t >= from && t < to);
      pen.fillStyle = look.ink;
      pen.globalAlpha = Math.min(Math.max((this.x(to) - this.x(from)) / (8 * changes.length), 0.25), 1); // many hide less
      for (const t of changes) pen.fillRect(this.x(t) - 0.6, top, 1.2, (row - 4) * 0.34);
      pen.globalAlpha = 1;
      const text = `${changes.length}`;
      write(pen, text, this.width - 2, top + row / 2 - 2, { colour: look.muted, size: 11, align: "right" });
    }
    this.drawTime(pen);
  }

  // In each column of points, the shares of the owners of its slots, from the first BS at the bottom on.
  drawOwners(pen, l) {
    const { panel, look, row, data } = this, [from, to] = this.range, top = this.top(l) + 2, height = row - 4;
    const columns = Math.round((this.width - this.edge.left - this.edge.right) * Math.min(devicePixelRatio || 1, 3));
    if (to - from <= columns) {
      for (let t = from, next; t < to; t = next) {
        const owner = panel.owner.at(t, l), holder = panel.holder.at(t, l);
        for (next = t + 1; next < to && panel.owner.at(next, l) === owner && panel.holder.at(next, l) === holder; next++);
        pen.fillStyle = look.bs(owner);
        pen.fillRect(this.x(t), top, this.x(next) - this.x(t), height);
        if (owner >= 0 || holder < 0) continue;
        pen.fillStyle = look.bs(holder); // idle, on its way to this BS
        pen.fillRect(this.x(t), top + height * 0.6, this.x(next) - this.x(t), height * 0.4);
      }
      return;
    }
    const slots = (to - from) / columns, wide = (this.x(to) - this.x(from)) / columns;
    for (let column = 0; column < columns; column++) {
      const count = new Float64Array(data.numBs + 1), [a, b] = [column, column + 1].map((c) => from + Math.round(c * slots));
      for (let t = a; t < b; t++) count[panel.owner.at(t, l) + 1] += 1 / (b - a);
      let y = top + height;
      for (let m = 0; m <= data.numBs; m++) {
        if (!count[m]) continue;
        y -= count[m] * height;
        pen.fillStyle = look.bs(m - 1);
        pen.fillRect(this.x(from) + column * wide, y, wide + 0.1, count[m] * height + 0.1);
      }
    }
  }

  drawSlot(pen, slot) {
    const { panel, look, row, data, edge } = this, wide = edge.left - 44;
    const bar = wide / data.numBs;
    for (let l = 0; l < panel.numIrs; l++) {
      const top = this.top(l), owner = panel.owner.at(slot, l), colour = look.bs(owner), side = Math.min(row - 4, 20);
      pen.fillStyle = colour;
      pen.fillRect(2, top + (row - side) / 2, side, side);
      const size = Math.min(12, side * 0.74);
      write(pen, `${l}`, 2 + side / 2, top + row / 2 + 0.5, { colour: look.on(colour), size, align: "center", weight: 600 });
      const middle = top + row / 2, reach = row / 2 - 2.5;
      line(pen, look.line, 1, 30, middle, 30 + wide, middle);
      for (let m = 0; m < data.numBs; m++) {
        const bid = panel.bids.at(slot, m * panel.numIrs + l);
        const high = Math.max(Math.min(Math.abs(bid) / panel.mostBid, 1) * reach, 0.8);
        pen.fillStyle = look.bs(m);
        pen.fillRect(30 + m * bar + bar * 0.12, bid >= 0 ? middle - high : middle, bar * 0.76, high);
      }
    }
    this.drawCursor(pen, slot);
  }
}

// A column for each user: its rate now, and a line at its mean so far.
class Users extends Chart {
  heightFor(width) {
    this.edge = { left: 40, right: 10, top: 8, bottom: 30 };
    return width < 420 ? 140 : 150;
  }

  column(k) {
    const { left, right } = this.edge;
    return left + (k * (this.width - left - right)) / this.data.numUsers;
  }

  drawStill(pen) {
    const { data, look, edge, height } = this, each = this.column(1) - this.column(0);
    this.top = roundUp(data.mostRate);
    this.drawValues(pen, 0, this.top, 4);
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((x) => x * each >= 11 + 7 * `${data.numUsers}`.length) || 5000;
    for (let k = 0; k < data.numUsers; k += step) {
      write(pen, `${k}`, this.column(k + 0.5), height - edge.bottom + 10, { colour: look.muted, align: "center" });
    }
    write(pen, "user", edge.left - 8, height - edge.bottom + 10, { colour: look.muted, align: "right" });
  }

  drawSlot(pen, slot) {
    const { data, look, panel, top, picked } = this, each = this.column(1) - this.column(0);
    const gap = each > 6 ? each * 0.14 : each * 0.06, zero = this.y(0, 0, top);
    for (let k = 0; k < data.numUsers; k++) {
      const left = this.column(k) + gap, wide = Math.max(each - 2 * gap, 0.5), y = this.y(panel.rates.at(slot, k), 0, top);
      pen.globalAlpha = picked && picked.kind === "user" && picked.i !== k ? 0.3 : 0.85;
      pen.fillStyle = look.bs(data.cell.at(slot, k));
      pen.fillRect(left, y, wide, Math.max(zero - y, 0.8));
      pen.globalAlpha = 1;
      const mean = this.y(panel.meanUser[slot * data.numUsers + k], 0, top);
      line(pen, look.halo, 3.4, left, mean, left + wide, mean);
      line(pen, look.ink, 1.6, left, mean, left + wide, mean);
    }
    line(pen, look.muted, 1, this.edge.left, zero, this.width - this.edge.right, zero);
  }

  slotAt() {
    return null; // its places are users
  }

  userAt(x) {
    const k = Math.floor((x - this.edge.left) / (this.column(1) - this.column(0)));
    return k >= 0 && k < this.data.numUsers ? k : null;
  }
}
