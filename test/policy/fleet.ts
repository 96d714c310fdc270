// The machine on which the policy is tried: one qube of every kind that a rule may tell apart, each named for its kind.
import type { Domains } from './evaluate.ts';

const managed = (...tags: string[]) => ({ tags: ['ai-managed', ...tags], default_dispvm: 'other-dvm' });

export const FLEET: Domains = {
  'mcp-control': { type: 'StandaloneVM', default_dispvm: 'other-dvm' },
  agent: { tags: ['mcp-agent'], default_dispvm: 'other-dvm' },
  'managed-agent': managed('mcp-agent', 'ai-full'),
  ro: managed(),
  exec: managed('ai-exec'),
  net: managed('ai-net'),
  full: managed('ai-full'),
  guarded: managed('ai-full', 'qmcp-guarded'),
  anon: managed('anon-vm'),
  template: { ...managed(), type: 'TemplateVM' },
  'ai-dvm': { ...managed('ai-full'), template_for_dispvms: true },
  dump: { tags: ['ai-dump'] },
  'managed-dump': managed('ai-exec', 'ai-dump'),
  tombstone: { tags: ['qmcp-tombstone_1700000000'] },
  stray: { tags: ['ai-exec'] },
  untagged: { default_dispvm: 'other-dvm' },
  'other-dvm': { template_for_dispvms: true },
  'sys-net': {},
  'sys-usb': {},
};

/** The same machine where the agents' own qube was tagged as managed by mistake. */
export const MISTAKEN: Domains = { ...FLEET, 'mcp-control': managed('ai-full') };

/** What a caller can name, in the order of the table's columns; `self` is the caller. */
export const TARGETS = [
  'dom0',
  '@default',
  '@dispvm',
  '@dispvm:ai-dvm',
  '@dispvm:other-dvm',
  'ro',
  'exec',
  'net',
  'full',
  'guarded',
  'dump',
  'managed-dump',
  'tombstone',
  'stray',
  'untagged',
  'sys-usb',
  'mcp-control',
  'agent',
  'managed-agent',
  'self',
] as const;

/** Who can call, beside dom0, which no policy governs. */
export const SOURCES = [
  'mcp-control',
  'agent',
  'managed-agent',
  'ro',
  'exec',
  'net',
  'full',
  'guarded',
  'anon',
  'template',
  'ai-dvm',
  'managed-dump',
  'dump',
  'tombstone',
  'stray',
  'untagged',
] as const;

export const isManaged = (name: string): boolean => FLEET[name]?.tags?.includes('ai-managed') ?? false;
export const isAgent = (name: string): boolean =>
  name === 'mcp-control' || (FLEET[name]?.tags?.includes('mcp-agent') ?? false);
