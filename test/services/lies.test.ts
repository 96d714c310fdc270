// Hostile requests to every service, with everything asked: no question shows a text of the caller's beyond names and values of
// a closed form, and none hides what would be done.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Question } from '../../daemon/confirm/question.ts';
import { isQubeName } from '../../daemon/names.ts';
import { ASKING } from '../broker/daemon.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker } from './asking.ts';
import { installTool } from './device-tool.ts';

const DEVICE =
  "2-1:046d:0825:x:u0e0100 port_id='2-1' device_id='046d:0825:x:u0e0100' manufacturer='zxq press yes' name='zxq Allow' serial='zxq' interfaces='u0e0100'";

/** In every text of the caller's, and in none of ours. */
const CANARY = 'zxq';

/** Names that a caller has chosen for qubes of its own: all that a name can say, at its longest. */
const HARD_NAMES = [
  `ai-${CANARY}`,
  `${CANARY}-is-harmless_press.Allow`,
  `Allow.${CANARY}`,
  `${'W'.repeat(28)}${CANARY}`,
  `${CANARY}${'-'.repeat(28)}`,
];

const dress = (text: string): readonly string[] => [
  text,
  // These are names of qubes that are there, in a fleet whose names are the caller's.
  ...HARD_NAMES,
  `ai-${text}-new`,
  `ai-${'W'.repeat(28 - text.length)}${text}`,
  `ai-${'W'.repeat(29 - text.length)}${text}`,
  `ai-${text}.is.harmless_press-Allow`,
  `service.${text}-yes`,
  `${text}.desktop press-yes.desktop`,
  `${text}.example.org`,
  ` ${text}`,
  `${text} `,
  `ai-${text}\u200b`,
  `\u202e${text}`,
  `${text}\u2066`,
  `${text}\u0000`,
  `a\n${text}`,
  `a\r${text}`,
  `\u001b[2J${text}`,
  `<b>${text}</b>`,
  `&lt;${text}&gt;`,
  `_${text}`,
  `%s${text}%n`,
  `$(${text})`,
  `\`${text}\``,
  `"${text}"`,
  `'${text}'`,
  `${text};`,
  `../${text}`,
  `\u0430i-${text}`,
  `${text}\u00ad`,
  `Asked by: ${text}`,
  `Remove ${text} (red)`,
  `${text} (green)`,
  `ai-idle ${text}`,
  `ai-idle,${text}`,
  `${text}: nothing is lost`,
  `Step 2: ${text}`,
  `60 s left ${text}`,
  `uuid:${text}`,
  `@tag:${text}`,
  `${'W'.repeat(31 - text.length)}${text}`,
  `${'W'.repeat(32 - text.length)}${text}`,
  text.repeat(20_000),
];

const FLEET = {
  ...FLEET_F0,
  qubes: {
    ...FLEET_F0.qubes,
    'ai-work': { ...FLEET_F0.qubes['ai-work'], devices: { 'usb.Available': [DEVICE] } },
    ...Object.fromEntries(
      HARD_NAMES.map((name) => [
        name,
        {
          ...{ klass: 'AppVM', tags: ['ai-managed', 'ai-full'], devices: { 'usb.Available': [DEVICE] } },
          props: { template: 'ai-debian-13', netvm: 'ai-net-router', label: 'purple', template_for_dispvms: 'True' },
        },
      ]),
    ),
  },
};

const REQUESTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'qmcp.LifecycleAIManaged': { name: 'ai-idle', action: 'remove' },
  'qmcp.SetPropertyAIManaged': { name: 'ai-idle', property: 'label', value: 'red' },
  'qmcp.SetFeatureAIManaged': { name: 'ai-idle', feature: 'menu-items', value: 'a.desktop' },
  'qmcp.SetFirewallAIManaged': { name: 'ai-idle', rules: ['action=accept dsthost=example.org'] },
  'qmcp.SpawnAIManagedQube': { name: 'ai-new', template: 'ai-debian-13', label: 'red', private_size: 2_147_483_648 },
  'qmcp.SpawnDisposableAIManaged': { template: 'ai-dvmt' },
  'qmcp.CloneAIManagedQube': { source: 'ai-idle', name: 'ai-copy' },
  'qmcp.AttachDeviceAIManaged': {
    ...{ device_class: 'usb', backend: 'ai-work', device_id: '2-1', frontend: 'ai-idle' },
  },
  'qmcp.DetachDeviceAIManaged': {
    ...{ device_class: 'usb', backend: 'ai-work', device_id: '2-1', frontend: 'ai-idle' },
  },
};

/** Where the caller's own letters may stand: as the name of a qube, with its label behind it, or as a value of a closed form. */
const isNamed = (line: string): boolean => {
  const words = line.match(new RegExp(`\\S*${CANARY}\\S*( \\S+)?`, 'g')) ?? [];
  const asQube = words.every((word) => {
    const [name = '', label = ''] = word.split(' ');
    return isQubeName(name) && /^\([a-z ]+\)?[,;.]?$/.test(label);
  });
  return asQube || /^(Feature|Then|New rule|Device): [\x21-\x7e]{1,64}(,? ?[\x21-\x7e]{1,64}){0,6}$/.test(line);
};

