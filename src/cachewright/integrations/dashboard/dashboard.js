"use strict";

// Everything comes from the routes beside this page, as JSON, and is put into the page as text, never as markup.

const INTERVAL_MS = 2000;
const POINTS = 150;
const RECENT = 30;
const HOT = 10;
const $ = (id) => document.getElementById(id);

let token = null;
let order = { column: "requests", down: true };
let before = null;
let switched = new Map();
let timer = null;
const rates = [];
const recent = [];

function make(name, content, attributes = {}) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...[content].flat().filter((part) => part !== null && part !== undefined));
  return element;
}

async function ask(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const options = { headers, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok || answer.status === 202) {
    const problem = found.error ?? { message: `status ${answer.status}`, hint: null };
    const error = new Error([problem.message, problem.hint].filter(Boolean).join(": "));
    error.status = answer.status;
    throw error;
  }
  return found;
}

const share = (value) => (value === null || value === undefined ? "–" : `${(value * 100).toFixed(1)} %`);
const ms = (value) => (value === null || value === undefined ? "–" : `${value >= 100 ? value.toFixed(0) : value.toFixed(2)} ms`);
const whole = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
const size = (bytes) => (bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 1024).toFixed(0)} KiB`);
const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
const mean = (times) => (times.count ? (times.seconds / times.count) * 1000 : null);

function totals(stats) {
  const own = Object.values(stats.targets);
  return { hits: own.reduce((all, one) => all + sum(one.hits), 0), lookups: own.reduce((all, one) => all + one.lookups, 0) };
}

// The hit rate of the last minute, as far as this page has watched it.
function recentRate(stats) {
  recent.push(totals(stats));
  if (recent.length > RECENT + 1 || recent[0].lookups > recent.at(-1).lookups) recent.splice(0, recent.length > RECENT + 1 ? 1 : recent.length - 1);
  const lookups = recent.at(-1).lookups - recent[0].lookups;
  return lookups ? (recent.at(-1).hits - recent[0].hits) / lookups : null;
}

function figure(name, value, more, state) {
  const said = make("dd", value, state ? { class: state } : {});
  if (more) said.append(make("small", more));
  return make("div", [make("dt", name), said]);
}

const refused = (stats) => (sum(stats.counters.refusals) ? `, refused: ${why(stats.counters.refusals)}` : "");

function showNow(stats) {
  const { performance, cache_size: held, operations, health } = stats.metrics;
  const state = { healthy: "good", degraded: "warn", down: "bad" }[health.cache_status];
  $("state").replaceChildren(make("strong", health.cache_status, { class: state }),
    ` · ${stats.workers.filter((one) => one.alive).length} workers`);
  const predicted = stats.forecast.hit_rate;
  const lately = recentRate(stats);
  $("figures").replaceChildren(
    figure("Hit rate, last minute", share(lately ?? performance.hit_rate), predicted === null ? "no forecast" : `forecast ${share(predicted)}`),
    figure("Hit rate since the start", share(performance.hit_rate), `${whole(totals(stats).lookups)} lookups`),
    figure("With the cache", ms(performance.avg_response_time_with_cache_ms), "mean of hits since the start"),
    figure("Without", ms(performance.avg_response_time_without_cache_ms), "mean of loads since the start"),
    figure("Lookups", `${whole(operations.get_operations_per_second)} /s`, `${whole(operations.set_operations_per_second)} fills /s`),
    figure("Memory", size(held.memory_used_bytes), `${health.memory_pressure}, of ${size(held.max_memory_bytes)}`),
    figure("Invalidations", whole(stats.counters.invalidations), `${whole(stats.counters.tags)} tags`),
    figure("Evictions", whole(stats.counters.evictions), `${whole(stats.counters.expiries)} expiries`),
    figure("Store errors", whole(stats.counters.errors), `${whole(stats.counters.timeouts)} timeouts${refused(stats)}`, stats.counters.errors || refused(stats) ? "warn" : ""),
  );
}

function showPlot(stats) {
  const now = totals(stats);
  if (before && now.lookups >= before.lookups) {
    const lookups = now.lookups - before.lookups;
    rates.push(lookups ? (now.hits - before.hits) / lookups : null);
    if (rates.length > POINTS) rates.shift();
  }
  before = now;
  const line = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const y = (rate) => 115 - rate * 110;
  const x = (at) => 600 - (rates.length - 1 - at) * (600 / (POINTS - 1));
  const parts = [0, 0.5, 1].map((rate) => line("line", { class: "axis", x1: 0, x2: 600, y1: y(rate), y2: y(rate) }));
  let path = "";
  let gap = true;
  rates.forEach((rate, at) => {
    if (rate !== null) path += `${gap ? "M" : "L"}${x(at).toFixed(1)} ${y(rate).toFixed(1)}`;
    gap = rate === null;
  });
  if (stats.forecast.hit_rate !== null) {
    const height = y(stats.forecast.hit_rate);
    parts.push(line("line", { class: "forecast", x1: 0, x2: 600, y1: height, y2: height }));
  }
  if (path) parts.push(line("path", { class: "rate", d: path }));
  $("plot").replaceChildren(...parts);
  const last = rates.findLast((rate) => rate !== null);
  $("plot-words").textContent = last === undefined ? "(nothing was looked up yet)" : `(now ${share(last)}; lines at 0, 50 and 100 %)`;
}

const COLUMNS = [
  ["target", "Target", (one) => one.endpoint],
  ["requests", "Lookups", (one) => one.lookups],
  ["rate", "Hit rate", (one) => (one.lookups ? sum(one.hits) / one.lookups : -1)],
  ["hit", "Hit", (one) => mean(one.hit_seconds) ?? -1],
  ["load", "Load", (one) => mean(one.load_seconds) ?? -1],
  ["refused", "Not stored", (one) => sum(one.refused)],
];

function heading() {
  $("columns").replaceChildren(
    ...COLUMNS.map(([name, words], at) => {
      const button = make("button", `${words}${order.column === name ? (order.down ? " ↓" : " ↑") : ""}`, { type: "button" });
      button.addEventListener("click", () => {
        order = { column: name, down: order.column === name ? !order.down : name !== "target" };
        refresh();
      });
      const sorted = order.column === name ? (order.down ? "descending" : "ascending") : "none";
      return make("th", button, { scope: "col", "aria-sort": sorted, ...(at ? { class: "number" } : {}) });
    }),
    make("th", "Switch", { scope: "col" }),
  );
}

function why(counts) {
  return Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([reason, count]) => `${reason} ${whole(count)}`).join(", ");
}

function told(one) {
  const parts = [["hits", one.hits], ["misses", one.misses], ["bypassed", one.bypassed]];
  return parts.filter(([, counts]) => sum(counts)).map(([name, counts]) => `${name}: ${why(counts)}`).join("; ");
}

function showTargets(stats) {
  const focused = document.activeElement?.dataset?.target;
  const by = COLUMNS.find(([name]) => name === order.column)[2];
  const rows = Object.entries(stats.targets).sort(([, a], [, b]) => {
    const [one, other] = [by(a), by(b)];
    return (one < other ? -1 : one > other ? 1 : 0) * (order.down ? -1 : 1);
  });
  $("targets").replaceChildren(...rows.map(([name, one]) => {
    const off = switched.get(name);
    const button = make("button", off ? "Turn on" : "Turn off…", { type: "button", "data-target": name, "aria-label": `${off ? "Turn on" : "Turn off"} ${name}` });
    button.addEventListener("click", () => turn(name, off));
    const number = (text) => make("td", text, { class: "number" });
    return make("tr", [
      make("td", [one.endpoint, make("code", told(one))]),
      number(whole(one.lookups)),
      number(one.lookups ? share(sum(one.hits) / one.lookups) : "–"),
      number(ms(mean(one.hit_seconds))),
      number(ms(mean(one.load_seconds))),
      make("td", [whole(sum(one.refused)), make("code", why(one.refused))], { class: "number" }),
      make("td", button),
    ]);
  }));
  if (focused) document.querySelector(`[data-target="${CSS.escape(focused)}"]`)?.focus();
  if (!rows.length) $("targets").replaceChildren(make("tr", make("td", "The specification has no targets.", { colspan: COLUMNS.length + 1 })));
}

function showWorkers(stats) {
  $("workers").replaceChildren(...stats.workers.filter((one) => one.gauges).map((one) => {
    const number = (text) => make("td", text, { class: "number" });
    const state = one.alive ? one.gauges.status : "ended";
    return make("tr", [
      make("td", String(one.pid)), make("td", state, { class: { healthy: "good", degraded: "warn", down: "bad" }[state] ?? "" }),
      number(one.alive ? whole(one.gauges.items) : "–"), number(one.alive ? size(one.gauges.bytes) : "–"),
      make("td", one.alive ? (one.hears ? "hears" : "silent") : "–"), number(one.alive ? whole(one.pending) : "–"),
    ]);
  }));
}

function showHot(stats) {
  $("hot").replaceChildren(...stats.hot_keys.slice(0, HOT).map((one) => make("tr", [
    make("td", [stats.targets[one.target]?.endpoint ?? one.target, make("code", one.key)]),
    make("td", share(one.share), { class: "number" }),
  ])));
  if (!stats.hot_keys.length) $("hot").replaceChildren(make("tr", make("td", "No key was asked for twice in the last minutes.", { colspan: 2 })));
}

function soFar(job) {
  if (job.state === "running" && job.eta_seconds !== null) return `${job.rate.toFixed(1)} /s, ${Math.ceil(job.eta_seconds)} s left`;
  return job.problems.join("; ");
}

function gained(account) {
  const spent = `${whole(account.loads)} loads lately`;
  const held = account.refused ? `, ${whole(account.refused)} not made` : "";
  return `${spent}, ${account.gained === null ? "gain not measured yet" : `${whole(account.gained)} hits gained`}${held}`;
}

function showWarming(stats) {
  const row = (cells) => make("tr", cells.map(([content, number]) => make("td", content, number ? { class: "number" } : {})));
  $("warming-section").hidden = !stats.warming.length && !stats.ahead.length;
  $("warm").hidden = !stats.warming.length;
  $("warming").replaceChildren(
    ...stats.warming.map((job) => row([
      [job.job.replaceAll("_", " ")], [make("span", job.state, { class: { done: "good", failed: "bad" }[job.state] ?? "" })],
      [`${whole(job.done)} of ${whole(job.total)}`, true], [whole(job.failed), true], [soFar(job)],
    ])),
    ...stats.ahead.map((account) => row([
      [account.name], [make("span", account.state, { class: account.state === "resting" ? "warn" : "" })],
      [whole(account.total), true], ["–", true], [gained(account)],
    ])),
  );
}

const UNITS = { "": whole, share, ms, s: (value) => `${value.toFixed(0)} s` };

function measured(alarm) {
  const words = UNITS[alarm.unit] ?? String;
  return `: ${words(alarm.value)}, threshold ${words(alarm.threshold)}`;
}

function showAlarms(stats) {
  $("alarms-section").hidden = !stats.alarms.length;
  $("alarms").replaceChildren(...stats.alarms.map((alarm) => make("li", [
    make("strong", alarm.name.replaceAll("_", " ")), ` (${alarm.severity})${measured(alarm)}. `,
    make("a", "What to do", { href: `runbooks/${encodeURIComponent(alarm.name)}`, "aria-label": `What to do about ${alarm.name}` }),
  ], { class: alarm.severity })));
}

function sure(question) {
  const dialog = $("sure");
  $("question").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

async function turn(name, off) {
  if (!off && !(await sure(`Turn off ${name} in every process? Its requests go to the application until somebody turns it on.`))) return;
  await change("targets", { target: name, mode: off ? "live" : "off" }, () => `${name} is ${off ? "on" : "off"}.`);
}

async function change(path, body, words) {
  try {
    $("done").textContent = words(await ask(path, body));
  } catch (error) {
    $("done").textContent = error.message;
  }
  await refresh();
}

$("invalidate").addEventListener("submit", async (event) => {
  event.preventDefault();
  const subject = $("subject").value;
  const value = $("value").value.trim();
  if (subject !== "all" && !value) { $("value").focus(); return; }
  const what = subject === "all" ? "every entry of this namespace" : `${subject === "tags" ? "tag" : subject} ${value}`;
  if (!(await sure(`Invalidate ${what} in every process?`))) return;
  const body = { [subject]: subject === "all" ? true : subject === "tags" ? [value] : value };
  await change("invalidate", body, (found) => `${whole(found.invalidated)} tags were in use and are invalid now.`);
});
$("warm").addEventListener("click", async () => {
  if (!(await sure("Warm now? What the specification names is loaded in the background, through the application."))) return;
  await change("warm", {}, (found) => (found.begun.length ? `Warming has begun: ${found.begun.join(", ")}.` : "Warming is under way already."));
});
$("subject").addEventListener("change", () => { $("value").disabled = $("subject").value === "all"; });

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  $("token").value = "";
  refresh();
});

async function refresh() {
  clearTimeout(timer);
  try {
    const [stats, found] = await Promise.all([ask("stats"), ask("targets")]);
    switched = new Map(found.targets.map((one) => [one.name, one.switched_off]));
    $("namespace").textContent = stats.namespace;
    $("sign-in").hidden = true;
    $("main").hidden = false;
    heading();
    showAlarms(stats);
    showNow(stats);
    showPlot(stats);
    showTargets(stats);
    showHot(stats);
    showWarming(stats);
    showWorkers(stats);
  } catch (error) {
    if (error.status === 401) {
      $("sign-in-problem").textContent = token ? "This is not the token." : "";
      token = null;
      $("main").hidden = true;
      $("sign-in").hidden = false;
      $("token").focus();
      return;
    }
    $("state").replaceChildren(make("strong", "no figures", { class: "bad" }), ` · ${error.message}`);
  }
  timer = setTimeout(refresh, document.hidden ? 10 * INTERVAL_MS : INTERVAL_MS);
}

refresh();
