"use strict";
// What is here comes from records, which may be anybody's: text goes into the page as text, and into Plotly escaped.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const MOST = 12; // groups drawn at first, the best
const state = { sort: { groups: null, runs: null }, words: [], hidden: new Set() };
data.groups.forEach((group, index) => { group.index = index; });

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const escaped = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const there = (value) => value !== null && value !== undefined;

function written(measure, value, sign = "") {
  if (!there(value)) return "–";
  const [factor, digits, unit] = { accuracy: [100, 2, "%"], loss: [1, 4, ""] }[measure.unit] ?? [1, 1, ""];
  const digital = measure.unit === "number"; // so many digits, wherever the point is
  const number = Number(digital ? value.toPrecision(sign ? 3 : 4) : (factor * value).toFixed(digits)); // without which there is a negative zero
  const text = (digital ? String(number + 0) : (number + 0).toFixed(digits)).replace("-", "−");
  return (sign && number >= 0 ? "+" : "") + text + (sign ? "" : unit);
}

function cell(group, name) {
  const measure = data.measures[name];
  const has = group.measures[name];
  const half = there(has.high) ? ` ± ${written(measure, (has.high - has.low) / 2).replace("%", "")}` : "";
  const numbers = [
    `${name}: ${measure.meaning}`,
    `best ${written(measure, has.best)}, worst ${written(measure, has.worst)}, n = ${has.n}`,
  ];
  if (there(has["bootstrap low"])) {
    const [low, high] = [has["bootstrap low"], has["bootstrap high"]].map((end) => written(measure, end));
    numbers.push(`bootstrap 95% ${low} to ${high}`);
  }
  let below = null;
  if (there(has["p Holm"])) {
    const [low, high] = [has["difference low"], has["difference high"]].map((end) => written(measure, end, "+"));
    const pairs = has.paired ? `${has.pairs} pairs` : `unpaired, ${has.pairs} at least`;
    numbers.push(`difference ${low} to ${high}, p = ${has.p.toPrecision(2)}, by Holm ${has["p Holm"].toPrecision(2)}, ${pairs}`);
    const word = has.verdict === "no difference shown" ? "not shown" : has.verdict;
    below = element("small", { class: has.verdict }, `${written(measure, has.difference, "+")} ${word}`);
  }
  return element("td", { title: numbers.join("\n") }, written(measure, has.mean) + half, below);
}

// Tables: columns of {title, hint, value for sorting, cell}

function table(id, columns, rows) {
  const sort = state.sort[id];
  if (sort) {
    const { value } = columns[sort.column];
    const known = rows.filter((row) => there(value(row)));
    known.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return sort.sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
    });
    rows = known.concat(rows.filter((row) => !there(value(row)))); // what is not known comes last, always
  }
  const heads = columns.map(({ title, hint, left }, column) => {
    const order = sort?.column === column ? (sort.sign > 0 ? "ascending" : "descending") : null;
    const click = () => {
      state.sort[id] = { column, sign: order === "ascending" ? -1 : 1 };
      drawTables();
    };
    return element("th", { scope: "col", "aria-sort": order, title: hint, class: left }, element("button", { onclick: click }, title));
  });
  const body = rows.map((row) => element("tr", {}, ...columns.map((column) => column.cell(row))));
  byId(id).replaceChildren(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
}

// Draws of the groups that were found the best, and the baseline.
function choose() {
  const sign = data.measures[data.shown[0]].better === "higher" ? -1 : 1;
  const rank = (group) => {
    const { mean } = group.measures[data.shown[0]];
    return there(mean) ? sign * mean : Infinity;
  };
  const ranked = found().sort((a, b) => rank(a) - rank(b));
  state.hidden = new Set(ranked.slice(MOST).filter((group) => group.baseline).map((group) => group.index));
  if (ranked.length - state.hidden.size > 2 * MOST) for (const group of ranked.slice(MOST)) state.hidden.add(group.index);
}

