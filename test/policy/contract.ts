// The contract's section 7 as data: what the policy of the implementation in use answers to mcp-control, and for
// qubes.Filecopy to every kind of source. `-` is "no rule in that file", `(c)` "only by the lines that the flip deletes".

export const KINDS = ['dom0', 'ro', 'exec', 'net', 'full', 'dump', 'untagged', 'self'] as const;
export type Kind = (typeof KINDS)[number];

export interface ContractRow {
  readonly services: readonly string[];
  readonly cells: Readonly<Record<Kind, string>>;
}

const row = (services: readonly string[], text: string): ContractRow => {
  const cells = text.split('|').map((cell) => cell.trim());
  return { services, cells: Object.fromEntries(KINDS.map((kind, index) => [kind, cells[index] ?? ''])) as never };
};

const device = (classes: readonly string[], methods: readonly string[]): string[] =>
  classes.flatMap((of) => methods.map((method) => `admin.vm.device.${of}.${method}`));

const THIRTEEN = [
  'qmcp.ListAIManagedQubes',
  'qmcp.GetPropertyAIManaged',
  'qmcp.SetPropertyAIManaged',
  'qmcp.SetFeatureAIManaged',
  'qmcp.LifecycleAIManaged',
  'qmcp.SpawnAIManagedQube',
  'qmcp.SpawnDisposableAIManaged',
  'qmcp.CloneAIManagedQube',
  'qmcp.AttachDeviceAIManaged',
  'qmcp.DetachDeviceAIManaged',
  'qmcp.ListAttachedDevicesAIManaged',
  'qmcp.GetPoolStats',
  'qmcp.AIManagedEvents',
];

export const FOR_MCP_CONTROL: readonly ContractRow[] = [
  row(THIRTEEN, 'allow | deny | deny | deny | deny | deny | deny | deny'),
  row(['qmcp.RunInAIManaged', 'qmcp.CopyToAIManaged'], '- | allow(c) | allow | allow | allow | deny | deny | deny'),
  row(['admin.vm.firewall.Get'], '- | allow | allow | allow | allow | deny | deny | deny'),
  row(
    ['admin.vm.firewall.Set', 'admin.vm.firewall.Reload'],
    '- | allow(c) | allow(c) | allow | allow | deny | deny | deny',
  ),
  row(
    [...device(['block', 'mic'], ['Available', 'Attached', 'Assigned']), ...device(['usb'], ['Attached', 'Assigned'])],
    'deny | deny | deny | deny | deny | deny | deny | deny',
  ),
  row(device(['usb'], ['Available', 'List']), 'ask | deny | deny | deny | deny | deny | deny | deny'),
  row(device(['usb'], ['Attach', 'Detach']), '- | deny | deny | deny | deny | deny | deny | ask'),
  row(
    [...device(['block', 'mic', 'pci'], ['Attach', 'Detach']), ...device(['pci'], ['List', 'Available'])],
    '- | deny | deny | deny | deny | deny | deny | deny',
  ),
  row(
    ['admin.vm.List', 'admin.vm.Create.AppVM', 'admin.vm.tag.Set', 'admin.vm.property.Set', 'policy.Replace'],
    '- | deny | deny | deny | deny | deny | deny | deny',
  ),
  row(
    ['qubes.Filecopy', 'qubes.OpenInVM', 'qubes.OpenURL', 'qubes.ClipboardCopy', 'qubes.ClipboardPaste'],
    '- | ask | ask | ask | ask | ask | ask | ask',
  ),
  row(['qubes.USB'], '- | deny | deny | deny | deny | deny | deny | deny'),
  row(
    [
      'qubes.GetDate',
      'qubes.GetImageRGBA',
      'qubes.WaitForSession',
      'qubes.SyncAppMenus',
      'qubes.NotifyTools',
      'qubes.NotifyUpdates',
    ],
    'allow | deny | deny | deny | deny | deny | deny | deny',
  ),
  row(['qubes.SomethingNew'], '- | deny | deny | deny | deny | deny | deny | deny'),
];

/** qubes.Filecopy, first match, by source and target. */
export const FILECOPY: readonly {
  readonly sources: readonly string[];
  readonly cells: Readonly<Record<string, string>>;
}[] = [
  {
    sources: ['ro'],
    cells: {
      ro: 'ask',
      exec: 'ask',
      net: 'ask',
      full: 'ask',
      dump: 'allow',
      'managed-dump': 'allow',
      untagged: 'deny',
    },
  },
  {
    sources: ['exec', 'net', 'full'],
    cells: {
      ro: 'ask',
      exec: 'allow',
      net: 'allow',
      full: 'allow',
      dump: 'allow',
      'managed-dump': 'allow',
      untagged: 'deny',
    },
  },
  {
    sources: ['dump'],
    cells: { ro: 'deny', exec: 'deny', net: 'deny', full: 'deny', 'managed-dump': 'deny', untagged: '-' },
  },
  {
    sources: ['managed-dump'],
    cells: { ro: 'deny', exec: 'deny', net: 'deny', full: 'deny', dump: 'allow', untagged: 'deny' },
  },
  { sources: ['untagged'], cells: { ro: '-', exec: '-', full: '-', dump: '-', 'managed-dump': '-' } },
];

/** Where ours answers differently, on purpose: one sentence for every cell of section 7 that is not the same. */
export const INTENDED: readonly {
  readonly from: string;
  readonly to: string;
  readonly where: (cell: { service: string; source: string; target: string }) => boolean;
  readonly why: string;
}[] = [
  {
    from: '-',
    to: 'deny',
    where: ({ target }) => target === 'dom0',
    why: '`@anyvm` never matches dom0, so that policy left every dom0-targeted call to the files after it (weakness R12). Ours denies them itself.',
  },
  {
    from: 'ask',
    to: 'deny',
    where: ({ service, target }) => target === 'dom0' && service.startsWith('admin.vm.device.usb.'),
    why: 'The list of all USB devices of the machine was asked for; no `admin.*` call to dom0 is left open. A commented line brings it back.',
  },
  {
    from: 'allow',
    to: 'ask',
    where: ({ service, source, target }) =>
      service === 'qubes.Filecopy' && source !== 'mcp-control' && target !== 'dump',
    why: 'Managed qubes of the tiers exec and above copied to each other unasked, any to any. Asked by default; the mesh is a commented option.',
  },
];
