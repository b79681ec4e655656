"""How the report looks: light and dark, wide and narrow, on screen and on paper."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --panel: #ffffff; --line: #e2e4e3; --ink: #1c2422; --soft: #5d6865;
  --before: #b3bcba; --after: #0e7c66; --good: #0e7c66; --bad: #b3261e; --warn: #8a5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131716; --panel: #1b201f; --line: #2e3634; --ink: #e6ebe9; --soft: #9aa6a2;
    --before: #5b6764; --after: #3fc1a2; --good: #3fc1a2; --bad: #ff8a80; --warn: #e5b567;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .75rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
.lead { font-size: 1.15rem; }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
code { font: .9em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; }
.card, figure { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem; }
.card b { display: block; font-size: 1.6rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .875rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: .75rem; }
figure { margin: 0; align-self: start; }
figcaption { color: var(--soft); font-size: .875rem; margin-bottom: .75rem; }
.row { margin-bottom: .7rem; }
.row code { display: block; }
svg { display: block; width: 100%; overflow: visible; }
svg text { fill: var(--ink); font-size: .78rem; font-variant-numeric: tabular-nums;
  dominant-baseline: central; }
svg text.soft { fill: var(--soft); }
.fill-before { fill: var(--before); } .fill-after { fill: var(--after); }
.axis { stroke: var(--line); } .range { stroke: var(--before); stroke-width: 6; stroke-linecap: round; }
.ring { fill: var(--panel); stroke: var(--ink); stroke-width: 2; }
.key { display: inline-flex; align-items: center; gap: .4rem; margin-right: 1rem; }
.key i { width: .8rem; height: .8rem; border-radius: .2rem; display: inline-block; }
.key i.dot { border-radius: 50%; } .key i.hollow { border: 2px solid var(--ink); border-radius: 50%; }
.key i.before { background: var(--before); } .key i.after { background: var(--after); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.25rem; }
.half { min-width: 0; }
.drawing { position: relative; height: 7rem; margin: .5rem 0 .25rem; border-bottom: 1px solid var(--line);
  border-left: 1px solid var(--line); }
.drawing svg { position: absolute; inset: 0; height: 100%; }
.drawing .top { position: absolute; top: -.5rem; left: .3rem; font-size: .7rem; color: var(--soft); }
.curve { fill: none; stroke: var(--after); stroke-width: 2; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
.thin { vector-effect: non-scaling-stroke; stroke-dasharray: 3 3; }
.chosen { position: absolute; width: .7rem; height: .7rem; margin: 0 0 -.35rem -.35rem; border-radius: 50%;
  background: var(--panel); border: 2px solid var(--ink); }
.said { position: absolute; font-size: .78rem; padding: .45rem .2rem; white-space: nowrap; }
.ends { display: flex; justify-content: space-between; }
.flows { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.flow { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: .75rem 1rem; }
.flow .from { font-weight: 600; } .flow .from::after { content: " →"; color: var(--soft); }
table { border-collapse: collapse; width: 100%; background: var(--panel); font-size: .9rem; }
.scroll { border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; font-size: .8rem; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
th[scope=row] { font-weight: 500; min-width: 12rem; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.n small { display: block; color: var(--soft); }
ul { padding-left: 1.2rem; margin: .25rem 0 .75rem; } li { margin: .2rem 0; max-width: 46rem; }
details { border: 1px solid var(--line); border-radius: .6rem; background: var(--panel);
  padding: .6rem 1rem; margin: .5rem 0; }
summary { cursor: pointer; } details[open] summary { margin-bottom: .5rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .875rem; }
@media (max-width: 44rem) {
  main { padding: 1.25rem 1rem 3rem; }
  .cards { grid-template-columns: 1fr 1fr; } .card { padding: .75rem; } .card b { font-size: 1.3rem; }
  thead { display: none; }
  tbody tr { display: grid; grid-template-columns: 1fr 1fr; gap: .15rem .75rem; padding: .75rem;
    border-bottom: 1px solid var(--line); }
  tbody tr:last-child { border-bottom: 0; }
  th, td { border: 0; padding: 0; }
  th[scope=row], td.wide { grid-column: 1 / -1; }
  td.n { text-align: left; white-space: normal; }
  td[data-label]::before { content: attr(data-label); display: block; color: var(--soft);
    font-size: .75rem; }
}
@media print { body { background: none; } details { break-inside: avoid;
  } tr, figure, .card { break-inside: avoid; } }
"""
