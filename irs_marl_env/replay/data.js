// The numbers of the file: JSON that says what is what, and one block of packed integers.

const KINDS = {
  u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array, f4: Float32Array, u4: Uint32Array, i4: Int32Array,
};

async function unpack(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// Integers of an entry, as they were before differences were taken; value(i) makes a number of one.
class Numbers {
  constructor(entry, buffer) {
    const size = entry.shape.reduce((product, length) => product * length, 1);
    this.step = entry.step;
    this.origin = entry.origin;
    this.row = entry.shape.slice(1).reduce((product, length) => product * length, 1); // entries of a slot
    this.raw = new KINDS[entry.type](buffer, entry.at, size);
    if (entry.delta) {
      for (let i = this.row; i < size; i++) this.raw[i] += this.raw[i - this.row]; // modulo the type, as they were made
    }
  }

  at(slot, i) {
    return this.origin + this.step * this.raw[slot * this.row + i];
  }
}

// What follows from the numbers of a policy: sums and means over time, changes of hands.
class Panel {
  constructor(json, content, buffer, letter) {
    this.policy = json.policy;
    this.letter = letter;
    this.irs = json.irs;
    this.facing = json.facing;
    this.numIrs = json.irs.length;
    for (const name of ["rates", "sumRate", "power", "bids", "owner", "holder", "shares"]) {
      this[name] = new Numbers(json[name], buffer);
    }
    const { slots, numBs, numUsers } = content;
    this.system = new Float64Array(slots);
    this.meanSystem = new Float64Array(slots);
    this.meanBs = new Float64Array(slots * numBs);
    this.meanUser = new Float64Array(slots * numUsers);
    this.changes = [];
    this.mostBid = greatest([this.bids], (bid) => (Math.abs(bid) < 0.9999 ? Math.abs(bid) : 0)) || 1; // but the limits
    const bs = new Float64Array(numBs), users = new Float64Array(numUsers);
    let sum = 0;
    for (let t = 0; t < slots; t++) {
      let now = 0;
      for (let m = 0; m < numBs; m++) {
        const rate = this.sumRate.at(t, m);
        now += rate;
        bs[m] += rate;
        this.meanBs[t * numBs + m] = bs[m] / (t + 1);
      }
      for (let k = 0; k < numUsers; k++) {
        users[k] += this.rates.at(t, k);
        this.meanUser[t * numUsers + k] = users[k] / (t + 1);
      }
      sum += now;
      this.system[t] = now;
      this.meanSystem[t] = sum / (t + 1);
    }
    for (let l = 0; l < this.numIrs; l++) {
      const when = [];
      for (let t = 1; t < slots; t++) {
        if (this.holder.at(t, l) !== this.holder.at(t - 1, l)) when.push(t);
      }
      this.changes.push(when);
    }
  }
}

async function load() {
  const content = JSON.parse(document.getElementById("content").textContent);
  const buffer = await unpack(document.getElementById("numbers").textContent);
  const panels = content.panels.map((json, i) => new Panel(json, content, buffer, "AB"[i]));
  return {
    ...content, panels,
    position: new Numbers(content.position, buffer),
    cell: new Numbers(content.cell, buffer),
    mostRate: greatest(panels.map((panel) => panel.rates)),
    mostSystem: Math.max(...panels.map((panel) => panel.system.reduce((a, b) => Math.max(a, b), 0))),
  };
}

function greatest(numbers, size = (x) => x) {
  let most = 0;
  for (const each of numbers) {
    for (const value of each.raw) most = Math.max(most, size(each.origin + each.step * value));
  }
  return most;
}
