import { expect, test } from 'vitest';
import { SERVICES as RULES } from '../../daemon/authority/tables.ts';
import { type Kind, kindOf, MAX_LINES_WITH_HINT, NORMAL, withHint } from '../../daemon/confirm/normal.ts';
import type { View } from '../../daemon/confirm/question.ts';
import { reasonNotToShow } from '../../daemon/dialog/displayable.ts';
import { SERVICES } from '../../daemon/services/registry.ts';
import { SETTABLE } from '../../daemon/services/settable-properties.ts';

const view = (lines: number): View => ({
  lines: Array.from({ length: lines }, (_, index) => `Line ${index}`),
  marks: [],
  type_to_confirm: null,
  risk: 'change',
});
const kind = (service: string, what: string): Kind => ({ source: 's', principal: 'p', service, what });

const KINDS = [...SERVICES.values()]
  .filter((service) => service.kind === 'change')
  .flatMap(({ name }) =>
    name === 'qmcp.SetPropertyAIManaged'
      ? // A name is never asked about: nobody can change it.
        Object.keys(SETTABLE).flatMap((property) => (property === 'name' ? [] : [[name, property] as const]))
      : [...(RULES.get(name)?.actions.keys() ?? [])].map((action) => [name, action] as const),
  );

test.each([...KINDS, ['qmcp.Commit', 'commit'] as const])(
  '%s %s has a sentence of its own that may be shown',
  (...of) => {
    const lines = withHint(view(3), kind(...of)).lines;
    expect(lines).toHaveLength(4);
    expect(lines.slice(0, 3)).toEqual(view(3).lines);
    expect(lines[3]).toMatch(/^First time this agent asks this\. Normal: [a-z].*[^.]\.$/);
    expect(reasonNotToShow(lines)).toBeNull();
    // Two rows of the window at most.
    expect(lines[3]?.length).toBeLessThanOrEqual(130);
  },
);

test('there is no sentence for what cannot be asked', () => {
  const all = [...NORMAL].flatMap(([service, sentences]) => [...sentences.keys()].map((what) => `${service} ${what}`));
  expect(all.sort()).toEqual([...KINDS.map((each) => each.join(' ')), 'qmcp.Commit commit'].sort());
});

test('a question that is long already is left as it is', () => {
  const start = kind('qmcp.LifecycleAIManaged', 'start');
  expect(withHint(view(MAX_LINES_WITH_HINT), start).lines).toHaveLength(MAX_LINES_WITH_HINT + 1);
  expect(withHint(view(MAX_LINES_WITH_HINT + 1), start)).toEqual(view(MAX_LINES_WITH_HINT + 1));
});

test('an unknown kind gets no sentence', () => {
  for (const [service, what] of [
    ['qmcp.Other', 'start'],
    ['qmcp.LifecycleAIManaged', 'constructor'],
  ] as const)
    expect(withHint(view(2), kind(service, what))).toEqual(view(2));
});

test('setting one property is another kind than setting another; of other services only the action counts', () => {
  const ofCall = { source: 's', principal: 'p', service: 'qmcp.SetPropertyAIManaged', action: 'set-property' };
  expect(kindOf({ ...ofCall, args: { name: 'x', property: 'label' } })).toEqual(kind(ofCall.service, 'label'));
  expect(kindOf({ ...ofCall, args: { name: 'x', property: null } }).what).toBe('set-property');
  const feature = { ...ofCall, service: 'qmcp.SetFeatureAIManaged', action: 'set-feature', args: { property: 'x' } };
  expect(kindOf(feature).what).toBe('set-feature');
});
