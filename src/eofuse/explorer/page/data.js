// What the page holds: numbers in base64, columns of patches, names as text.

const facts = JSON.parse(document.getElementById("data").textContent);
const land = JSON.parse(document.getElementById("land").textContent);
const count = facts.ids.length;

const ARRAYS = {
  u8: Uint8Array, i8: Int8Array, u16: Uint16Array, i16: Int16Array, i32: Int32Array, f32: Float32Array,
};

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** An array from base64; of steps between a smallest and a largest number, the numbers. */
function unpack(packed) {
  const bytes = bytesOf(packed.data);
  const array = new ARRAYS[packed.type](bytes.buffer);
  if (packed.step === undefined) return array;
  const numbers = new Float32Array(array.length);
  for (let i = 0; i < array.length; i++) {
    numbers[i] = array[i] === packed.nothing ? NaN : packed.low + array[i] * packed.step;
  }
  return numbers;
}

/** An element with text; children are elements, text or null, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** A name that may be broken after its dots and underscores. */
const breakable = (name) => name.split(/(?<=[._/])/).flatMap((part) => [part, make("wbr")]);

const byId = (id) => document.getElementById(id);
const withCommas = new Intl.NumberFormat("en-US");
const whole = (number) => withCommas.format(number);
const counted = (number, one, several) => `${whole(number)} ${number === 1 ? one : several}`;

/** A number in words that a person can read. */
function numberText(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2).replace("-", "−");
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return String(Number(value.toFixed(digits))).replace("-", "−");
}

const dateText = (days) => (Number.isFinite(days) ? new Date(days * 864e5).toISOString().slice(0, 10) : "–");

/** A value a patch. Of predictions, only some patches have one. */
class Column {
  constructor(told, rows = null) {
    const { values, ends, ...rest } = told;
    Object.assign(this, rest);
    this.isNumber = told.sort === "number" || told.sort === "date";
    this.isList = told.sort === "list";
    this.isPrediction = rows !== null;
    this._packed = values;
    this._ends = ends;
    this._rows = rows;
    this._values = null;
  }

  /** Numbers (NaN: missing) or codes (−1: missing), one a patch; of lists all codes one after another. */
  get values() {
    if (this._values === null) this._unpack();
    return this._values;
  }

  _unpack() {
    const own = unpack(this._packed);
    if (this.isList) {
      const ends = unpack(this._ends);
      this.starts = new Int32Array(count);
      this.stops = new Int32Array(count);
      this.has = new Uint8Array(count);
      for (let i = 0; i < ends.length; i++) {
        const row = this._rows === null ? i : this._rows[i];
        this.starts[row] = i === 0 ? 0 : ends[i - 1];
        this.stops[row] = ends[i];
        this.has[row] = 1;
      }
      this._values = own;
    } else if (this._rows === null) {
      this._values = own;
    } else {
      this._values = this.isNumber ? new Float32Array(count).fill(NaN) : new Int32Array(count).fill(-1);
      for (let i = 0; i < own.length; i++) this._values[this._rows[i]] = own[i];
    }
    this._packed = this._ends = null;
  }

  /** Codes of a patch of a column of lists. */
  codes(patch) {
    const values = this.values;
    return values.subarray(this.starts[patch], this.stops[patch]);
  }

  /** The value of a patch in words. */
  text(patch) {
    const values = this.values;
    if (this.isList) {
      if (!this.has[patch]) return "–";
      return Array.from(this.codes(patch), (code) => this.names[code]).join("; ") || "none";
    }
    const value = values[patch];
    if (this.sort === "date") return dateText(value);
    if (this.sort === "number") return `${numberText(value)}${this.unit && Number.isFinite(value) ? ` ${this.unit}` : ""}`;
    return value < 0 ? "–" : this.names[value];
  }

  /** Whether a patch has a value. */
  knows(patch) {
    const values = this.values;
    if (this.isList) return this.has[patch] === 1;
    return this.isNumber ? Number.isFinite(values[patch]) : values[patch] >= 0;
  }
}

/** A path as a word of a command line. */
const shellWord = (text) => (/^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
