// What the platform's own policy says after ours (Qubes 4.2 and 4.3: 80-whonix, 85-admin-backup-restore, 90-default,
// 91-admin-default-deny), reduced to the services that matter here; and a careless one, to see what stands without it.
import type { Files } from './rules.ts';

type Line = readonly [service: string, source: string, target: string, action: string];

const file = (lines: readonly Line[]): string =>
  lines.map(([service, source, target, action]) => `${service} * ${source} ${target} ${action}\n`).join('');

const IN_DISPOSABLES = ['qubes.VMShell', 'qubes.VMExec', 'qubes.VMExecGUI'];
const ASKED_ELSEWHERE = ['qubes.OpenInVM', 'qubes.OpenURL', 'qubes.StartApp', 'qubes.GetImageRGBA'];
const TOLD_TO_DOM0 = [
  'qubes.FeaturesRequest',
  'qubes.NotifyTools',
  'qubes.NotifyUpdates',
  'qubes.GetRandomizedTime',
  'qubes.SyncAppMenus',
  'qubes.WindowIconUpdater',
];

export const PLATFORM: Files = new Map([
  ['80-whonix.policy', file([['whonix.NewStatus', '@tag:anon-vm', '@tag:anon-gateway', 'allow autostart=no']])],
  [
    '85-admin-backup-restore.policy',
    file([
      ['admin.vm.List', '@tag:backup-restore-mgmt', 'dom0', 'allow target=dom0'],
      ['admin.vm.tag.Set', '@tag:backup-restore-mgmt', '@tag:backup-restore-in-progress', 'allow target=dom0'],
    ]),
  ],
  [
    '90-default.policy',
    file([
      ['qubes.ConnectTCP', '@anyvm', '@anyvm', 'deny'],
      ['qubes.Filecopy', '@anyvm', '@anyvm', 'ask'],
      ['qubes.GetDate', '@tag:anon-vm', '@anyvm', 'deny'],
      ['qubes.GetDate', '@anyvm', '@anyvm', 'allow target=dom0'],
      ['qubes.Notifications', '@anyvm', '@default', 'allow target=dom0'],
      ['qubes.UpdatesProxy', '@tag:whonix-updatevm', '@default', 'allow target=sys-whonix'],
      ['qubes.UpdatesProxy', '@tag:whonix-updatevm', '@anyvm', 'deny'],
      ['qubes.UpdatesProxy', '@type:TemplateVM', '@default', 'allow target=sys-net'],
      ['qubes.UpdatesProxy', '@anyvm', '@anyvm', 'deny'],
      ['qubes.VMRootShell', '@anyvm', '@anyvm', 'deny'],
      ...TOLD_TO_DOM0.map((service): Line => [service, '@anyvm', 'dom0', 'allow']),
      ...ASKED_ELSEWHERE.flatMap((service): Line[] => [
        [service, '@anyvm', '@dispvm', 'allow'],
        [service, '@anyvm', '@anyvm', 'ask'],
      ]),
      ...IN_DISPOSABLES.flatMap((service): Line[] => [
        [service, '@anyvm', '@dispvm', 'allow'],
        [service, '@anyvm', '@anyvm', 'deny'],
      ]),
    ]),
  ],
  [
    '91-admin-default-deny.policy',
    file([
      ['admin.vm.property.GetAll', '@anyvm', '@anyvm', 'deny notify=no'],
      ['admin.vm.property.GetAll', '@anyvm', '@adminvm', 'deny notify=no'],
    ]),
  ],
]);

/** A later file that allows everything: what ours denies must be denied by ours. */
export const CARELESS: Files = new Map([
  ['40-careless.policy', '* * @anyvm @anyvm allow\n* * @anyvm @adminvm allow\n* * @anyvm @default allow target=dom0\n'],
]);
