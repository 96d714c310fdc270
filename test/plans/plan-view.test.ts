import { expect, test } from 'vitest';
import type { View } from '../../daemon/confirm/question.ts';
import type { QubeName } from '../../daemon/names.ts';
import { MAX_LINE_LENGTH, MAX_LINES, planView, type StepView } from '../../daemon/plans/plan-view.ts';
import type { Admin } from '../../daemon/qubesadmin/admin.ts';
import { viewOf } from '../../daemon/services/words.ts';

const admin = { property: async () => ({ isDefault: false, type: 'label', text: 'red' }) } as unknown as Admin;
const caller = { source: 'mcp-control' as QubeName, principal: 'default' };
const name = (text: string) => ({ name: text as QubeName, label: 'gray' as const });

const start = (step: number): StepView => ({ step, view: viewOf('change', null, [['Start ', name(`ai-${step}`)]]) });
const remove = (step: number): StepView => ({
  step,
  view: viewOf('destroy', `ai-${step}` as QubeName, [
    ['Remove ', name(`ai-${step}`)],
    ['Asked by: ', name('mcp-control')],
    ['It is gone.'],
  ]),
});
const view = (views: readonly StepView[], steps = views.length): Promise<View | null> =>
  planView(steps, views, caller, admin);

test('a removal buried among 31 harmless steps comes first, is counted, and has its name typed', async () => {
  const steps = Array.from({ length: 32 }, (_, index) => (index === 20 ? remove(21) : start(index + 1)));
  const shown = await view(steps);
  expect(shown?.lines[0]).toBe('Run a plan of 32 steps, 1 of them destructive');
  expect(shown?.lines[2]).toBe('Step 21: Remove ai-21 (gray); It is gone.');
  expect(shown).toMatchObject({ risk: 'destroy', type_to_confirm: 'ai-21' });
});

test('every named qube of every step is there and marked where it stands', async () => {
  const steps = Array.from({ length: 32 }, (_, index) => start(index + 1));
  const shown = (await view(steps)) as View;
  for (let step = 1; step <= 32; step++) expect(shown.lines).toContain(`Step ${step}: Start ai-${step} (gray)`);
  const marked = shown.marks.map(({ line, start: from, end }) => shown.lines[line]?.slice(from, end));
  expect(marked).toEqual(['mcp-control', ...steps.map(({ step }) => `ai-${step}`)]);
});

test('a plan of harmless steps says so, and wants no name typed', async () => {
  const shown = await view([start(1), start(2)]);
  expect(shown?.lines[0]).toBe('Run a plan of 2 steps, none of them destructive');
  expect(shown).toMatchObject({ risk: 'change', type_to_confirm: null });
});

test('a plan may be one step', async () => {
  expect((await view([remove(1)]))?.lines[0]).toBe('Run a plan of 1 step, 1 of them destructive');
});

test('what a step says is divided by a semicolon, but where a sentence or a colon ends', async () => {
  const facts = ['Then:', 'this.', 'And that.', 'So'].map((fact) => [fact]);
  const shown = await view([{ step: 1, view: viewOf('change', null, [['Do ', name('ai-1')], ...facts]) }]);
  expect(shown?.lines).toContain('Step 1: Do ai-1 (gray); Then: this. And that. So');
});

test('steps that only read are counted', async () => {
  expect((await view([start(2)], 3))?.lines).toContain('Steps that only read, and were answered already: 2');
});

test('what a step says goes into as many lines as it needs, and none is cut', async () => {
  const facts = Array.from({ length: 5 }, (_, index) => [`Fact ${index}: ${'x'.repeat(100)}`]);
  const shown = (await view([{ step: 1, view: viewOf('change', null, [['Do ', name('ai-1')], ...facts]) }])) as View;
  expect(shown.lines.every((line) => line.length <= MAX_LINE_LENGTH)).toBe(true);
  for (let fact = 0; fact < 5; fact++) expect(shown.lines.join('\n')).toContain(`Fact ${fact}: ${'x'.repeat(100)}`);
});

test('a line of a step is filled to its end', async () => {
  const room = MAX_LINE_LENGTH - 'Step 1: Do that; '.length;
  const linesOf = async (length: number) =>
    (await view([{ step: 1, view: viewOf('change', null, [['Do that'], ['x'.repeat(length)]]) }]))?.lines;
  expect(await linesOf(room)).toContain(`Step 1: Do that; ${'x'.repeat(room)}`);
  expect(await linesOf(room + 1)).toContain(`Step 1, more: ${'x'.repeat(room + 1)}`);
});

test('a plan that does not fit is no question: too many lines, or one that is too long', async () => {
  const long = (length: number) => view([{ step: 1, view: viewOf('change', null, [['x'.repeat(length)]]) }]);
  expect(await long(MAX_LINE_LENGTH - 'Step 1: '.length)).not.toBeNull();
  expect(await long(MAX_LINE_LENGTH - 'Step 1: '.length + 1)).toBeNull();
  // Beside the steps there are the headline, who asks, and how they run.
  const some = (count: number) => view(Array.from({ length: count }, (_, index) => start(index + 1)));
  expect(await some(MAX_LINES - 3)).not.toBeNull();
  expect(await some(MAX_LINES - 2)).toBeNull();
});
