// The report as one HTML file that needs nothing else: no script, no network, drawn for light and dark and for paper.
import type { Row } from '../../journal/rows.ts';
import type { Report } from '../../journal/verify.ts';
import { barChart } from './bars.ts';
import type { Figures, Ranked, Slow } from './figures.ts';
import { html, Markup } from './markup.ts';

export interface Page {
  readonly figures: Figures;
  readonly verified: Report;
  /** What was read, and when (ISO 8601). */
  readonly place: string;
  readonly made: string;
  /** The options it was narrowed down by, as text; empty for none. */
  readonly narrowed: string;
}

export function pageOf({ figures, verified, place, made, narrowed }: Page): string {
  const { decided, outcomes, questions, first, last } = figures;
  const page = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What AI agents did: ${place}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<h1>What AI agents asked for, and what became of it</h1>
<p>${figures.records} records of ${place}${first === null ? '' : `, ${minute(first)} to ${minute(last ?? '')} UTC`}.
${narrowed === '' ? '' : `Only those with ${narrowed}.`} Made ${minute(made)} UTC.</p>
${integrity(verified)}
<div class="tiles">
${tile('calls decided', decided.allow + decided.ask + decided.refuse)}
${tile('allowed', decided.allow)}${tile('asked', decided.ask)}${tile('refused', decided.refuse)}
${tile('questions shown', questions)}${tile('effects done', outcomes.done)}${tile('effects failed', outcomes.failed)}
</div>
<h2>Decisions over time</h2>
<div class="chart">${barChart(figures.hours)}</div>
<div class="columns">
${ranking('How questions ended', figures.answers)}
${ranking('Most refused (who, what, rule)', figures.refused)}
${ranking('Most active qubes', figures.sources)}
${ranking('Most asked-for actions', figures.services)}
${ranking('What failed', figures.failures)}
</div>
<h2>Slowest answers</h2>
${slow(figures.slowAnswers)}
<h2>Slowest effects</h2>
${slow(figures.slowEffects)}
<h2>Starts, stops, settings, the operator</h2>
${events(figures.events)}
${figures.unreadable === 0 ? '' : html`<p class="bad">${figures.unreadable} lines could not be read; qmcpctl audit verify names the first.</p>`}
</body>
</html>
`;
  return page.text;
}

function integrity({ ok, fault, breaks, records, signedUpTo }: Report): Markup {
  if (ok) {
    const signed = signedUpTo === null ? 'signatures were not checked' : `signed up to record ${signedUpTo}`;
    return html`<p class="good">The journal is intact: ${records} records checked, ${signed}.</p>`;
  }
  const sentences = [...(fault === null ? [] : [fault.sentence]), ...breaks.map(({ sentence }) => sentence)];
  return html`<div class="bad"><p>The journal is NOT intact; what follows may be incomplete or untrue.</p>
${sentences.map((sentence) => html`<p>${sentence}</p>`)}</div>`;
}

const tile = (name: string, count: number): Markup => html`<div class="tile"><b>${count}</b>${name}</div>`;

function ranking(title: string, list: readonly Ranked[]): Markup {
  const most = Math.max(1, ...list.map(({ count }) => count));
  const rows = list.map(
    ({ key, count }) => html`<tr><td>${key}</td><td class="number">${count}</td>
<td class="share"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width="${Math.round((100 * count) / most)}" height="10"/></svg></td></tr>
`,
  );
  return html`<section><h2>${title}</h2>${list.length === 0 ? NONE : html`<table>${rows}</table>`}</section>`;
}

function slow(list: readonly Slow[]): Markup {
  if (list.length === 0) return NONE;
  const rows = list.map(
    ({
      row,
      durationMs,
    }) => html`<tr><td class="number">${seconds(durationMs)}</td><td class="when">${minute(row.ts)}</td><td>${row.source}</td>
<td>${whatOf(row)}</td><td>${[row.result, row.detail].filter(Boolean).join(': ')}</td><td class="number">${row.seq ?? ''}</td></tr>
`,
  );
  return html`<table><tr><th class="number">took</th><th>UTC</th><th>source</th><th>what</th><th>result</th><th class="number">record</th></tr>
${rows}</table>`;
}

function events(list: readonly Row[]): Markup {
  if (list.length === 0) return NONE;
  const rows = list.map(
    (
      row,
    ) => html`<tr><td class="when">${minute(row.ts)}</td><td>${row.type}</td><td>${row.detail}</td><td class="number">${row.seq ?? ''}</td></tr>
`,
  );
  return html`<table><tr><th>UTC</th><th>what</th><th></th><th class="number">record</th></tr>
${rows}</table>`;
}

const NONE = html`<p class="none">None.</p>`;

const whatOf = ({ action, service, qubes }: Row): string =>
  [action || service, ...qubes.map(({ name }) => name)].join(' ');
const minute = (ts: string): string => ts.slice(0, 16).replace('T', ' ');
const seconds = (durationMs: number): string =>
  durationMs < 1000 ? `${durationMs} ms` : `${(durationMs / 1000).toFixed(1)} s`;

const STYLE = `
:root { color-scheme: light dark; --allow: #3f7fbf; --ask: #d69a2d; --refuse: #b8403a; --good: #3a7d44; --line: #8886; --accent: #7f8c9d; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .2rem .6rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .share { width: 6rem; } .share svg { width: 100%; height: .7rem; } .share rect { fill: var(--accent); }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; } .tile { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; } .tile b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2rem; }
.chart { overflow-x: auto; } .chart svg { min-width: 40rem; } @media (min-width: 40rem) { .when { white-space: nowrap; } }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; } .grid { stroke: var(--line); }
rect.allow { fill: var(--allow); } rect.ask { fill: var(--ask); } rect.refuse { fill: var(--refuse); }
.legend span { margin-right: .7em; } .legend span::before { content: ''; display: inline-block; width: .8em; height: .8em; margin-right: .3em; background: var(--accent); }
.legend .allow::before { background: var(--allow); } .legend .ask::before { background: var(--ask); } .legend .refuse::before { background: var(--refuse); }
.good, .bad { border-left: .3rem solid var(--good); padding: .3rem .8rem; margin: 1rem 0; } .good p, .bad p { margin: .3rem 0; } .bad { border-color: var(--refuse); } .none { opacity: .7; }
`;
