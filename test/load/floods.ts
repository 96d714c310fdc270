// What a source may pour over the broker, while another one works.
import { MAX_BODY_BYTES } from '../../daemon/qrexec/door.ts';
import { frame } from '../broker/caller.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';

export const WORKER = 'agent-worker';
export const FLOODER = 'agent-flooder';

export const QUBES = 20;
export const nameOf = (index: number): string => `ai-${String(index % QUBES).padStart(4, '0')}`;

export const FLEET: FleetSpec = {
  default_netvm: 'sys-firewall',
  qubes: {
    [WORKER]: { state: 'Running' },
    [FLOODER]: { state: 'Running' },
    'sys-firewall': { state: 'Running' },
    'debian-13': { klass: 'TemplateVM' },
    ...Object.fromEntries(
      Array.from({ length: QUBES }, (_, index) => [
        nameOf(index),
        { tags: ['ai-managed', 'ai-full'], props: { template: 'debian-13', label: 'gray' } },
      ]),
    ),
  },
};

export interface Flood {
  readonly what: string;
  /** Callers side by side. */
  readonly callers: number;
  readonly next: () => { readonly bytes: string | Buffer; readonly halfClose?: boolean };
}

const from = { source: FLOODER };
let turn = 0;

export const FLOODS: readonly Flood[] = [
  {
    what: '200 callers that are refused',
    callers: 200,
    next: () => ({ bytes: frame('qmcp.GetPropertyAIManaged', { name: 'no-such', property: 'label' }, from) }),
  },
  {
    what: '200 callers that read',
    callers: 200,
    next: () => ({ bytes: frame('qmcp.GetPropertyAIManaged', { name: nameOf(turn++), property: 'label' }, from) }),
  },
  {
    what: '200 callers that change',
    callers: 200,
    next: () => ({
      bytes: frame(
        'qmcp.SetPropertyAIManaged',
        { name: nameOf(turn++), property: 'label', value: turn % 2 ? 'red' : 'blue' },
        from,
      ),
    }),
  },
  {
    what: '100 callers that never end their call',
    callers: 100,
    next: () => ({ bytes: frame('qmcp.GetPropertyAIManaged', '{"name":', from), halfClose: false }),
  },
  {
    what: '100 callers that send eight times too much',
    callers: 100,
    next: () => ({ bytes: frame('qmcp.GetPropertyAIManaged', 'x'.repeat(8 * MAX_BODY_BYTES), from) }),
  },
  {
    what: '100 callers whose header is none',
    callers: 100,
    next: () => ({ bytes: 'nonsense\0{}' }),
  },
];
