import { describe, expect, test } from 'vitest';
import { FleetView, type Snapshot, type ViewedQube } from '../../daemon/fleet/view.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { accountOf, type Caller, type Limits, ownerOf } from '../../daemon/principals/caller.ts';
import { patternsOf } from '../../daemon/principals/patterns.ts';
import { isInScope, isNamable, isOwn, scopedTo } from '../../daemon/principals/scope.ts';
import { isManaged } from '../../daemon/qube.ts';
import type { Admin } from '../../daemon/qubesadmin/admin.ts';
import { LIMITS } from './limits.ts';

const source = 'mcp-control' as QubeName;
const web = (limits: Partial<Limits> = {}): Caller => ({
  source,
  principal: 'web',
  signed: true,
  limits: { ...LIMITS, ...limits },
});
const qube = (name: string, ...tags: string[]) => ({ name: name as QubeName, tags: new Set(tags) });

describe('what was created for a caller', () => {
  test('is tagged for its source if the call was not signed, as ever, and for the principal if it was', () => {
    expect(ownerOf({ source, principal: 'default' })).toBe('mcp-control');
    expect(ownerOf({ source, principal: 'agents', limits: LIMITS })).toBe('mcp-control');
    expect(ownerOf(web())).toBe('_web');
    expect(accountOf({ source, principal: 'agents' })).toBe('agents@mcp-control');
    expect(accountOf(web())).toBe('web');
  });

  test("is its own, and no other's, not even of a qube that has the principal's name", () => {
    expect(isOwn(qube('x', 'qmcp-owner__web'), web())).toBe(true);
    expect(isOwn(qube('x', 'qmcp-owner_web'), web())).toBe(false);
    expect(isOwn(qube('x', 'qmcp-owner__web'), { source: 'web' as QubeName, principal: 'default' })).toBe(false);
    expect(isOwn(qube('x', 'qmcp-owner_mcp-control'), { source, principal: 'default' })).toBe(true);
    expect(isOwn({ tags: null }, web())).toBe(false);
  });
});

describe('a qube', () => {
  const limited = web({ names: patternsOf(['ai-web-*']) });
  test('is namable by its name, by having been created for the caller, or where no names are said', () => {
    expect(isNamable(qube('ai-web-1'), limited)).toBe(true);
    expect(isNamable(qube('disp1', 'qmcp-owner__web'), limited)).toBe(true);
    expect(isNamable(qube('ai-other'), limited)).toBe(false);
    expect(isNamable(qube('ai-other'), web())).toBe(true);
    expect(isNamable(qube('ai-other'), { source, principal: 'default' })).toBe(true);
  });
  test('is in scope if it is managed as well', () => {
    expect(isInScope(qube('ai-web-1', 'ai-managed'), limited)).toBe(true);
    expect(isInScope(qube('ai-web-1'), limited)).toBe(false);
    expect(isInScope(qube('ai-other', 'ai-managed'), limited)).toBe(false);
  });
});

describe('the fleet as a caller may see it', () => {
  const viewed = (name: string, ...tags: string[]): [QubeName, ViewedQube] => [
    name as QubeName,
    {
      name: name as QubeName,
      uuid: '00000000-0000-4000-8000-000000000000' as Uuid,
      klass: 'AppVM',
      state: 'Halted',
      tags: new Set(tags),
      properties: null,
      asOf: 7,
    },
  ];
  const snapshot: Snapshot = new Map([
    viewed('ai-web-1', 'ai-managed', 'ai-exec'),
    viewed('ai-other', 'ai-managed', 'ai-full'),
    viewed('disp1', 'ai-managed', 'qmcp-owner__web'),
    viewed('vault'),
  ]);
  class Held extends FleetView {
    held: Snapshot | null = snapshot;
    constructor() {
      super({} as Admin);
    }
    override peek = (): Snapshot | null => this.held;
    override snapshot = async (): Promise<Snapshot> => snapshot;
    override readonly live = async (name: QubeName) => {
      const found = snapshot.get(name);
      return found ? { ...found, state: 'Halted' as const } : null;
    };
  }
  const limited = web({ names: patternsOf(['ai-web-*']) });
  const managed = (seen: Snapshot | null): string[] =>
    [...(seen?.values() ?? [])].filter(isManaged).map(({ name }) => name);

  test('is the fleet itself where no names are said', () => {
    const fleet = new Held();
    expect(scopedTo(web(), fleet)).toBe(fleet);
    expect(scopedTo({ source, principal: 'default' }, fleet)).toBe(fleet);
  });

  test('has all qubes, of which those out of scope do not carry the umbrella', async () => {
    const fleet = scopedTo(limited, new Held());
    expect(managed(fleet.peek())).toEqual(['ai-web-1', 'disp1']);
    expect(managed(await fleet.snapshot())).toEqual(['ai-web-1', 'disp1']);
    expect([...(fleet.peek()?.keys() ?? [])]).toEqual([...snapshot.keys()]);
    expect(fleet.peek()?.get('ai-other' as QubeName)?.tags).toEqual(new Set(['ai-full']));
    expect(fleet.peek()?.get('ai-web-1' as QubeName)).toBe(snapshot.get('ai-web-1' as QubeName));
    expect(await fleet.live('ai-other' as QubeName).then((found) => found && isManaged(found))).toBe(false);
    expect(await fleet.live('ai-web-1' as QubeName).then((found) => found && isManaged(found))).toBe(true);
    expect(await fleet.live('nobody' as QubeName)).toBeNull();
  });

  test('is the same object while snapshot and limits are the same, so that what is known of it stays known', () => {
    const held = new Held();
    const first = scopedTo(limited, held).peek();
    expect(scopedTo(limited, held).peek()).toBe(first);
    expect(scopedTo({ ...limited, limits: { ...LIMITS, names: patternsOf(['ai-other']) } }, held).peek()).not.toBe(
      first,
    );
    expect(managed(scopedTo({ ...limited, principal: 'other' }, held).peek())).toEqual(['ai-web-1']);
  });

  test('is remembered for so many callers of one snapshot, and made anew for one more', () => {
    const held = new Held();
    held.held = new Map(snapshot);
    const callers = Array.from({ length: 65 }, (_, index) => ({ ...limited, principal: `p${index}` }));
    const first = callers.map((caller) => scopedTo(caller, held).peek());
    const again = callers.map((caller) => scopedTo(caller, held).peek());
    expect(again.map((each, index) => each === first[index])).toEqual([...Array(64).fill(true), false]);
    expect(again.map(managed)).toEqual(first.map(managed));
  });

  test('knows no more than the fleet does', async () => {
    const held = new Held();
    held.held = null;
    const fleet = scopedTo(limited, held);
    expect(fleet.peek()).toBeNull();
    expect(fleet.isStanding).toBe(false);
    const events: unknown[] = [];
    const unfollow = fleet.follow((event) => events.push(event));
    held.established();
    held.lost();
    unfollow();
    held.lost();
    expect(events).toEqual([null]);
    held.established();
    expect(fleet.isStanding).toBe(true);
    const [[, one] = []] = [...snapshot];
    expect(one && fleet.isCurrent(one)).toBe(false);
    expect(one && fleet.isCurrent({ ...one, asOf: 0 })).toBe(true);
  });
});
