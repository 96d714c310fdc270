// Decisions over time as stacked bars, in plain SVG.
import { DECIDED, type Decided, HOUR_MS, type HourCount } from './figures.ts';
import { html, type Markup } from './markup.ts';

/** At most so many bars; each stands for a whole number of hours or days. */
export const MAX_BARS = 72;
const WIDTH = 960;
const HEIGHT = 240;
const MARGIN = { left: 48, right: 8, top: 12, bottom: 28 };
const LABELS = 6;

/** What one bar may stand for, in hours. */
const SPANS = [1, 2, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24, 91 * 24, 365 * 24];

export interface Bar {
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly counts: Readonly<Record<Decided, number>>;
}

/** The hours gathered into bars of one length, those without decisions included. */
export function barsOf(hours: readonly HourCount[]): { readonly spanHours: number; readonly bars: readonly Bar[] } {
  const [first, last] = [hours[0]?.hour, hours.at(-1)?.hour];
  if (first === undefined || last === undefined) return { spanHours: 1, bars: [] };
  const largest = SPANS.at(-1) as number;
  const spanHours = SPANS.find((span) => Math.floor(last / span) - Math.floor(first / span) < MAX_BARS) ?? largest;
  // Beyond the largest span only the newest fit.
  const end = Math.floor(last / spanHours);
  const start = Math.max(Math.floor(first / spanHours), end - MAX_BARS + 1);
  const bars = Array.from({ length: end - start + 1 }, (_, index) => ({
    from: (start + index) * spanHours * HOUR_MS,
    counts: { allow: 0, ask: 0, refuse: 0 },
  }));
  for (const { hour, counts } of hours) {
    const bar = bars[Math.floor(hour / spanHours) - start];
    if (bar !== undefined) for (const what of DECIDED) bar.counts[what] += counts[what];
  }
  return { spanHours, bars };
}

export function barChart(hours: readonly HourCount[]): Markup {
  const { spanHours, bars } = barsOf(hours);
  if (bars.length === 0) return html`<p class="none">No decisions.</p>`;
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const top = niceTop(Math.max(...bars.map(totalOf)));
  const step = inner.width / Math.max(bars.length, 12);
  const x = (index: number) => MARGIN.left + index * step;
  const y = (count: number) => MARGIN.top + inner.height * (1 - count / top);

  const grid = [0, top / 2, top].map(
    (
      count,
    ) => html`<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${fixed(y(count))}" y2="${fixed(y(count))}" class="grid"/>
<text x="${MARGIN.left - 6}" y="${fixed(y(count) + 4)}" text-anchor="end">${count}</text>`,
  );
  const stacks = bars.map((bar, index) => {
    let below = 0;
    const parts = DECIDED.flatMap((what) => {
      const count = bar.counts[what];
      if (count === 0) return [];
      const bottom = below;
      below += count;
      const height = y(bottom) - y(below);
      return [
        html`<rect x="${fixed(x(index) + step * 0.1)}" y="${fixed(y(below))}" width="${fixed(step * 0.8)}" height="${fixed(height)}" class="${what}"/>`,
      ];
    });
    const { allow, ask, refuse } = bar.counts;
    return html`<g><title>${label(bar.from, spanHours)}: ${allow} allowed, ${ask} asked, ${refuse} refused</title>${parts}</g>
`;
  });
  const every = Math.ceil(bars.length / LABELS);
  const labels = bars.flatMap((bar, index) =>
    index % every === 0
      ? [html`<text x="${fixed(x(index))}" y="${HEIGHT - 8}">${label(bar.from, spanHours)}</text>`]
      : [],
  );
  return html`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Decisions over time">
${grid}
${stacks}${labels}
</svg>
<p class="legend"><span class="allow">allowed</span> <span class="ask">asked</span> <span class="refuse">refused</span> One bar is ${spanText(spanHours)} (UTC).</p>`;
}

const totalOf = ({ counts }: Bar): number => counts.allow + counts.ask + counts.refuse;

const TOPS = [2, 4, 6, 8, 10, 12, 14, 16, 18];

/** The next of 2, 4, ... 18, 20, 40, ... 180, 200, ...: even, so that its half is a whole number, and never half empty. */
function niceTop(count: number): number {
  for (let unit = 1; ; unit *= 10) {
    const found = TOPS.find((factor) => factor * unit >= count);
    if (found !== undefined) return found * unit;
  }
}

function label(from: number, spanHours: number): string {
  const text = new Date(from).toISOString();
  return spanHours >= 24 ? text.slice(0, 10) : text.slice(5, 16).replace('T', ' ');
}

function spanText(hours: number): string {
  const days = hours / 24;
  if (days >= 1) return days === 1 ? 'a day' : `${days} days`;
  return hours === 1 ? 'an hour' : `${hours} hours`;
}

const fixed = (value: number): string => String(Math.round(value * 10) / 10);
