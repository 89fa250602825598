/* The row editor of rates: a view of the sheet in the text area, which alone is sent. Without this
   script the sheet is edited as it is. */

const RATE_COLUMNS = ["meter", "dimensions", "model", "price", "tiers", "included", "minimum", "maximum", "pools", "matrix"];
const MOST_ROWS = 400; // More are edited as a sheet: thousands of inputs make a slow page.

/* Read CSV; each row says on which line it ends, as the server counts lines. */
function readRates(text) {
  const rows = [];
  let cells = [], cell = "", isQuoted = false, line = 1;
  const end = () => {
    cells.push(cell.trim());
    if (cells.some(Boolean) && !(cells[0] === "meter" && cells[1] === "dimensions")) {
      rows.push({ line, ...Object.fromEntries(RATE_COLUMNS.map((name, i) => [name, cells[i] || ""])) });
    }
    cells = []; cell = "";
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\r") continue;
    if (isQuoted) {
      if (c === '"' && text[i + 1] === '"') { cell += '"'; i++; }
      else if (c === '"') isQuoted = false;
      else { cell += c; if (c === "\n") line++; }
    } else if (c === '"') isQuoted = true;
    else if (c === ",") { cells.push(cell.trim()); cell = ""; }
    else if (c === "\n") { end(); line++; }
    else cell += c;
  }
  end();
  return rows;
}

function writeRates(rows) {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = rows.map((row) => RATE_COLUMNS.map((name) => quote(row[name].trim())).join(","));
  return [RATE_COLUMNS.join(","), ...lines].join("\n") + "\n";
}

function rateRows() {
  return {
    mode: "sheet",
    rows: [],
    faults: [],
    init() {
      this.faults = JSON.parse(document.getElementById("rate-faults").textContent);
      this.rows = readRates(this.sheet().value);
      if (this.rows.length <= MOST_ROWS) this.mode = "rows";
    },
    sheet() { return this.$root.querySelector("textarea"); },
    show(mode) {
      if (mode === "rows") this.rows = readRates(this.sheet().value);
      this.mode = mode;
    },
    /* Only rows that were edited are written: what was sent keeps its lines until then. */
    sync() { this.sheet().value = writeRates(this.rows); },
    add(row) {
      const like = row || { ...Object.fromEntries(RATE_COLUMNS.map((name) => [name, ""])), model: "per_unit" };
      this.rows.push({ ...like, line: 0 });
      this.sync();
      this.$nextTick(() => [...this.$root.querySelectorAll("tbody tr")].at(-1)?.querySelector("input, select")?.focus());
    },
    drop(index) { this.rows.splice(index, 1); this.sync(); },
    fault(row, name) {
      const found = this.faults.find((one) => row.line && one.line === row.line && one.column === name);
      return found ? found.message : "";
    },
    file() { return "data:text/csv;charset=utf-8," + encodeURIComponent(this.mode === "rows" ? writeRates(this.rows) : this.sheet().value); },
  };
}
