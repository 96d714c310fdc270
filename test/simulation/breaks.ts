// Parts that are broken on purpose: each stands for a mistake that the broker could make, and the simulation has to notice
// it. What is broken is what the broker stands on and never its source.
import { Nonces } from '../../daemon/confirm/nonces.ts';
import { Restraint } from '../../daemon/confirm/restraint.ts';
import { openDoor } from '../../daemon/qrexec/door.ts';
import type { AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import type { Break } from './break.ts';
import { BREAKS_OF_DISK } from './breaks-of-disk.ts';

const isRead = ({ method }: AdminRequest): boolean => method === 'admin.vm.List' || method === 'admin.vm.tag.List';
const keyOf = ({ method, dest }: AdminRequest): string => `${method} ${JSON.stringify(dest)}`;

export const BREAKS: readonly Break[] = [
  ...BREAKS_OF_DISK,
  {
    title: 'facts are not looked at again after the question',
    invariant: /^I[12]: .*(?:looked at again|never looked at)/,
    of: (ground) => {
      // Of one deed the first answer counts for ever.
      const known = new WeakMap<object, Map<string, Buffer>>();
      return {
        ...ground,
        call: async (request) => {
          const deed = ground.deeds.getStore();
          if (!deed || !isRead(request) || !deed.wants.some(({ action }) => action !== 'remove'))
            return ground.call(request);
          const answers = known.get(deed) ?? new Map<string, Buffer>();
          known.set(deed, answers);
          const answer = answers.get(keyOf(request)) ?? (await ground.call(request));
          answers.set(keyOf(request), answer);
          return answer;
        },
      };
    },
  },
  {
    title: 'effects go to whatever has the name by now',
    invariant: /^I(?:1|2|4|10): /,
    of: (ground) => {
      const names = new Map<string, string>();
      return {
        ...ground,
        call: async (request) => {
          const { dest, method } = request;
          const known = typeof dest === 'object' && 'uuid' in dest ? names.get(dest.uuid) : undefined;
          if (!isRead(request) && known !== undefined)
            return ground.call({ ...request, dest: { name: known as never } });
          const answer = await ground.call(request);
          if (method === 'admin.vm.List' && typeof dest === 'object') {
            const [, name = '', uuid = ''] = /^(\S+) .*uuid=(\S+)/.exec(answer.toString()) ?? [];
            names.set(uuid, name);
          }
          return answer;
        },
      };
    },
  },
  {
    title: 'a rollback that is believed without a look',
    invariant: /^(?:I4: .*left behind|I8: .*never made whole)/,
    of: (ground) => {
      const removed = new Set<string>();
      return {
        ...ground,
        call: async (request) => {
          const { dest, method } = request;
          const uuid = typeof dest === 'object' && 'uuid' in dest ? dest.uuid : '';
          const deed = ground.deeds.getStore();
          if (method === 'admin.vm.Remove' && deed?.children.has(uuid)) {
            removed.add(uuid);
            return Buffer.alloc(0);
          }
          return method === 'admin.vm.List' && removed.has(uuid)
            ? ground.call({ ...request, dest: { uuid: 'ffffffff-ffff-ffff-ffff-ffffffffffff' as never } })
            : ground.call(request);
        },
      };
    },
  },
  {
    title: 'guarded qubes are not known as such',
    invariant: /^I1: .*nobody was asked/,
    of: (ground) => ({
      ...ground,
      settings: {
        current: () => ({
          ...ground.settings.current(),
          guarded: { names: new Set(), uuids: new Set(), unreadable: false },
        }),
      },
    }),
  },
  {
    title: 'the default tier is always full',
    invariant: /^I(?:1: .*(?:not within the tier|although under tier)|6: .*under tier)/,
    of: (ground) => ({
      ...ground,
      settings: { current: () => ({ ...ground.settings.current(), tierDefault: 'full' as const }) },
    }),
  },
  {
    title: 'a malformed consent-policy asks nothing',
    invariant: /^I1: .*nobody was asked/,
    of: (ground) => ({
      ...ground,
      settings: {
        current: () => {
          const settings = ground.settings.current();
          const isMalformed = settings.complaints.some(({ file }) => file === 'consent-policy');
          return isMalformed ? { ...settings, consentPolicy: { builtIn: false, asked: new Set() } } : settings;
        },
      },
    }),
  },
  {
    title: 'a freeze that does not hold',
    invariant: /^I1: .*frozen|^I6: frozen is told/,
    of: (ground) => ({
      ...ground,
      restraint: (files, clock) => {
        class Lax extends Restraint {
          override isFrozen(): boolean {
            return false;
          }
        }
        return new Lax(files, clock);
      },
    }),
  },
  {
    title: 'nonces come twice',
    invariant: /^I3: .*used again/,
    of: (ground) => {
      let count = 0;
      return {
        ...ground,
        nonces: (bytes, clock) =>
          new Nonces((size) => (count++ % 2 === 0 ? bytes(size) : Buffer.alloc(size, 7)), clock),
      };
    },
  },
  {
    title: 'the built-in consent set is not asked',
    invariant: /^I1: .*nobody was asked/,
    of: (ground) => ({
      ...ground,
      settings: {
        current: () => ({ ...ground.settings.current(), consentPolicy: { builtIn: false, asked: new Set() } }),
      },
    }),
  },
  {
    title: 'a refusal says what it is about',
    invariant: /^I6: /,
    of: (ground, { world }) => ({
      ...ground,
      replies: (reply, { service, body }) => {
        const name = (body?.json as { name?: unknown } | null)?.name;
        const isThere = typeof name === 'string' && world.qubes.has(name);
        return service === 'qmcp.LifecycleAIManaged' && !reply.ok && isThere
          ? { ok: false, error: 'not managed' }
          : reply;
      },
    }),
  },
  {
    title: 'the name of a qube out of scope is not redacted',
    invariant: /^I6: .*names opq-/,
    of: (ground, { world }) => ({
      ...ground,
      replies: (reply, { service }) =>
        reply.ok && service === 'qmcp.GetPropertyAIManaged' && reply.value === '<out-of-scope>'
          ? { ...reply, value: [...world.qubes.keys()].find((name) => name.startsWith('opq-')) }
          : reply,
    }),
  },
  {
    title: 'the reaper does not wait',
    invariant: /^I1: .*no tombstone whose time is over/,
    of: (ground) => ({
      ...ground,
      settings: { current: () => ({ ...ground.settings.current(), tombstoneRetention: 0 }) },
    }),
  },
  {
    title: 'a quarantine that holds nothing',
    invariant: /^I(?:8: .*never made whole|6: in quarantine)/,
    of: (ground) => ({
      ...ground,
      quarantine: (files) => {
        class Lax extends Quarantine {
          override holds = (): boolean => false;
          override keeps = (): boolean => false;
        }
        return new Lax(files);
      },
    }),
  },
  {
    title: 'what is left is looked into by nobody',
    invariant: /^I8: .*was left half-made, with the umbrella/,
    of: (ground) => ({ ...ground, left: () => {} }),
  },
  {
    title: 'a child is not pinned',
    invariant: /^I8: .*(?:created|ran) on/,
    of: (ground) => ({
      ...ground,
      call: async (request) => {
        const { method, arg, dest } = request;
        const isChild = typeof dest === 'object' && 'uuid' in dest && ground.deeds.getStore()?.children.has(dest.uuid);
        if (isChild && method === 'admin.vm.property.Set' && arg === 'netvm') return Buffer.alloc(0);
        if (isChild && method === 'admin.vm.property.Get' && arg === 'netvm')
          return Buffer.from('default=False type=vm ai-router');
        return ground.call(request);
      },
    }),
  },
  {
    title: 'a late refusal leaves when it is decided',
    invariant: /^I6: .* ticks after/,
    of: (ground) => ({ ...ground, door: (handle) => openDoor(handle, () => 0) }),
  },
  {
    title: 'calls are not counted at the door',
    invariant: /^I9: \d+ calls .*are worked on/,
    of: (ground) => ({
      ...ground,
      door: (handle, monotonicMs) => ({
        ...openDoor(handle, monotonicMs),
        take: (line, answers) => openDoor(handle, monotonicMs).take(line, answers),
      }),
    }),
  },
];
