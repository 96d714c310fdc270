// What a plan reads from the view, read by the same parser that reads qubesd's own answers.
import { describe, expect, test } from 'vitest';
import type { Snapshot, ViewedQube } from '../../daemon/fleet/view.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { factsOf } from '../../daemon/plans/view-facts.ts';
import { adminOver, type PropertyValue } from '../../daemon/qubesadmin/admin.ts';
import type { AdminCall } from '../../daemon/qubesadmin/client.ts';

const uuid = (last: number): Uuid => `00000000-0000-4000-8000-00000000000${last}` as Uuid;
const LABEL: PropertyValue = { isDefault: false, type: 'label', text: 'gray' };
const MEMORY: PropertyValue = { isDefault: true, type: 'int', text: '400' };
const NOTE: PropertyValue = { isDefault: false, type: 'str', text: 'a\\b\nc' };
const qube = (name: string, last: number, changes: Partial<ViewedQube> = {}): [QubeName, ViewedQube] => [
  name as QubeName,
  {
    name: name as QubeName,
    uuid: uuid(last),
    klass: 'AppVM',
    state: 'Running',
    tags: new Set(['ai-managed', 'ai-exec']),
    properties: new Map([
      ['label', LABEL],
      ['memory', MEMORY],
      ['note', NOTE],
    ]),
    asOf: 0,
    ...changes,
  },
];
const SNAPSHOT: Snapshot = new Map([
  qube('ai-work', 1),
  qube('ai-off', 2, { state: 'Halted', klass: 'TemplateVM', tags: new Set() }),
  qube('ai-dim', 3, { state: 'unknown', tags: null, properties: null }),
]);

const place = () => {
  const asked: string[] = [];
  const real: AdminCall = async ({ method, arg = '', dest }) => {
    asked.push(`${method}+${arg} ${typeof dest === 'string' ? dest : 'uuid' in dest ? dest.uuid : dest.name}`);
    return Buffer.from('size=1\nusage=2\n');
  };
  return { asked, admin: adminOver(factsOf(SNAPSHOT, real)), call: factsOf(SNAPSHOT, real) };
};
const WORK = { name: 'ai-work' as QubeName };
const DIM = { uuid: uuid(3) };

describe('from the view come', () => {
  test('all qubes, and each by name and by uuid', async () => {
    const { admin, asked } = place();
    const rows = [
      { name: 'ai-work', uuid: uuid(1), klass: 'AppVM', state: 'Running' },
      { name: 'ai-off', uuid: uuid(2), klass: 'TemplateVM', state: 'Halted' },
      { name: 'ai-dim', uuid: uuid(3), klass: 'AppVM', state: 'NA' },
    ];
    expect(await admin.list()).toEqual(rows);
    expect(await admin.row('ai-off' as QubeName)).toEqual(rows[1]);
    expect(await admin.rowOf(uuid(1))).toEqual(rows[0]);
    expect(asked).toEqual([]);
  });

  test('that there is no such qube', async () => {
    const { admin, asked } = place();
    expect(await admin.row('ghost' as QubeName)).toBeNull();
    expect(await admin.rowOf(uuid(9))).toBeNull();
    await expect(admin.tags({ name: 'ghost' as QubeName })).rejects.toMatchObject({
      kind: 'exception',
      type: 'QubesVMNotFoundError',
    });
    expect(asked).toEqual([]);
  });

  test('state, tags and properties', async () => {
    const { admin, asked } = place();
    for (const dest of [WORK, { uuid: uuid(1) }]) {
      expect(await admin.state(dest)).toBe('Running');
      expect(await admin.tags(dest)).toEqual(new Set(['ai-managed', 'ai-exec']));
      expect(await admin.property(dest, 'label')).toEqual(LABEL);
      expect(await admin.property(dest, 'memory')).toEqual(MEMORY);
      expect(await admin.properties(dest)).toEqual(SNAPSHOT.get(WORK.name)?.properties);
    }
    expect(await admin.tags({ uuid: uuid(2) })).toEqual(new Set());
    expect(asked).toEqual([]);
  });
});

describe('asked for is', () => {
  test('what the view does not hold of a qube', async () => {
    const { call, asked } = place();
    await call({ method: 'admin.vm.List', dest: DIM });
    await call({ method: 'admin.vm.CurrentState', dest: DIM });
    await call({ method: 'admin.vm.tag.List', dest: DIM });
    await call({ method: 'admin.vm.property.Get', arg: 'label', dest: DIM });
    await call({ method: 'admin.vm.property.GetAll', dest: DIM });
    await call({ method: 'admin.vm.property.Get', arg: 'vcpus', dest: WORK });
    expect(asked).toEqual([
      `admin.vm.List+ ${uuid(3)}`,
      `admin.vm.CurrentState+ ${uuid(3)}`,
      `admin.vm.tag.List+ ${uuid(3)}`,
      `admin.vm.property.Get+label ${uuid(3)}`,
      `admin.vm.property.GetAll+ ${uuid(3)}`,
      'admin.vm.property.Get+vcpus ai-work',
    ]);
  });

  test('what no view holds, of a qube and of the machine', async () => {
    const { admin, call, asked } = place();
    await admin.volume(WORK, 'private');
    await call({ method: 'admin.pool.Info', arg: 'vm-pool', dest: 'dom0' });
    expect(asked).toEqual(['admin.vm.volume.Info+private ai-work', 'admin.pool.Info+vm-pool dom0']);
  });
});
