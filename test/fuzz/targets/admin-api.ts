// What qubesd says: answers and exceptions, events, device lines, firewall rules.
import assert from 'node:assert/strict';
import { isQubeName, isUuid, type QubeName, type Uuid } from '../../../daemon/names.ts';
import { POWER_STATES } from '../../../daemon/qube.ts';
import { type Admin, adminOver, type Row } from '../../../daemon/qubesadmin/admin.ts';
import { formatDeviceLine, MAX_DEVICE_LINE, parseDeviceLine } from '../../../daemon/qubesadmin/device-lines.ts';
import {
  AdminError,
  type AdminEvent,
  decodeAnswer,
  encodeRequest,
  eventReader,
} from '../../../daemon/qubesadmin/wire.ts';
import { parseRule, parseRules, ruleLine, ruleWords } from '../../../daemon/services/firewall-rule.ts';
import { encodeEvent } from '../../qubesd/wire.ts';
import { headed, PRINTABLE, plain } from '../target.ts';

const NAME = 'ai-work' as QubeName;
const UID = 'd49d109d-f7e2-48c6-87d6-d9d126423911' as Uuid;
const WORK = { name: NAME };

const checkRow = (row: Row): void => {
  assert.ok(isQubeName(row.name) && isUuid(row.uuid));
  assert.ok(POWER_STATES.includes(row.state));
  assert.match(row.klass, /^[A-Za-z]+$/);
};
const checkBytes = (bytes: number | null): void =>
  assert.ok(bytes === null || (Number.isSafeInteger(bytes) && bytes >= 0));

/** Every method that reads an answer, and what has to hold of what it read. */
const METHODS: Readonly<Record<string, (admin: Admin) => Promise<void>>> = {
  list: async (admin) => (await admin.list()).forEach(checkRow),
  row: async (admin) => {
    const row = await admin.row(NAME);
    if (row) checkRow(row);
    assert.ok(row === null || row.name === NAME);
  },
  rowOf: async (admin) => {
    const row = await admin.rowOf(UID);
    if (row) checkRow(row);
    assert.ok(row === null || row.uuid === UID);
  },
  tags: async (admin) => assert.ok((await admin.tags(WORK)) instanceof Set),
  property: async (admin) => assert.match((await admin.property(WORK, 'label')).type, /^[a-z]+$/),
  properties: async (admin) => assert.ok((await admin.properties(WORK)) instanceof Map),
  state: async (admin) => assert.ok(POWER_STATES.includes(await admin.state(WORK))),
  volume: async (admin) => {
    const { sizeBytes, usageBytes } = await admin.volume(WORK, 'private');
    checkBytes(sizeBytes);
    checkBytes(usageBytes);
  },
  firewall: async (admin) => assert.match(await admin.firewall(WORK), /^[\x20-\x7e\n]*$/),
  features: async (admin) => assert.ok(Array.isArray(await admin.featureNames(WORK))),
  feature: async (admin) => void (await admin.feature(WORK, 'x')),
  global: async (admin) => assert.match((await admin.globalProperty('default_netvm')).type, /^[a-z]+$/),
  devices: async (admin) => assert.ok((await admin.devices(WORK, 'block', 'Attached')).every((line) => line !== '')),
  copy: (admin) => admin.copyVolume(WORK, { uuid: UID }, 'private'),
  create: (admin) => admin.create('AppVM', NAME, 'ai-new', 'red'),
};