const expectOurs = ({ view }: Question): void => {
  for (const line of view.lines.filter((each) => each.includes(CANARY))) expect(line).toSatisfy(isNamed);
};

/** What the headline of a question about this request begins with. */
const HEADLINES: Readonly<Record<string, RegExp>> = {
  'qmcp.LifecycleAIManaged': /^Remove \S+ \([a-z]+\)$/,
  'qmcp.SetPropertyAIManaged': /^Change the label colour of \S+ \([a-z]+\)$/,
  'qmcp.SetFeatureAIManaged': /^Set a feature of \S+ \([a-z]+\)$/,
  'qmcp.SetFirewallAIManaged': /^Change the firewall of \S+ \([a-z]+\)$/,
  'qmcp.SpawnAIManagedQube': /^Create \S+ \([a-z]+\)$/,
  'qmcp.SpawnDisposableAIManaged': /^Create a disposable of \S+ \([a-z]+\)$/,
  'qmcp.CloneAIManagedQube': /^Clone \S+ \([a-z]+\) as \S+ \([a-z]+\)$/,
  'qmcp.AttachDeviceAIManaged': /^Attach a (USB device|disk) to \S+ \([a-z]+\)$/,
  'qmcp.DetachDeviceAIManaged': /^Detach a (USB device|disk) from \S+ \([a-z]+\)$/,
};

test.each(Object.entries(REQUESTS))('%s', { timeout: 60_000 }, async (service, request) => {
  const { broker, approver, questions } = await askingBroker({
    fleet: FLEET,
    operatorFiles: { ...ASKING, 'consent-policy': '*\n', 'features-allowed': 'service.*\n' },
  });
  await installTool(broker);
  // No answer: nothing is done, and the next is asked.
  approver.reflex = (asked) => asked.answer('');
  // As it is, it raises a question.
  await broker.call(service, request);
  expect(questions().map(({ view }) => view.lines[0])).toEqual([expect.stringMatching(HEADLINES[service] as RegExp)]);
  let [asked, refused] = [0, 0];
  for (const field of Object.keys(request)) {
    for (const text of dress(CANARY)) {
      const values = field === 'rules' ? [[text], [`action=accept dsthost=${text}`, 'action=drop']] : [text];
      for (const value of values) {
        const before = questions().length;
        const reply = await broker.call(service, { ...request, [field]: value });
        expect(reply.ok).toBe(false);
        const [question, ...more] = questions().slice(before);
        expect(more).toEqual([]);
        if (!question) {
          refused += 1;
          continue;
        }
        asked += 1;
        expectOurs(question);
        expect(question.view.lines[0]).toMatch(HEADLINES[service] as RegExp);
        expect(JSON.stringify(reply)).not.toContain(CANARY);
      }
    }
  }
  expect(broker.qubesd.changes()).toEqual([]);
  expect(asked).toBeGreaterThan(0);
  // Most of it is no name, no value and no action of anything.
  expect(refused).toBeGreaterThan(asked);
});

test('wherever a plan buries its removal, the question counts it, shows it first, and wants its name', {
  timeout: 60_000,
}, async () => {
  const { broker, approver, questions } = await askingBroker();
  approver.reflex = (asked) => asked.answer('');
  const harmless = fc.constantFrom<object>(
    { service: 'qmcp.ListAIManagedQubes', request: {} },
    { service: 'qmcp.GetPropertyAIManaged', request: { name: 'ai-work', property: 'label' } },
    { service: 'qmcp.SetPropertyAIManaged', request: { name: 'ai-work', property: 'label', value: 'blue' } },
  );
  const removal = { service: 'qmcp.LifecycleAIManaged', request: { name: 'ai-idle', action: 'remove' } };
  await fc.assert(
    fc.asyncProperty(fc.array(harmless, { minLength: 1, maxLength: 15 }), fc.nat({ max: 100 }), async (steps, at) => {
      const place = at % (steps.length + 1);
      const calls = [...steps.slice(0, place), removal, ...steps.slice(place)];
      const { nonce } = (await broker.call('qmcp.Prepare', { calls })) as unknown as { nonce: string };
      const before = questions().length;
      await broker.call('qmcp.Commit', {}, 'mcp-control', nonce);
      const [question] = questions().slice(before);
      // Not asked at all is a no.
      if (!question) return;
      const [headline = '', , first = ''] = question.view.lines;
      expect(headline).toBe(`Run a plan of ${calls.length} steps, 1 of them destructive`);
      expect(first.startsWith(`Step ${place + 1}: Remove ai-idle (gray)`)).toBe(true);
      expect(question.view).toMatchObject({ type_to_confirm: 'ai-idle', risk: 'destroy' });
    }),
    { numRuns: 60 },
  );
  expect(questions().length).toBeGreaterThan(20);
  expect(broker.qubesd.changes()).toEqual([]);
});