const matches = (text) => state.words.every((word) => text.toLowerCase().includes(word));
const found = () => data.groups.filter((group) => matches(group.name));
const drawn = () => found().filter((group) => !state.hidden.has(group.index));

function drawTables() {
  const every = byId("every").checked;
  const names = Object.keys(data.measures).filter((name) => every || data.shown.includes(name));
  const groups = found();
  table(
    "groups",
    [
      { title: "group", value: (g) => g.name, cell: (g) => element("td", {}, g.name, g.baseline ? element("small", {}, `against ${g.baseline}`) : null) },
      { title: "runs", value: (g) => g.completed, cell: (g) => element("td", {}, g.counts) },
      ...names.map((name) => ({
        title: name,
        hint: `${data.measures[name].meaning}; ${data.measures[name].better} is better`,
        value: (g) => g.measures[name].mean,
        cell: (g) => cell(g, name),
      })),
      { title: "diverged", hint: "runs, with the exact 95% interval of their fraction", value: (g) => g.diverged.mean, cell: divergedCell },
    ],
    groups,
  );
  byId("count").textContent = `${groups.length} of ${data.groups.length}`;
  const indices = new Set(groups.map((g) => g.index));
  drawRuns(data.runs.filter((run) => indices.has(run.group)));
}

function divergedCell(group) {
  const { mean, low, high, n } = group.diverged;
  const title = there(mean) ? `${(100 * low).toFixed(0)}% to ${(100 * high).toFixed(0)}%` : "";
  return element("td", { title }, there(mean) ? `${Math.round(mean * n)} of ${n}` : "–");
}

function drawRuns(runs) {
  const metrics = data.leading;
  table(
    "runs",
    [
      { title: "run", value: (r) => r.name, cell: (r) => element("td", { class: "text" }, r.name) },
      { title: "group", left: "text", value: (r) => data.groups[r.group].name, cell: (r) => element("td", { class: "text" }, data.groups[r.group].name) },
      { title: "seed", value: (r) => r.seed, cell: (r) => element("td", {}, String(r.seed)) },
      { title: "status", value: (r) => r.status, cell: (r) => element("td", { class: r.status === "completed" ? "" : "worse" }, r.status) },
      ...metrics.map((name) => ({
        title: name,
        value: (r) => r.measures[name],
        cell: (r) => element("td", {}, written(data.measures[name], r.measures[name])),
      })),
      { title: "seconds", value: (r) => r.seconds, cell: (r) => element("td", {}, r.seconds.toFixed(1)) },
      { title: "how", left: "text", value: (r) => r.command, cell: (r) => element("td", { class: "text" }, details(r)) },
    ],
    runs,
  );
}

function details(run) {
  const copy = () => navigator.clipboard.writeText(run.command);
  return element(
    "details",
    {},
    element("summary", {}, run.error ?? "command"),
    element("p", {}, "again: ", element("code", {}, run.command), " ", element("button", { onclick: copy }, "copy")),
    element("p", {}, "overrides: ", element("code", {}, run.overrides.join(" ") || "none")),
    run.launched ? element("p", {}, "launched by: ", element("code", {}, run.launched)) : null,
    run.commit ? element("p", {}, "commit: ", element("code", {}, run.commit)) : null,
  );
}

// Plots

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return { ink: colour("--ink"), line: colour("--line"), ground: colour("--ground"), raised: colour("--raised") };
}

function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches && !onPaper();
}

function colourOf(group) {
  const colours = isDark() ? data.colours.dark : data.colours.light;
  return colours[group.index % colours.length];
}

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down", "pentagon", "hexagon"];
const symbolOf = (group) => SYMBOLS[group.index % SYMBOLS.length];

