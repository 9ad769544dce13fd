"use strict";
(() => {
  const D = JSON.parse(document.getElementById("data-json").textContent);
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const ALL = "";

  // Everything is made with these two, so that no text of a record is ever read as HTML.
  function el(name, attributes = {}, ...children) {
    return fill(document.createElement(name), attributes, children);
  }
  function svg(name, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, name), attributes, children);
  }
  function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value != null) node.setAttribute(key, value);
    }
    node.append(...children.flat().filter((child) => child != null && child !== ""));
    return node;
  }

  const words = (text) => text.replaceAll("_", " ");
  const info = (key) => D.metrics[key] || { label: key, factor: 1, unit: "", digits: 3, up: true, ranked: false };
  const unit = (key) => info(key).unit;
  // As Python rounds, which writes the rest of the page: a number just between two takes the even one (6.25 is 6.2).
  const fixed = (value, digits) => {
    const up = value.toFixed(digits), long = value.toFixed(digits + 12);
    const between = long.endsWith("5" + "0".repeat(11)) && "13579".includes(up.at(-1));
    return between ? long.slice(0, -12).replace(/\.$/, "") : up;
  };
  const shown = (value, key) => (value == null ? "–" : fixed(value * info(key).factor, info(key).digits));
  const seconds = (s) => (s < 90 ? `${s.toFixed(1)} s` : s < 5400 ? `${(s / 60).toFixed(1)} min` : `${(s / 3600).toFixed(2)} h`);
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value === undefined ? null : value));

  /* Theme: the system's, or what was chosen on this page before. */
  const themes = ["system", "light", "dark"];
  const store = {
    get() { try { return localStorage.getItem("avbench-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("avbench-theme", value); } catch { /* pages from a file may have none */ } },
  };
  function theme(name) {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    $("theme-name").textContent = name;
    $("theme").dataset.now = name;
  }
  theme(themes.includes(store.get()) ? store.get() : "system");
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf($("theme").dataset.now) + 1) % themes.length];
    store.set(next);
    theme(next);
  });

  /* Leaderboard */
  const state = { task: "", metric: "", data: ALL, weights: ALL, method: ALL, text: "", sort: "value", down: true };
  const metricOf = (row) => (state.task === ALL ? D.tasks[row.task].first : state.metric);
  const valueOf = (row) => row.values[metricOf(row)];
  const COLUMNS = [
    { id: "method", label: "Method", of: (row) => row.method },
    { id: "weights", label: "Weights", of: (row) => row.weights },
    { id: "task", label: "Task", of: (row) => row.task },
    { id: "data", label: "Data", of: (row) => row.data },
    { id: "value", label: "Value", number: true, of: (row) => valueOf(row)?.[0] },
    { id: "interval", label: "95 % interval", of: (row) => valueOf(row)?.[2] },
    { id: "n", label: "Clips", number: true, of: (row) => row.n },
    { id: "seeds", label: "Seeds", number: true, of: (row) => row.seeds.length },
    { id: "hours", label: "Device-hours", number: true, of: (row) => row.hours },
  ];
  // Rows of one task, data set and set of clips compare and share a scale.
  const peers = new Map();
  for (const row of D.groups) {
    row.peers = `${row.task}\n${row.data}\n${row.clips}`;
    if (!peers.has(row.peers)) peers.set(row.peers, []);
    peers.get(row.peers).push(row);
    row.search = [row.method, row.weights, row.task, D.tasks[row.task].title, row.data, ...row.settings, ...row.runs].join(" ").toLowerCase();
  }
  const scales = new Map();
  function scaleOf(row, key) {
    const name = `${row.peers}\n${key}`;
    if (!scales.has(name)) {
      const rows = peers.get(row.peers).filter((each) => each.values[key]);
      const ends = rows.flatMap((each) => each.values[key]).length ? rows.flatMap(({ values }) => {
        const [mean, , low, high, chance] = values[key];
        return [mean, low, high, chance].filter((value) => value != null);
      }) : [0];
      scales.set(name, { low: Math.min(...ends), high: Math.max(...ends) });
    }
    return scales.get(name);
  }
  function atChance(row, key) {
    const [, , low, high, chance] = row.values[key];
    return low != null && chance != null && low <= chance && chance <= high;
  }

  function bar(row, key) {
    const [mean, , low, high, chance] = row.values[key];
    const { low: start, high: end } = scaleOf(row, key);
    const at = (value) => 5 + (150 * (value - start)) / (end - start || 1);
    const within = atChance(row, key);
    const label = low == null ? "no interval" : `${shown(low, key)} to ${shown(high, key)}`;
    return svg("svg", { class: "bar", viewBox: "0 0 160 20", role: "img",
      "aria-label": `${label}${chance == null ? "" : `, chance ${shown(chance, key)}`}${within ? ", contains chance" : ""}` },
      svg("title", {}, `${label}${chance == null ? "" : `; chance ${shown(chance, key)}`}`),
      svg("line", { class: "rail", x1: 5, x2: 155, y1: 10, y2: 10 }),
      chance == null ? null : svg("line", { class: "chance", x1: at(chance), x2: at(chance), y1: 4, y2: 16 }),
      low == null ? null : svg("line", { class: "range", x1: at(low), x2: at(high), y1: 10, y2: 10 }),
      svg("circle", { class: within ? "dot open-dot" : "dot", cx: at(mean), cy: 10, r: 4 }));
  }

  function boardRow(row) {
    const key = metricOf(row);
    const value = row.values[key];
    const lead = row.leads[key];
    const best = lead === "best";
    const open = () => openRuns(row.runs, key);
    const note = state.task === ALL ? el("small", {}, ` ${info(key).label}`) : null;
    return el("tr", { class: [best ? "best" : "", row.weights === "untrained" ? "untrained" : ""].join(" ").trim() || null, on: { click: open } },
      el("th", { scope: "row" },
        el("button", { type: "button", class: "open", "aria-haspopup": "dialog" }, row.method),
        best ? el("span", { class: "badge" }, "best") : lead ? el("abbr", { class: "badge unsure", title: `best mean, ${lead}` }, "top") : null,
        row.settings.length ? el("span", { class: "settings" }, row.settings.join(", ")) : null),
      el("td", {}, row.weights), el("td", {}, D.tasks[row.task].title), el("td", {}, row.data),
      el("td", { class: "number value" }, shown(value[0], key), value[1] == null ? null : el("small", {}, ` ± ${shown(value[1], key)}`), note),
      el("td", {}, bar(row, key)),
      el("td", { class: "number" }, row.n.toLocaleString("en"),
        row.other ? el("abbr", { title: "judged on other clips than most rows of this task and data set: do not compare" }, "§") : null),
      el("td", { class: "number" }, String(row.seeds.length)),
      el("td", { class: "number" }, row.hours == null ? "–" : row.hours.toFixed(3)));
  }

  const LIMIT = 400; // rows drawn at a time: a page of thousands stays quick
  let drawn = LIMIT;
  function board() {
    const needle = state.text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const kept = D.groups.filter((row) =>
      (state.task === ALL || row.task === state.task) && (state.data === ALL || row.data === state.data) &&
      (state.weights === ALL || row.weights === state.weights) && (state.method === ALL || row.method === state.method) &&
      needle.every((part) => row.search.includes(part)));
    const rows = kept.filter((row) => valueOf(row));
    const column = COLUMNS.find((each) => each.id === state.sort);
    const sign = state.down ? -1 : 1;
    rows.sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      if (x == null || y == null) return (x == null) - (y == null); // what has none is last either way
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    $("board-body").replaceChildren(...rows.slice(0, drawn).map(boardRow));
    $("board-more")?.remove();
    if (rows.length > drawn) {
      $("board").parentElement.after(el("button", { type: "button", class: "quiet more", id: "board-more",
        on: { click: () => { drawn += LIMIT; board(); } } }, `Show ${Math.min(LIMIT, rows.length - drawn)} more rows`));
    }
    const without = kept.length - rows.length;
    $("count").textContent = `${rows.length} of ${D.groups.length} rows` +
      (state.task === ALL ? "; each task by its own first metric" : `, ${info(state.metric).label}${unit(state.metric) ? ` in ${unit(state.metric)}` : ""}, ${info(state.metric).up ? "higher" : "lower"} is better`) +
      (without ? `; ${without} without this metric not shown` : "") + ".";
    for (const head of $("board-head").children) {
      if (head.dataset.column === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function options(select, values, chosen) {
    select.replaceChildren(...values.map(([value, label]) => el("option", { value, selected: value === chosen }, label)));
  }
  function metricOptions() {
    const select = $("f-metric");
    if (state.task === ALL) {
      options(select, [["", "First of each task"]], "");
      select.disabled = true;
      return;
    }
    const task = D.tasks[state.task];
    select.disabled = false;
    const part = (keys) => keys.map((key) => el("option", { value: key, selected: key === state.metric }, info(key).label));
    select.replaceChildren(...part(task.metrics), ...(task.more.length ? [el("optgroup", { label: "More" }, part(task.more))] : []));
  }
  function byValue() {
    state.sort = "value";
    state.down = state.task === ALL || info(state.metric).up;
  }
  function chooseTask(task) {
    state.task = task;
    state.metric = task === ALL ? "" : D.tasks[task].first;
    byValue();
    metricOptions();
  }
  function several(field, label) {
    const values = [...new Set(D.groups.map((row) => row[field]))].sort();
    return [[ALL, label], ...values.map((value) => [value, value])];
  }
  if (D.groups.length) {
    const tasks = Object.keys(D.tasks);
    chooseTask(tasks[0]);
    options($("f-task"), [...tasks.map((task) => [task, D.tasks[task].title]), [ALL, "all tasks"]], tasks[0]);
    options($("f-data"), several("data", "all"), ALL);
    options($("f-weights"), several("weights", "all"), ALL);
    options($("f-method"), [[ALL, "all"], ...[...new Set(D.groups.map((row) => row.method))].sort().map((name) => [name, name])], ALL);
    const heads = COLUMNS.map((column) => el("th", { scope: "col", class: column.number ? "number" : null, "data-column": column.id },
      el("button", { type: "button", on: { click: () => {
        state.down = state.sort === column.id ? !state.down : Boolean(column.number);
        state.sort = column.id;
        board();
      } } }, column.label)));
    $("board-head").replaceChildren(...heads);
    const change = (id, call) => $(id).addEventListener("input", (event) => { call(event.target.value); drawn = LIMIT; board(); });
    change("f-task", chooseTask);
    change("f-metric", (value) => { state.metric = value; byValue(); });
    for (const name of ["data", "weights", "method", "text"]) change(`f-${name}`, (value) => { state[name] = value; });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const card of document.querySelectorAll(".card")) {
      card.addEventListener("click", () => {
        chooseTask(card.dataset.task);
        state.data = card.dataset.set;
        for (const name of ["task", "data"]) $(`f-${name}`).value = state[name];
        board();
      });
    }
    board();
  }

  /* Dialog: the runs behind a row, a cell or a picture. */
  function chart(name, lines) {
    const [W, H, L, B] = [280, 130, 46, 18];
    const xs = lines.flatMap((line) => line.x);
    const ys = lines.flatMap((line) => line.y).filter((y) => y != null);
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const px = (x) => L + ((W - L - 4) * (x - x0)) / (x1 - x0 || 1);
    const py = (y) => 8 + ((H - B - 12) * (y1 - y)) / (y1 - y0 || 1);
    const short = (value) => String(Number(value.toPrecision(3)));
    return el("figure", { class: "chart" }, el("figcaption", {}, words(name)),
      svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${words(name)} from step ${x0} to ${x1}, between ${short(y0)} and ${short(y1)}; ` +
        `at the end ${lines.map((line) => `${short(line.y.at(-1) ?? y0)} (${line.label})`).join(", ")}` },
        svg("line", { class: "axis", x1: L, x2: W - 4, y1: H - B, y2: H - B }),
        svg("line", { class: "axis", x1: L, x2: L, y1: 4, y2: H - B }),
        svg("text", { x: L - 5, y: py(y1) + 4, "text-anchor": "end" }, short(y1)),
        y1 > y0 ? svg("text", { x: L - 5, y: py(y0) + 3, "text-anchor": "end" }, short(y0)) : null,
        svg("text", { x: L, y: H - 4 }, short(x0)),
        svg("text", { x: W - 4, y: H - 4, "text-anchor": "end" }, `step ${x1}`),
        lines.map((line, i) => svg("polyline", { class: `s${i % 3}`,
          points: line.x.map((x, k) => (line.y[k] == null ? "" : `${px(x).toFixed(1)},${py(line.y[k]).toFixed(1)}`)).filter(Boolean).join(" ") }))));
  }
  function curves(runs) {
    const lines = new Map();
    for (const run of runs) if (run.curve && !lines.has(run.curve)) lines.set(run.curve, { label: `seed ${run.seed}`, curve: D.curves[run.curve] });
    const drawnLines = [...lines.values()].slice(0, 6);
    if (!drawnLines.length) return [];
    const names = [...new Set(drawnLines.flatMap(({ curve }) => Object.keys(curve.series)))].sort((a, b) => (a === "lr") - (b === "lr")); // the schedule last
    const key = el("div", { class: "key" }, drawnLines.map((line, i) => el("span", {},
      svg("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" }, svg("line", { class: `s${i % 3}`, x1: 0, x2: 28, y1: 4, y2: 4, "stroke-dasharray": ["", "5 3", "1.5 3"][i % 3] })), line.label)));
    return [el("h3", {}, "Pretraining"), drawnLines.length > 1 ? key : null,
      el("div", { class: "charts" }, names.map((name) => chart(name, drawnLines.filter(({ curve }) => curve.series[name])
        .map(({ label, curve }) => ({ label, x: curve.step, y: curve.series[name] })))))];
  }
  function table(label, heads, rows) {
    return el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, el("table", {},
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col", class: head.startsWith("#") ? "number" : null }, head.replace("#", ""))))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, i) => (i === 0 ? el("th", { scope: "row" }, cell) : el("td", { class: heads[i].startsWith("#") ? "number" : null }, cell))))))));
  }
  function runTable(ids, key) {
    return table("Runs", ["Run", "#Seed", `#${key ? info(key).label : "Value"}`, "#Wall time", "#Device-hours", "Precision", "Code", "When"],
      ids.map((id) => {
        const run = D.runs[id];
        const wall = Object.values(run.wall).reduce((sum, part) => sum + part, 0);
        return [el("code", {}, id), String(run.seed), shown(run.metrics[key], key), seconds(wall), run.hours == null ? "–" : run.hours.toFixed(3), run.precision,
          [el("code", {}, run.commit.slice(0, 10) || "unknown"), run.dirty ? el("span", { class: "warn" }, " with changes") : ""], run.created.slice(0, 16).replace("T", " ")];
      }).map((cells) => cells.map((cell) => (Array.isArray(cell) ? el("span", {}, cell) : cell))));
  }
  function pairs(entries) {
    return el("dl", { class: "pairs" }, entries.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
  }
  function settings(group, run) {
    const head = el("h3", {}, "Settings");
    const preset = run.presets.length ? `preset ${run.presets.join(", ")}` : "the defaults";
    let lead;
    if (group.differs == null) lead = el("p", {}, "What differs from the preset cannot be told here; all settings are below.");
    else if (!group.differs.length) lead = el("p", {}, `As ${preset} says, with nothing changed.`);
    else lead = el("div", {}, el("p", {}, `Other than ${preset}:`), pairs(group.differs.map(([key, own, usual]) => [key, el("span", {}, text(own), el("span", { class: "was" }, ` (else ${text(usual)})`))])));
    const all = el("details", {}, el("summary", {}, "All settings"));
    all.addEventListener("toggle", () => {
      if (all.open && all.childElementCount === 1) {
        for (const [name, values] of run.config.map((i) => D.sections[i])) {
          all.append(el("p", {}, name), pairs(Object.entries(values).map(([key, value]) => [key, text(value)])));
        }
      }
    });
    return [head, lead, run.checkpoint ? el("p", {}, "Weights: ", el("code", {}, run.checkpoint)) : null, all];
  }
  function metricsTable(group) {
    const keys = [...D.tasks[group.task].metrics, ...D.tasks[group.task].more].filter((key) => group.values[key]);
    const rows = (some) => some.map((key) => {
      const [mean, sd, low, high, chance] = group.values[key];
      const unitOf = unit(key) ? ` ${unit(key)}` : "";
      return [info(key).label, el("span", {}, shown(mean, key), el("small", {}, `${sd == null ? "" : ` ± ${shown(sd, key)}`}${unitOf}`)),
        low == null ? "–" : `${shown(low, key)} to ${shown(high, key)}`, shown(chance, key)];
    });
    const heads = ["Metric", "#Mean", "#95 % interval", "#Chance"];
    const more = el("details", {}, el("summary", {}, `All ${keys.length} metrics`));
    more.addEventListener("toggle", () => { if (more.open && more.childElementCount === 1) more.append(table("All metrics", heads, rows(keys))); });
    return [el("h3", {}, "Metrics"), table("Metrics", heads, rows(keys.slice(0, 8))), keys.length > 8 ? more : null];
  }
  function openRuns(ids, key) {
    const known = ids.filter((id) => D.runs[id]);
    if (!known.length) return;
    const first = D.runs[known[0]];
    const several = [...new Set(known.map((id) => D.runs[id].group))];
    const body = several.flatMap((number) => {
      const group = D.groups[number];
      const own = known.filter((id) => D.runs[id].group === number);
      const runs = own.map((id) => D.runs[id]);
      const metric = key && group.values[key] ? key : D.tasks[group.task].first;
      return [
        several.length > 1 ? el("h3", {}, name(group)) : null,
        el("p", {}, `${runs[0].n.toLocaleString("en")} clips${runs[0].split ? `, split ${runs[0].split}` : ""}; ids `, el("code", {}, runs[0].ids.slice(0, 12)), `; ${[...new Set(runs.map((run) => D.hardware[run.hardware]))].join("; ")}.`),
        el("h3", {}, own.length > 1 ? "Runs" : "Run"), runTable(own, metric),
        ...metricsTable(group), ...curves(runs), ...settings(group, runs[0]),
        el("h3", {}, "Where"),
        el("ul", {}, own.map((id) => el("li", {}, el("code", {}, `${D.results}/runs/${id}/record.json`)))),
        el("details", {}, el("summary", {}, "Time by stage, versions, hashes"),
          pairs([...Object.entries(runs[0].wall).map(([stage, s]) => [`${stage} (seed ${runs[0].seed})`, seconds(s)]), ...Object.entries(D.versions[runs[0].versions]), ["ids SHA-256", runs[0].ids]])),
      ];
    });
    $("runs-title").textContent = several.length > 1 ? `${known.length} runs` : name(D.groups[first.group]);
    $("runs-body").replaceChildren(...body.filter(Boolean));
    $("runs").showModal();
    $("runs").scrollTop = 0;
  }
  const name = (group) => `${group.method}, ${group.weights}: ${D.tasks[group.task].title} on ${group.data}`;
  $("runs").addEventListener("click", (event) => { if (event.target === $("runs")) $("runs").close(); });
  for (const button of document.querySelectorAll("[data-open]")) button.addEventListener("click", () => openRuns([button.dataset.open]));
  for (const cell of document.querySelectorAll("td[data-runs]")) {
    const ids = cell.dataset.runs.split(/\s+/).filter((id) => D.runs[id]);
    if (!ids.length) continue;
    const button = el("button", { type: "button", class: "cell", "aria-haspopup": "dialog", on: { click: () => openRuns(ids) } }, ...cell.childNodes);
    cell.replaceChildren(button);
  }

  /* Galleries: one sound plays at a time; frames follow its clock. */
  const audio = new Audio();
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let playing = null;
  function frameOf(clip, time) {
    let k = 0;
    while (k + 1 < clip.times.length && clip.times[k + 1] <= time) k += 1;
    return k;
  }
  function show(tile, k) {
    const count = tile.clip.times.length;
    tile.picture.style.backgroundPosition = `${count > 1 ? (100 * k) / (count - 1) : 0}% 0`;
  }
  function tick() {
    if (!playing) return;
    if (!still.matches) show(playing, frameOf(playing.clip, audio.currentTime));
    const part = audio.duration ? audio.currentTime / audio.duration : 0;
    playing.wave.forEach((rect, i) => rect.classList.toggle("past", i / playing.wave.length < part));
    requestAnimationFrame(tick);
  }
  function stop() {
    audio.pause();
    if (!playing) return;
    playing.button.setAttribute("aria-pressed", "false");
    playing.wave.forEach((rect) => rect.classList.remove("past"));
    show(playing, playing.middle);
    playing = null;
  }
  function toggle(tile) {
    const same = playing === tile;
    stop();
    if (same) return;
    playing = tile;
    tile.button.setAttribute("aria-pressed", "true");
    audio.src = tile.clip.sound;
    audio.play().then(tick, () => { if (playing === tile) stop(); });
  }
  audio.addEventListener("ended", stop);

  function tileOf(gallery, id, { right = false, query = false, asked, rank = 0 }) {
    const clip = gallery.clips[id];
    const tile = { clip, middle: Math.floor(clip.times.length / 2) };
    tile.picture = el("span", { class: "picture" });
    const shot = el("span", { class: `shot${query && asked === "sound" ? " unseen" : ""}` }, tile.picture);
    tile.picture.style.backgroundImage = `url("${clip.strip}")`;
    tile.picture.style.backgroundSize = `${100 * clip.times.length}% 100%`;
    tile.wave = clip.peaks.map((peak, i) => svg("rect", { x: i * 2, width: 1.3, y: 12 - 11 * peak, height: Math.max(0.6, 22 * peak) }));
    const heard = asked === "sound";
    const wave = svg("svg", { class: `wave${heard ? " asked" : " unheard"}`, viewBox: `0 0 ${clip.peaks.length * 2} 24`, preserveAspectRatio: "none", "aria-hidden": "true" }, tile.wave);
    const label = `${query ? "Query" : `Place ${rank}${right ? ", the right one" : ""}`}: play ${id}${clip.labels ? `, ${clip.labels}` : ""}`;
    tile.button = el("button", { type: "button", class: `tile${right ? " right" : ""}${query ? " query-tile" : ""}`, "aria-pressed": "false", "aria-label": label, "data-clip": id,
      on: { click: () => toggle(tile) } }, shot, wave, el("span", { class: "name" }, clip.labels || id));
    show(tile, tile.middle);
    return tile.button;
  }
  function queries(gallery, direction) {
    const [asks, finds] = direction === "a2v" ? ["sound", "picture"] : ["picture", "sound"];
    const count = gallery.n.toLocaleString("en");
    return (gallery.directions[direction] || []).map(({ query, rows }, i) => el("div", { class: "query" },
      el("div", {}, el("h4", {}, `Query ${i + 1}: a ${asks}`), tileOf(gallery, query, { query: true, asked: asks })),
      el("div", {}, rows.map((row) => el("div", { class: "found" },
        el("h5", {}, el("b", {}, row.method), row.rank <= 1 ? el("span", { class: "hit" }, "found first") : `own ${finds} at ${row.rank.toLocaleString("en")} of ${count}`),
        el("ol", { class: "hits", "aria-label": `What ${row.method} found` }, row.found.map((id, k) => el("li", {}, tileOf(gallery, id, { right: id === query, asked: finds, rank: k + 1 })))))))));
  }
  for (const box of document.querySelectorAll(".gallery")) {
    const gallery = D.galleries[Number(box.dataset.gallery)];
    const into = box.querySelector(".queries");
    if (!into) continue;
    const buttons = [...box.querySelectorAll("[data-direction]")];
    const draw = (direction) => {
      stop();
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.direction === direction));
      into.replaceChildren(...queries(gallery, direction));
    };
    for (const button of buttons) button.addEventListener("click", () => draw(button.dataset.direction));
    draw("a2v");
  }

  /* Which section is in view */
  const links = new Map([...document.querySelectorAll(".sections a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);
})();
