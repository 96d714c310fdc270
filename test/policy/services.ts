// Every service that a rule names, and enough others to see what happens to those that none names.
import { SERVICES } from '../../daemon/authority/tables.ts';

const IN_QUBES = ['qmcp.RunInAIManaged', 'qmcp.CopyToAIManaged'];
const PLANS = ['qmcp.Prepare', 'qmcp.Commit', 'qmcp.Status', 'qmcp.Cancel'];

/** The broker's own services: those that authority knows, less those that run in a qube, and the four of plans. */
export const OURS: readonly string[] = [
  ...[...SERVICES.keys()].filter((name) => name.startsWith('qmcp.') && !IN_QUBES.includes(name)),
  ...PLANS,
];
export const SURFACES: readonly string[] = [
  ...IN_QUBES,
  'admin.vm.firewall.Get',
  'admin.vm.firewall.Set',
  'admin.vm.firewall.Reload',
];
export const BY_HAND = [
  'qubes.Filecopy',
  'qubes.OpenInVM',
  'qubes.OpenURL',
  'qubes.ClipboardCopy',
  'qubes.ClipboardPaste',
];
export const IN_DISPOSABLES = [
  'qubes.VMShell',
  'qubes.VMExec',
  'qubes.VMExecGUI',
  'qubes.VMRootShell',
  'qubes.StartApp',
];
export const OF_A_QUBE = [
  'qubes.GetDate',
  'qubes.GetRandomizedTime',
  'qubes.FeaturesRequest',
  'qubes.NotifyTools',
  'qubes.NotifyUpdates',
  'qubes.SyncAppMenus',
  'qubes.GetImageRGBA',
  'qubes.WaitForSession',
  'qubes.Notifications',
  'qubes.WindowIconUpdater',
  'qubes.UpdatesProxy',
  'qubes.ConnectTCP',
  'qubes.USB',
];

const DEVICES = ['block', 'mic', 'pci', 'usb'];
const DEVICE_METHODS = ['Available', 'List', 'Attached', 'Assigned', 'Attach', 'Detach'];
/** The Admin API, as far as it matters by name, and the policy API. */
export const ADMIN: readonly string[] = [
  'admin.Events',
  'admin.backup.Execute',
  'admin.label.Create',
  'admin.pool.Add',
  'admin.property.Get',
  'admin.property.GetAll',
  'admin.property.Set',
  'admin.vm.Create.AppVM',
  'admin.vm.CreateDisposable',
  'admin.vm.Kill',
  'admin.vm.List',
  'admin.vm.Remove',
  'admin.vm.Start',
  'admin.vm.feature.Set',
  'admin.vm.property.GetAll',
  'admin.vm.property.Set',
  'admin.vm.tag.Remove',
  'admin.vm.tag.Set',
  'admin.vm.volume.Import',
  ...DEVICES.flatMap((of) => DEVICE_METHODS.map((method) => `admin.vm.device.${of}.${method}`)),
  'policy.Get',
  'policy.List',
  'policy.RegisterArgument',
  'policy.Remove',
  'policy.Replace',
  'policy.include.Replace',
];
export const UNHEARD_OF = ['qubes.SomethingNew', 'admin.vm.SomethingNew', 'whonix.NewStatus'];

export const ALL: readonly string[] = [
  ...OURS,
  ...SURFACES,
  ...BY_HAND,
  ...IN_DISPOSABLES,
  ...OF_A_QUBE,
  ...ADMIN,
  ...UNHEARD_OF,
];
