// The fleet F0 of the wire contract, section 9: nine managed qubes, a control qube, and the operator's own.
import type { FleetSpec, QubeSpec } from './fleet.ts';

const managed = (spec: QubeSpec, ...tiers: string[]): QubeSpec => ({ ...spec, tags: ['ai-managed', ...tiers] });
const untagged = (spec: QubeSpec): QubeSpec => ({ ...spec, tags: [] });

const ROUTER = {
  state: 'Running',
  props: { template: 'fedora-43', netvm: 'sys-firewall', provides_network: 'True', label: 'red' },
};
const ON_DEBIAN = { template: 'ai-debian-13', netvm: 'ai-net-router' };

export const FLEET_F0: FleetSpec = {
  default_netvm: 'sys-firewall',
  qubes: {
    dom0: untagged({ klass: 'AdminVM', state: 'Running' }),
    'mcp-control': untagged({ klass: 'StandaloneVM', state: 'Running', props: { netvm: 'ai-net-router' } }),
    'ai-net-router': managed({ klass: 'AppVM', ...ROUTER }),
    'ai-tor': managed({ klass: 'AppVM', ...ROUTER }),
    'ai-debian-13': managed({ klass: 'TemplateVM', props: { netvm: null, label: 'black' } }),
    'ai-work': managed({ klass: 'AppVM', state: 'Running', props: { ...ON_DEBIAN, label: 'yellow' } }),
    'ai-idle': managed({ klass: 'AppVM', props: { ...ON_DEBIAN, label: 'gray' } }),
    'ai-exec1': managed({ klass: 'AppVM', props: ON_DEBIAN }, 'ai-exec'),
    'ai-net1': managed({ klass: 'AppVM', props: ON_DEBIAN }, 'ai-net'),
    'ai-full1': managed({ klass: 'AppVM', props: ON_DEBIAN }, 'ai-full'),
    'ai-dvmt': managed({ klass: 'AppVM', props: { ...ON_DEBIAN, template_for_dispvms: 'True' } }),
    vault: untagged({ klass: 'AppVM', props: { template: 'fedora-43', netvm: null, label: 'black' } }),
    'sys-firewall': untagged({
      klass: 'AppVM',
      state: 'Running',
      props: { template: 'fedora-43', netvm: null, provides_network: 'True' },
    }),
    'sys-whonix': untagged({
      klass: 'AppVM',
      state: 'Running',
      props: { template: 'fedora-43', netvm: 'sys-firewall', provides_network: 'True' },
    }),
    'fedora-43': untagged({ klass: 'TemplateVM' }),
    'ai-secret': untagged({ klass: 'AppVM', props: { template: 'fedora-43', netvm: null } }),
  },
};
