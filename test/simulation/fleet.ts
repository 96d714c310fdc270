// The simulated machine at the start of an episode: agents' qubes of every tier, an operator's own, and those in between.
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';

const TEMPLATED = { template: 'ai-t', netvm: 'ai-router' };
const managed = (tags: readonly string[], spec: QubeSpec = {}): QubeSpec => ({
  props: TEMPLATED,
  ...spec,
  tags: ['ai-managed', ...tags],
});
const operators = (spec: QubeSpec): QubeSpec => ({ tags: [], ...spec });
const BLOCK = { devices: { 'block.Available': ['sda'] } };

/** Where calls come from. The second is itself a managed qube, the third one that nobody enrols. */
export const SOURCES = ['mcp-control', 'ai-a', 'mcp-rogue'] as const;

/** Qubes that agents may know of, on every rung of the ladder. */
export const AGENTS_QUBES: Readonly<Record<string, QubeSpec>> = {
  'ai-a': managed([], BLOCK),
  'ai-b': managed([], { state: 'Running' }),
  'ai-exec': managed(['ai-exec']),
  'ai-net': managed(['ai-net'], { state: 'Running' }),
  'ai-full': managed(['ai-full'], { ...BLOCK, features: { 'menu-items': 'a.desktop', 'ai-note': '1' } }),
  'ai-full2': managed(['ai-full', 'created-by-dom0'], { firewall: 'action=accept dsthost=example.com\naction=drop\n' }),
  'ai-guard': managed(['ai-full', 'qmcp-guarded']),
  'ai-listed': managed(['ai-full']),
  'ai-t': { klass: 'TemplateVM', tags: ['ai-managed', 'ai-full'], props: { netvm: null } },
  'ai-t2': { klass: 'TemplateVM', tags: ['ai-managed', 'ai-exec'], props: { netvm: null } },
  'ai-dvmt': managed(['ai-full'], { props: { ...TEMPLATED, template_for_dispvms: 'True' } }),
};

/** Names that no reply may ever hold unless its call did: nothing makes any of these a managed qube. */
export const OPERATORS_QUBES: Readonly<Record<string, QubeSpec>> = {
  'opq-vault': operators({ props: { template: 'opq-fedora', netvm: null } }),
  'opq-bank': operators({ state: 'Running', props: { template: 'opq-fedora', netvm: 'opq-firewall' } }),
  'opq-fedora': operators({ klass: 'TemplateVM' }),
  'opq-firewall': operators({
    state: 'Running',
    props: { template: 'opq-fedora', netvm: null, provides_network: 'True' },
  }),
};
export const OPERATORS_NAME = /opq-[a-z]+/;

/** Qubes that were never under the umbrella, but that tags may bring there. */
export const STRANGERS: Readonly<Record<string, QubeSpec>> = {
  'ai-secret': operators({ props: { template: 'opq-fedora', netvm: null } }),
  'ai-dumped': operators({ tags: ['ai-dump'], props: { template: 'opq-fedora', netvm: null } }),
};

export const FLEET: FleetSpec = {
  default_netvm: 'opq-firewall',
  hooks: { extra_birth_tags: ['ai-dump', 'qmcp-stray'] },
  qubes: {
    dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
    'mcp-control': operators({ klass: 'StandaloneVM', state: 'Running', props: { netvm: 'ai-router' } }),
    'mcp-rogue': operators({ klass: 'StandaloneVM', state: 'Running', props: { netvm: null } }),
    'ai-router': {
      tags: ['ai-managed', 'ai-exec'],
      state: 'Running',
      props: { template: 'ai-t', netvm: 'opq-firewall', provides_network: 'True' },
    },
    ...OPERATORS_QUBES,
    ...STRANGERS,
    ...AGENTS_QUBES,
  },
};

/** Names that calls give to what they create; the operator creates nothing under them. */
export const BIRTH_NAMES = ['ai-n0', 'ai-n1', 'ai-n2', 'ai-n3', 'ai-n4', 'ai-n5'] as const;
