// Replays what a real qubesd was asked and compares what it answered. Uuids differ; listings were elided in the record.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, EventReader, exchange } from './client.ts';
import type { FleetSpec, QubeSpec } from './fleet.ts';
import { type Qubesd, startQubesd } from './server.ts';

const onTemplate: QubeSpec = { props: { template: 'tmpl-ai' } };
/** The recorded host, as far as the record shows it. ai-x is the eleventh qube: its address was 10.137.0.11. */
const RECORDED_FLEET: FleetSpec = {
  default_netvm: 'ai-net-router',
  qubes: {
    'tmpl-ai': { klass: 'TemplateVM' },
    ...Object.fromEntries(['ai-dvm', 'ai-f', 'ai-f2', 'ai-n'].map((name) => [name, onTemplate])),
    'ai-net-router': { state: 'Running', props: { template: 'tmpl-ai', provides_network: 'True' } },
    ...Object.fromEntries(['ai-plain', 'ai-sink', 'ai-t', 'ai-u'].map((name) => [name, onTemplate])),
    'ai-x': {
      state: 'Running',
      tags: ['ai-exec', 'ai-managed', 'audiovm-dom0', 'created-by-dom0', 'guivm-dom0'],
      props: { template: 'tmpl-ai', netvm: 'ai-net-router' },
    },
  },
};

/** What stands behind an elided answer: the rows of the listing go on in the same way. */
const REST_OF_ROWS: Readonly<Record<string, RegExp>> = {
  'admin.vm.List': /^(\n[a-zA-Z0-9_.-]+ class=[A-Za-z]+ state=[A-Za-z]+ uuid=<uuid>)*\n$/,
  'admin.vm.property.GetAll':
    /^(e type=str AppVM\n)([a-z_0-9]+ default=(True|False) type=(str|int|bool|vm|label) .*\n)+$/,
};

const UUID = /(?!0{8}-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** The characters (one for each byte) of a Python bytes literal; what was elided is cut off, its length kept apart. */
const parseLiteral = (literal: string): { text: string; elided: string | null } => {
  const inner = literal.trim().slice(2, -1);
  const elision = /\.\.\.\(([0-9]+(?: bytes)?)\)$/.exec(inner);
  const escapes: Record<string, string> = { n: '\n', t: '\t', '\\': '\\', "'": "'", '"': '"' };
  const text = inner
    .slice(0, elision?.index)
    .replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, character: string) =>
      hex === undefined ? (escapes[character] ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return { text, elided: elision?.[1] ?? null };
};

interface Exchange {
  readonly request: string;
  readonly answer: string;
  readonly elided: boolean;
  readonly halfClosed: boolean;
}

const readTranscript = (): { exchanges: Exchange[]; events: string[] } => {
  const file = new URL('../contract/qubesd-transcript.txt', import.meta.url);
  const [calls = '', events = ''] = readFileSync(file, 'utf8').split('--- events\n');
  const exchanges = [...calls.matchAll(/^> (b.+?) ?(\[no SHUT_WR\])?\n< (b.*?)( +!TimeoutError.*)? ?$/gm)].map(
    (match) => {
      const request = parseLiteral(match[1] ?? '');
      const answer = parseLiteral(match[3] ?? '');
      // A long request was recorded with its length only; its payload was all x.
      const length = request.elided ? Number.parseInt(request.elided, 10) : 0;
      return {
        request: request.text.padEnd(length, 'x'),
        answer: answer.text,
        elided: answer.elided !== null,
        halfClosed: match[2] === undefined,
      };
    },
  );
  return { exchanges, events: [...events.matchAll(/^< (b.*)$/gm)].map((match) => parseLiteral(match[1] ?? '').text) };
};

const TRANSCRIPT = readTranscript();
const titled = TRANSCRIPT.exchanges.map((one, index) => ({
  ...one,
  title: `${index + 1}: ${JSON.stringify(one.request.slice(0, 70))}${one.halfClosed ? '' : ' without half-close'}`,
}));

describe('the recorded exchanges with a real qubesd', () => {
  let directory: string;
  let qubesd: Qubesd;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'qubesd-'));
    qubesd = await startQubesd({ path: join(directory, 's'), fleet: RECORDED_FLEET });
  });

  afterAll(async () => {
    await qubesd.stop();
    await rm(directory, { recursive: true });
    expect(qubesd.errors).toEqual([]);
  });

  it('are all read from the record', () => {
    const text = readFileSync(new URL('../contract/qubesd-transcript.txt', import.meta.url), 'utf8');
    expect(TRANSCRIPT.exchanges).toHaveLength(text.match(/^> /gm)?.length ?? 0);
    expect(TRANSCRIPT.exchanges.filter(({ halfClosed }) => !halfClosed)).toHaveLength(1);
    expect(TRANSCRIPT.exchanges.filter(({ elided }) => elided)).toHaveLength(2);
    expect(TRANSCRIPT.exchanges.map(({ request }) => request.length)).toEqual(expect.arrayContaining([65_560, 60_030]));
    expect(TRANSCRIPT.events).toHaveLength(15);
  });

  it.each(titled)('are answered alike, $title', async ({ request, answer, elided, halfClosed }) => {
    if (!halfClosed) return expect(await answersUnasked(qubesd.path, request)).toBe(answer);
    const got = (await exchange(qubesd.path, request)).toString('latin1').replaceAll(UUID, '<uuid>');
    const want = answer.replaceAll(UUID, '<uuid>');
    if (!elided) return expect(got).toBe(want);
    expect(got.slice(0, want.length)).toBe(want);
    const method = request.split(/[+ ]/, 1)[0] ?? '';
    expect(got.slice(want.length)).toMatch(REST_OF_ROWS[method] ?? /^$/);
  });

  it('are followed by the recorded events', async () => {
    const stream = new EventReader(qubesd.path);
    const got = [await stream.next()];
    const steps: [method: string, dest: string, payload?: string][] = [
      ['admin.vm.tag.Set+evt', 'ai-plain'],
      ['admin.vm.feature.Set+k', 'ai-plain', 'v'],
      ['admin.vm.property.Set+memory', 'ai-plain', '600'],
      ['admin.vm.Create.AppVM+tmpl-ai', 'dom0', 'name=ai-ev label=gray'],
      ['admin.vm.Pause', 'ai-x'],
      ['admin.vm.Unpause', 'ai-x'],
      ['admin.vm.Remove', 'ai-ev'],
    ];
    for (const step of steps) expect(await ask(qubesd.path, ...step)).toBe('0\0');
    while (got.length < TRANSCRIPT.events.length) got.push(await stream.next());
    expect(got).toEqual(TRANSCRIPT.events);
    // Nothing more came: the next thing to arrive is what happens next.
    qubesd.world.emit('ai-x', 'the-end');
    expect(await stream.nextName()).toBe('ai-x the-end');
    await stream.close();
  });
});

/** What comes back for a request that is never ended, by the time a later call has been answered. */
const answersUnasked = async (path: string, request: string): Promise<string> => {
  const socket = connect({ path, allowHalfOpen: true });
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  await new Promise<void>((resolve) => socket.write(request, 'latin1', () => resolve()));
  for (let round = 0; round < 3; round++) expect(await ask(path, 'admin.vm.tag.List', 'ai-x')).toMatch(/^0\0/);
  socket.destroy();
  return received;
};
