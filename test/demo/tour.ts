// Every kind of question once, each in a window of its own.
import type { Play, Reply } from './play.ts';
import type { Stage } from './stage.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const SET_PROPERTY = 'qmcp.SetPropertyAIManaged';
const ATTACH = 'qmcp.AttachDeviceAIManaged';
const WEBCAM = { device_class: 'usb', backend: 'ai-builder', device_id: '2-1', frontend: 'ai-research' };

export interface Stop {
  readonly title: string;
  readonly service: string;
  readonly request: Reply;
  /** The steps of the plan that is committed. */
  readonly prepared?: readonly { readonly service: string; readonly request: Reply }[];
  /** The name that has to be typed, where something could be lost. */
  readonly typed?: string;
  /** Operator files that hold from here on. */
  readonly files?: Readonly<Record<string, string>>;
}

const lifecycle = (action: string, name: string, more: Partial<Stop> = {}): Stop => ({
  title: action,
  service: LIFECYCLE,
  request: { name, action },
  ...more,
});

export const STOPS: readonly Stop[] = [
  lifecycle('start', 'ai-research'),
  lifecycle('pause', 'ai-research'),
  lifecycle('unpause', 'ai-research'),
  { title: 'attach', service: ATTACH, request: WEBCAM, typed: 'ai-research' },
  { title: 'detach', service: 'qmcp.DetachDeviceAIManaged', request: WEBCAM, typed: 'ai-research' },
  lifecycle('shutdown', 'ai-research'),
  lifecycle('kill', 'ai-builder', { typed: 'ai-builder' }),
  { title: 'label', service: SET_PROPERTY, request: { name: 'ai-research', property: 'label', value: 'red' } },
  { title: 'memory', service: SET_PROPERTY, request: { name: 'ai-research', property: 'memory', value: 800 } },
  { title: 'disconnect', service: SET_PROPERTY, request: { name: 'ai-research', property: 'netvm', value: null } },
  {
    title: 'feature',
    service: 'qmcp.SetFeatureAIManaged',
    request: { name: 'ai-research', feature: 'menu-items', value: 'firefox.desktop' },
  },
  {
    title: 'firewall',
    service: 'qmcp.SetFirewallAIManaged',
    request: {
      name: 'ai-crawler',
      rules: ['action=accept proto=tcp dsthost=example.org dstports=443-443', 'action=drop'],
    },
    typed: 'ai-crawler',
  },
  {
    title: 'create',
    service: 'qmcp.SpawnAIManagedQube',
    request: { name: 'ai-report', template: 'ai-debian-13', label: 'blue' },
  },
  { title: 'disposable', service: 'qmcp.SpawnDisposableAIManaged', request: { template: 'ai-dvm' } },
  { title: 'clone', service: 'qmcp.CloneAIManagedQube', request: { source: 'ai-crawler', name: 'ai-crawler-2' } },
  lifecycle('remove', 'ai-scratch', { typed: 'ai-scratch' }),
  {
    title: 'plan',
    service: 'qmcp.Commit',
    prepared: [
      { service: 'qmcp.SpawnAIManagedQube', request: { name: 'ai-summary', template: 'ai-debian-13', label: 'blue' } },
      { service: LIFECYCLE, request: { name: 'ai-summary', action: 'start' } },
      { service: LIFECYCLE, request: { name: 'ai-crawler', action: 'remove' } },
    ],
    request: {},
    typed: 'ai-crawler',
  },
  lifecycle('remove', 'ai-archive', {
    title: 'remove with a way back',
    typed: 'ai-archive',
    files: { tombstones: 'on\n' },
  }),
];

/** How many questions it asks. */
export const TOUR_LENGTH = STOPS.length;

export const playTour = async (play: Play, stage: Stage): Promise<void> => {
  for (const { title, service, prepared, request, typed = null, files = {} } of STOPS) {
    for (const [name, text] of Object.entries(files)) stage.daemon.operatorFile(name, text);
    play.out.scene(`${title[0]?.toUpperCase()}${title.slice(1)}`);
    const { nonce = '' } = prepared ? await play.call('qmcp.Prepare', { calls: prepared }) : {};
    const picture = `tour-${title.replace(/\W+/g, '-')}`;
    await play.show(nonce === '' ? service : `${service}+${nonce}`, request, { deed: 'allow', name: typed, picture });
  }
};