function layout(title, xaxis, yaxis, more = {}) {
  const { ink, line, ground, raised } = theme();
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  return {
    title: { text: title, font: { size: 15 }, x: 0.02, xanchor: "left" },
    font: { color: ink, family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: raised, bordercolor: line, font: { color: ink }, namelength: -1 },
    margin: { l: 52, r: 10, t: 40, b: 42 },
    showlegend: false,
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...more,
  };
}

const CONFIG = { responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg" } };

const onPaper = () => document.documentElement.classList.contains("paper");

function plot(id, traces, shape) {
  const box = byId(id);
  // Plotly fits a plot to its place a moment later, which is too late for the printer.
  const fixed = onPaper() ? { width: box.clientWidth, height: shape.height ?? box.clientHeight, autosize: false } : { autosize: true };
  Plotly.react(box, traces, { ...shape, ...fixed }, CONFIG);
}

function smooth(values) {
  const weight = Number(byId("smoothing").value);
  let last = null; // an exponential average, with the weight of what came before the first value taken out
  let sum = 0;
  return values.map((value) => {
    if (!there(value)) return value;
    last = weight * (last ?? 0) + (1 - weight) * value;
    sum = weight * sum + (1 - weight);
    return last / sum;
  });
}

function curves(panel) {
  const traces = [];
  const bands = byId("bands").checked && Number(byId("smoothing").value) === 0;
  for (const group of drawn()) {
    for (const kind of kinds(panel)) {
      const curve = group.curves[panel[kind]];
      const base = { type: "scatter", x: group.x, name: `${escaped(group.name)} ${kind}`, connectgaps: true };
      const colour = colourOf(group);
      const dash = kind === "train" ? "dash" : "solid";
      if (byId("seeds").checked) {
        for (const run of data.runs.filter((run) => run.group === group.index && run.curves)) {
          const own = { color: colour, width: 1, dash };
          traces.push({ ...base, x: run.x, y: smooth(run.curves[panel[kind]]), line: own, mode: "lines", opacity: 0.55,
            name: `${base.name}, seed ${run.seed}` });
        }
        continue;
      }
      if (bands && kind === "val" && curve.low) {
        const edge = { ...base, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
        const floor = curve.mean.map((mean) => mean / 1e3);
        const low = curve.low.map((value, i) => (there(value) ? Math.max(value, floor[i]) : value));
        traces.push({ ...edge, y: low }, { ...edge, y: curve.high, fill: "tonexty", fillcolor: `${colour}30` });
      }
      const marker = { symbol: symbolOf(group), size: 6, maxdisplayed: 10 };
      traces.push({ ...base, y: smooth(curve.mean), line: { color: colour, width: kind === "val" ? 2 : 1.3, dash },
        mode: kind === "val" ? "lines+markers" : "lines", marker: { ...marker, color: colour } });
    }
  }
  return traces;
}

// Of a panel's two curves those that are there and shown; what is measured in training only is shown always.
function kinds(panel) {
  return ["train", "val"].filter((kind) => panel[kind] && (kind === "val" || !panel.val || byId("train").checked));
}

function rates() {
  return drawn().map((group) => ({
    type: "scatter", x: group.rate.x, y: group.rate.y, name: escaped(group.name), mode: "lines",
    line: { color: colourOf(group), width: 2, shape: "hv" },
  }));
}

function drawCurves() {
  const x = { title: { text: "epoch" } };
  data.panels.forEach((panel, index) => {
    const values = means(panel);
    const log = panel.better === "lower" && byId("log").checked && values.every((value) => value > 0) ? "log" : "linear";
    const percents = panel.unit === "accuracy" ? { tickformat: ".2~%" } : { exponentformat: "power" };
    const y = panel.limits ? { ...percents, range: panel.limits } : { type: log, ...percents, ...range(log, panel) };
    plot(`panel${index}`, curves(panel), layout(escaped(panel.title), x, y));
  });
  const lograte = byId("lograte").checked ? { type: "log" } : { rangemode: "tozero" };
  plot("lr", rates(), layout("learning rate", x, { ...lograte, exponentformat: "power" }));
}

function means(panel) {
  return drawn().flatMap((group) => kinds(panel).flatMap((kind) => group.curves[panel[kind]].mean)).filter(there);
}

// Around the means: on a logarithmic axis a band that reaches below 0 would have no end.
function range(type, panel) {
  const positive = means(panel).filter((value) => value > 0);
  if (type !== "log" || !positive.length) return {};
  const [low, high] = [Math.min(...positive), Math.max(...positive)].map(Math.log10);
  return { range: [low - 0.1 * (high - low) - 0.05, high + 0.1 * (high - low) + 0.05] };
}

function drawLegend() {
  const all = (hidden) => () => {
    state.hidden = new Set(hidden ? found().map((group) => group.index) : []);
    drawLegend();
    drawPlots();
  };
  const chips = found().map((group) => {
    const click = () => {
      state.hidden.delete(group.index) || state.hidden.add(group.index);
      drawLegend();
      drawPlots();
    };
    const swatch = element("i", { style: `--colour: ${colourOf(group)}` });
    return element("button", { onclick: click, "aria-pressed": String(!state.hidden.has(group.index)) }, swatch, group.name);
  });
  const more = [element("button", { onclick: all(false) }, "all"), element("button", { onclick: all(true) }, "none")];
  byId("legend").replaceChildren(...chips, ...(chips.length > 2 ? more : []));
}

function drawSeeds() {
  const name = byId("measure").value;
  const measure = data.measures[name];
  const groups = drawn();
  const { ink } = theme();
  const traces = groups.flatMap((group) => {
    const has = group.measures[name];
    const runs = data.runs.filter((run) => run.group === group.index && there(run.measures[name]));
    const y = escaped(group.name);
    const error = there(has.high) ? { type: "data", array: [has.high - has.mean], color: ink, thickness: 1.5 } : undefined;
    return [
      { type: "scatter", mode: "markers", x: runs.map((run) => run.measures[name]), y: runs.map(() => y),
        text: runs.map((run) => `seed ${run.seed}`), name: y, marker: { color: colourOf(group), symbol: symbolOf(group), size: 9, opacity: 0.75 } },
      { type: "scatter", mode: "markers", x: [has.mean], y: [y], name: `${y}: mean, 95% interval`, error_x: error,
        marker: { color: ink, symbol: "line-ns-open", size: 12, line: { width: 2 } } },
    ];
  });
  const x = { title: { text: `${name}, ${measure.meaning}` }, tickformat: measure.unit === "accuracy" ? ".2~%" : "" };
  const y = { range: [groups.length - 0.5, -0.5], type: "category" };
  const height = 70 + 26 * Math.max(groups.length, 2);
  plot("seedplot", traces, layout("", x, y, { height, margin: { l: 52, r: 10, t: 10, b: 42 } }));
}

function ordered(values) {
  const numeric = values.every((value) => value !== "" && Number.isFinite(Number(value)));
  return [...new Set(values)].sort((a, b) => (numeric ? a - b : String(a).localeCompare(String(b))));
}

function drawKeys() {
  const groups = found().filter((group) => there(group.measures[byId("measure").value].mean));
  byId("sweep").hidden = data.keys.length < 2 || !groups.length;
  if (byId("sweep").hidden) return;
  (data.keys.length === 2 ? heatmap : parallel)(groups, byId("measure").value);
}

function colours(measure, values) {
  // The best has the bright end; a few that went wrong must not push all others together.
  const sorted = [...values].sort((a, b) => a - b);
  const quarter = Math.floor(0.25 * (sorted.length - 1));
  const [low, high] = measure.better === "higher" ? [sorted[quarter], sorted.at(-1)] : [sorted[0], sorted.at(-1 - quarter)];
  return { colorscale: "Cividis", reversescale: measure.better === "lower", low, high };
}

function heatmap(groups, name) {
  const measure = data.measures[name];
  const [down, across] = data.keys.map((key) => ({ key, values: ordered(groups.map((group) => group.keys[key] ?? "–")) }));
  const at = (y, x) => groups.find((g) => (g.keys[down.key] ?? "–") === y && (g.keys[across.key] ?? "–") === x);
  const z = down.values.map((y) => across.values.map((x) => at(y, x)?.measures[name].mean ?? null));
  const { low, high, ...scale } = colours(measure, z.flat().filter(there));
  const trace = {
    type: "heatmap", z, x: across.values.map(escaped), y: down.values.map(escaped), ...scale, zmin: low, zmax: high,
    text: z.map((row) => row.map((value) => (there(value) ? written(measure, value) : ""))), texttemplate: "%{text}",
    hovertemplate: `${escaped(down.key)} %{y}<br>${escaped(across.key)} %{x}<br>${escaped(name)} %{text}<extra></extra>`,
  };
  const category = (key) => ({ type: "category", title: { text: escaped(key) } });
  const height = 130 + 32 * down.values.length;
  plot("keys", [trace], layout(`mean ${name}`, category(across.key), category(down.key), { height }));
}

function parallel(groups, name) {
  const measure = data.measures[name];
  const means = groups.map((group) => group.measures[name].mean);
  const { low, high, ...scale } = colours(measure, means);
  const dimensions = data.keys.map((key) => {
    const values = groups.map((group) => group.keys[key] ?? "–");
    const ticks = ordered(values);
    return { label: escaped(key), values: values.map((value) => ticks.indexOf(value)), tickvals: ticks.map((_, i) => i),
      ticktext: ticks.map(escaped), range: [-0.2, ticks.length - 0.8] };
  });
  dimensions.push({ label: escaped(name), values: means, tickformat: measure.unit === "accuracy" ? ".2%" : ".4~f" });
  const line = { color: means, ...scale, cmin: low, cmax: high, showscale: false };
  const { ink } = theme();
  const font = { color: ink, size: 12 };
  const trace = { type: "parcoords", dimensions, line, labelfont: font, tickfont: font, rangefont: font };
  plot("keys", [trace], layout("", {}, {}, { height: 420, margin: { l: 90, r: 60, t: 60, b: 30 } }));
}

function drawVerdict() {
  const { headline, intro, said, notes } = data.verdict;
  const rows = Object.entries(said).flatMap(([name, words]) => [
    element("dt", {}, name, element("small", {}, data.measures[name].aspect)),
    element("dd", {}, ...Object.entries(words).map(([word, groups]) => element("div", {}, element("span", { class: word }, word), `: ${groups}`))),
  ]);
  byId("verdict").replaceChildren(
    element("h2", {}, headline),
    element("p", { class: "quiet" }, intro),
    element("dl", {}, ...rows),
    element("ul", { class: "quiet" }, ...notes.map((note) => element("li", {}, note))),
  );
}

function drawPlots() {
  drawCurves();
  drawSeeds();
  drawKeys();
}

function turnTo(paper) {
  document.documentElement.classList.toggle("paper", paper);
  drawPlots();
  drawLegend();
}

function draw() {
  drawTables();
  drawLegend();
  drawPlots();
}

for (const [name] of Object.entries(data.measures)) byId("measure").append(element("option", { value: name }, name));
byId("measure").value = data.shown[0];
byId("plots").prepend(...data.panels.map((_, index) => element("div", { id: `panel${index}` })));
for (const id of ["train", "seeds", "bands", "log", "lograte", "smoothing"]) byId(id).addEventListener("input", drawCurves);
byId("every").addEventListener("input", drawTables);
byId("measure").addEventListener("input", () => { drawSeeds(); drawKeys(); });
let waiting;
byId("filter").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    state.words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    choose();
    draw();
  }, 150);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
// Paper is white.
addEventListener("beforeprint", () => turnTo(true));
addEventListener("afterprint", () => turnTo(false));
drawVerdict();
choose();
draw();
