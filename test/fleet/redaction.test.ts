import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OUT_OF_SCOPE, redacted } from '../../daemon/fleet/redaction.ts';
import type { Snapshot, ViewedQube } from '../../daemon/fleet/view.ts';
import type { QubeName } from '../../daemon/names.ts';

const snapshotOf = (tags: Record<string, readonly string[] | null>): Snapshot =>
  new Map(
    Object.entries(tags).map(([name, tags]) => [
      name as QubeName,
      { name, tags: tags && new Set(tags) } as Partial<ViewedQube> as ViewedQube,
    ]),
  );

const SNAPSHOT = snapshotOf({
  'ai-work': ['ai-managed'],
  'ai-full': ['ai-managed', 'ai-full'],
  vault: [],
  'ai-secret': ['mylabel'],
  'ai-dump': ['ai-dump'],
  unread: null,
  dom0: [],
});

test('the name of a managed qube is told', () => {
  expect(redacted(SNAPSHOT, 'ai-work')).toBe('ai-work');
  expect(redacted(SNAPSHOT, 'ai-full')).toBe('ai-full');
});

test.each([
  'vault',
  'ai-secret',
  'ai-dump',
  'unread',
  'dom0',
  'ai-ghost',
  '',
  'AI-WORK',
  'ai-work ',
  'ai-work\n',
  '<x>',
])('the name %j is not told, whether it is unmanaged, unknown or none', (name) => {
  expect(redacted(SNAPSHOT, name)).toBe(OUT_OF_SCOPE);
});

test('what comes out is the name of a managed qube or the sentinel, whatever goes in', () => {
  const names = fc.oneof(
    fc.constantFrom(...[...SNAPSHOT.keys()]),
    fc.string(),
    fc.constantFrom('__proto__', 'constructor'),
  );
  fc.assert(
    fc.property(names, (name) => {
      const managed = SNAPSHOT.get(name as QubeName)?.tags?.has('ai-managed') ?? false;
      expect(redacted(SNAPSHOT, name)).toBe(managed ? name : '<out-of-scope>');
    }),
  );
});
