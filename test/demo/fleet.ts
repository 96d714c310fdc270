// The fleet of the demo: an agent's own qube, a few that it may use, and a household that is none of its business.
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';

const GIB = 1024 ** 3;

/** Managed and with every right that an agent can be given. */
const FULL = ['ai-managed', 'ai-full'];
/** Managed and nothing else: with `tier-default` at `ro` it can be looked at. */
const LOOK = ['ai-managed'];

const working = (label: string, usedGib: number, more: QubeSpec = {}): QubeSpec => ({
  klass: 'AppVM',
  tags: FULL,
  usage: { private: Math.round(usedGib * GIB) },
  volumes: { private: 20 * GIB },
  ...more,
  props: { template: 'ai-debian-13', netvm: 'ai-net-router', label, ...more.props },
});
const own = (klass: string, label: string, more: QubeSpec = {}): QubeSpec => ({
  klass,
  tags: [],
  ...more,
  props: { label, ...more.props },
});

const CAMERA =
  "2-1:046d:0825:x:u0e0100 port_id='2-1' device_id='046d:0825:x:u0e0100' vendor='Logitech, Inc.' product='Webcam C270' interfaces='u0e0100'";

export const AGENT = 'mcp-control';

export const FLEET: FleetSpec = {
  default_netvm: 'sys-firewall',
  qubes: {
    dom0: own('AdminVM', 'black', { state: 'Running' }),
    [AGENT]: own('StandaloneVM', 'red', { state: 'Running', props: { netvm: 'ai-net-router' } }),
    'ai-archive': working('purple', 14.6),
    'ai-crawler': working('orange', 3.2),
    'ai-debian-13': { klass: 'TemplateVM', tags: FULL, props: { label: 'black', netvm: null } },
    'ai-net-router': {
      klass: 'AppVM',
      state: 'Running',
      tags: LOOK,
      props: { template: 'ai-debian-13', netvm: 'sys-firewall', provides_network: 'True', label: 'red' },
    },
    'ai-notes': working('green', 1.1, { tags: LOOK }),
    'ai-research': working('blue', 8.7),
    'ai-scratch': working('gray', 0.5),
    'debian-13': own('TemplateVM', 'black'),
    personal: own('AppVM', 'yellow', { state: 'Running', props: { template: 'debian-13' } }),
    'sys-firewall': own('AppVM', 'green', {
      state: 'Running',
      props: { template: 'debian-13', netvm: null, provides_network: 'True' },
    }),
    vault: own('AppVM', 'black', { props: { template: 'debian-13', netvm: null } }),
  },
};

/** What the tour needs besides: a qube that runs, has a device and gives network, and one to make disposables of. */
export const TOUR_FLEET: FleetSpec = {
  ...FLEET,
  qubes: {
    ...FLEET.qubes,
    'ai-builder': working('yellow', 5.5, {
      state: 'Running',
      devices: { 'usb.Available': [CAMERA] },
      props: { provides_network: 'True', start_time: String(Math.floor(Date.now() / 1000) - 7_500) },
    }),
    'ai-tests': working('purple', 0.4, { state: 'Running', tags: LOOK, props: { netvm: 'ai-builder' } }),
    'ai-dvm': working('green', 0.1, { props: { template_for_dispvms: 'True' } }),
  },
};

/** What the operator of the demo has set. */
export const OPERATOR_FILES: Readonly<Record<string, string>> = {
  'tier-default': 'ro\n',
  'consent-timeout': '120\n',
};

/** In the tour everything is asked, and there is room to create qubes. */
export const TOUR_FILES: Readonly<Record<string, string>> = {
  ...OPERATOR_FILES,
  'consent-policy': '*:*\n',
  'pool-cap': '1099511627776\n',
  'private-cap': '53687091200\n',
};