export const answersTarget = plain(
  {
    name: 'answers',
    what: 'answers and exceptions of qubesd, by each method that reads one: values within their types, or an AdminError',
    words: [...Object.keys(METHODS).map((method) => `${method}\n`), '0\0', '2\0', UID, ...POWER_STATES],
    seeds: [
      `list\n0\0dom0 class=AdminVM state=Running uuid=00000000-0000-0000-0000-000000000000\nai-work class=AppVM state=Halted uuid=${UID}\n`,
      `row\n0\0ai-work class=AppVM state=Running uuid=${UID}\n`,
      `rowOf\n0\0ai-other class=DispVM state=Paused uuid=${UID}\n`,
      'row\n2\0QubesVMNotFoundError\0\0No such domain\0',
      'tags\n0\0ai-managed\ncreated-by-dom0\n',
      'property\n0\0default=True type=vm sys-firewall',
      'properties\n0\0label default=False type=label red\nname default=False type=str a\\nb\\\\c\n',
      'state\n0\0power_state=Running mem=1 mem_static_max=2',
      'state\n',
      'volume\n0\0pool=vm-pool\nvid=x\nsize=2147483648\nusage=0\nrw=True\n',
      'firewall\n0\0action=accept specialtarget=dns\naction=drop\n',
      'features\n0\0menu-items\n',
      'feature\n0\0\xff\x01',
      'feature\n2\0QubesFeatureNotFoundError\0\0x\0',
      'global\n0\0default=False type=vm \n',
      "devices\n0\0sys-usb+1-1:0781:5581::u080650 device_id='0781:5581::u080650' port_id='1-1'\n",
      'copy\n0\0abcDEF-123',
      'create\n0\0',
    ],
  },
  async (input) => {
    const [head, bytes] = headed(input);
    const names = Object.keys(METHODS);
    const method = METHODS[Object.hasOwn(METHODS, head) ? head : (names[head.length % names.length] as string)];
    const admin = adminOver(async (request) => {
      encodeRequest(request);
      return decodeAnswer(bytes);
    });
    try {
      const data = decodeAnswer(bytes);
      assert.deepEqual(Buffer.concat([Buffer.from('0\0'), data]), bytes);
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      if (error.kind === 'exception') assert.match(error.type ?? '', /^[A-Za-z][A-Za-z0-9_]*$/);
      assert.match(error.message, PRINTABLE);
    }
    await method?.(admin).catch((error: unknown) => {
      if (!(error instanceof AdminError)) throw error;
      assert.match(error.message, PRINTABLE);
    });
  },
);

export const eventsTarget = plain(
  {
    name: 'events',
    what: 'the event stream, whole and in small pieces: the same events or the same end, and each can be written again',
    words: ['1\0', '\0\0', 'ai-work\0', 'domain-start\0', 'property-set:label\0', 'connection-established\0'],
    seeds: [
      '1\0\0connection-established\0\0',
      '1\0ai-work\0domain-start\0start_guid\0True\0\0',
      '1\0ai-work\0property-set:label\0name\0label\0newvalue\0red\0oldvalue\0blue\0\x001\0\0domain-add\0vm\0ai-new\0\0',
      '1\0ai-work\0domain-tag-add:ai-managed\0tag\0ai-managed\0\x000',
      '1\0a\0b\0__proto__\0x\0\0',
    ],
  },
  (input) => {
    const whole = readIn([input]);
    const size = input.length <= SINGLE_BYTES ? 1 : PIECE_BYTES;
    const pieces = Array.from({ length: Math.ceil(input.length / size) }, (_, at) =>
      input.subarray(at * size, (at + 1) * size),
    );
    const single = readIn(pieces);
    assert.equal(single.failed, whole.failed);
    const expected = eventsIn(input);
    // A stream that breaks is forgotten, and with it what came in one piece with the break.
    if (size === 1 || !whole.failed) assert.deepEqual(single.events, expected.map(asEvent));
    if (!whole.failed) assert.deepEqual(whole.events, single.events);
    const written = Buffer.concat(expected.map(({ fields }) => encoded(fields)));
    // What is no UTF-8 is not held byte by byte.
    if (input.equals(Buffer.from(input.toString('utf8')))) assert.deepEqual(written, input.subarray(0, written.length));
    assert.equal(whole.failed, !/^(?:1(?:\0|$)|$)/.test(input.subarray(lengthOf(expected)).toString('latin1')));
  },
);

interface Fields {
  /** Subject, name, and then keys and values in turns. */
  readonly fields: readonly string[];
}

/** The complete events at the beginning of a stream, by another way of reading: cut at every NUL. */
const eventsIn = (input: Buffer): Fields[] => {
  const events: Fields[] = [];
  const rest = input.toString('latin1').split('\0').slice(0, -1);
  while (rest[0] === '1') {
    const end = rest.findIndex((field, at) => at >= 3 && at % 2 === 1 && field === '');
    if (end < 0) break;
    events.push({ fields: rest.splice(0, end + 1).slice(1, -1) });
  }
  return events;
};
const lengthOf = (events: readonly Fields[]): number =>
  events.reduce((sum, { fields }) => sum + 3 + fields.join('\0').length + 1, 0);
const utf8 = (latin1: string): string => Buffer.from(latin1, 'latin1').toString('utf8');
const asEvent = ({ fields: [subject = '', event = '', ...pairs] }: Fields): AdminEvent => {
  const details: Record<string, string> = Object.create(null);
  for (let at = 0; at < pairs.length; at += 2) details[utf8(pairs[at] as string)] = utf8(pairs[at + 1] as string);
  return { subject: utf8(subject), event: utf8(event), details };
};
const encoded = ([subject = '', event = '', ...pairs]: readonly string[]): Buffer => {
  const head = encodeEvent(utf8(subject), utf8(event), {});
  return Buffer.concat([
    head.subarray(0, -1),
    Buffer.from(pairs.map((each) => `${utf8(each)}\0`).join('')),
    head.subarray(-1),
  ]);
};

/** Every piece has the event that is not complete read from its beginning: byte by byte only what is short. */
const SINGLE_BYTES = 512;
const PIECE_BYTES = 97;

interface ReadEvents {
  readonly events: readonly AdminEvent[];
  readonly failed: boolean;
}

const readIn = (chunks: readonly Buffer[]): ReadEvents => {
  const read = eventReader();
  const events: AdminEvent[] = [];
  let failed = false;
  try {
    for (const chunk of chunks) events.push(...read(chunk));
  } catch (error) {
    if (!(error instanceof AdminError) || error.kind !== 'malformed') throw error;
    failed = true;
  }
  return { events, failed };
};

export const deviceLinesTarget = plain(
  {
    name: 'device-lines',
    what: 'a device line: a line of fields that was read is written and read again as the same',
    words: ["='", "\\'", "' ", 'attached\n', 'available\n', "port_id='", "backend_domain='", '+', ':'],
    seeds: [
      "attached\nsys-usb+1-1:0781:5581::u080650 device_id='0781:5581' port_id='1-1' devclass='usb' backend_domain='sys-usb' mode='required'",
      "available\nsda:* device_id='x' _name='it\\'s \\\\ one' parent='1-1.2'",
      'attached\nsys-usb:sda  words and more\t words',
      "available\n1-1 a='b'",
    ],
  },
  (input) => {
    const [head, bytes] = headed(input);
    const listing = head === 'available' ? 'available' : 'attached';
    const line = bytes.toString('utf8');
    const parsed = parseDeviceLine(line, listing);
    if (parsed === null) return;
    assert.ok(line.length <= MAX_DEVICE_LINE);
    if (parsed.layout === 'words') {
      assert.ok(!line.includes("='"), 'what has fields is never taken for words');
      for (const word of parsed.words) assert.match(word, /^[\x21-\x7e]+$/);
      return;
    }
    const written = formatDeviceLine(parsed);
    assert.match(written, /^[\x20-\x7e\t]*$/);
    const again = parseDeviceLine(written, listing);
    if (written.length <= MAX_DEVICE_LINE) assert.deepEqual(again, parsed);
  },
);

export const firewallTarget = plain(
  {
    name: 'firewall',
    what: 'firewall rules: what is taken is written as one line that means the same, in words that are printable',
    words: ['action=accept', 'action=drop', ' dsthost=', ' dst4=', ' dst6=', ' proto=tcp', ' dstports=', ' comment='],
    seeds: [
      'action=accept dsthost=example.com proto=tcp dstports=443-443\naction=drop\n',
      'action=accept dst4=10.0.0.0/8 proto=udp dstports=53\naction=accept specialtarget=dns expire=99999999999\n',
      'action=drop dst6=2001:db8::/32 proto=icmp icmptype=8 comment=any words at all',
    ],
  },
  (input) => {
    const text = input.toString('utf8');
    const rules = parseRules(text);
    for (const line of text.split('\n')) {
      const rule = parseRule(line);
      if (rule === null) continue;
      const written = ruleLine(rule);
      assert.match(written, PRINTABLE);
      assert.deepEqual(parseRule(written), rule);
      assert.match(ruleWords(rule), PRINTABLE);
    }
    if (rules) assert.deepEqual(parseRules(rules.map((rule) => `${ruleLine(rule)}\n`).join('')), rules);
  },
);
