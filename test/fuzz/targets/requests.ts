// What a caller may ask for: the schema of each service, plans, and signed envelopes; and what comes back from the dialog.
import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import nacl from 'tweetnacl';
import { type Question, RECEIPT_CONTEXT } from '../../../daemon/confirm/question.ts';
import { checkReceipt, shownHash } from '../../../daemon/confirm/receipt.ts';
import { readQuestion } from '../../../daemon/dialog/incoming.ts';
import { canonical } from '../../../daemon/journal/canonical.ts';
import type { Digest, Nonce, QubeName } from '../../../daemon/names.ts';
import { MAX_STEPS, parseCommit, parsePlan, SHAPE } from '../../../daemon/plans/request.ts';
import { envelopeIn, isEnvelope, isSignedBy } from '../../../daemon/principals/envelope.ts';
import { parseBody } from '../../../daemon/qrexec/frame.ts';
import { adminOver } from '../../../daemon/qubesadmin/admin.ts';
import { AdminError } from '../../../daemon/qubesadmin/wire.ts';
import { SERVICES } from '../../../daemon/services/registry.ts';
import { isRefusal, type Reading } from '../../../daemon/services/service.ts';
import { parseSettings } from '../../../daemon/settings/files.ts';
import { KEY, seal } from '../../principals/signing.ts';
import { headed, PRINTABLE, plain, type Target } from '../target.ts';

const SETTINGS = parseSettings(new Map([['features-allowed', { kind: 'text', text: 'service.*\n' }]]));
/** More texts than any service has to say of a request: beyond it, something of the request is in them. */
const MOST_TEXTS = 64;

const REQUESTS: Readonly<Record<string, unknown>> = {
  'qmcp.GetPropertyAIManaged': { name: 'ai-work', property: 'label' },
  'qmcp.LifecycleAIManaged': { name: 'ai-work', action: 'remove' },
  'qmcp.AIManagedEvents': { duration: 1, qube: 'ai-work', events: ['domain-start'] },
  'qmcp.SetPropertyAIManaged': { name: 'ai-work', property: 'label', value: 'red' },
  'qmcp.SetFeatureAIManaged': { name: 'ai-work', feature: 'service.x', value: '1' },
  'qmcp.AttachDeviceAIManaged': { frontend: 'ai-work', backend: 'sys-usb', device_class: 'usb', device_id: '1-1' },
  'qmcp.ListAttachedDevicesAIManaged': { name: 'ai-work', device_class: 'block', mode: 'available' },
  'qmcp.SpawnAIManagedQube': { name: 'ai-new', template: 'debian-13', label: 'red', private_size: 2_147_483_648 },
  'qmcp.SpawnDisposableAIManaged': { template: 'ai-dvmt' },
  'qmcp.CloneAIManagedQube': { source: 'ai-work', name: 'ai-copy' },
  'qmcp.GetFirewallAIManaged': { name: 'ai-work' },
  'qmcp.SetFirewallAIManaged': { name: 'ai-work', rules: ['action=accept dsthost=example.com', 'action=drop'] },
};

/** A read before an empty machine. */
const reading: Reading = {
  fleet: {
    isStanding: true,
    peek: () => new Map(),
    snapshot: async () => new Map(),
    isCurrent: () => true,
    live: async () => null,
    follow: () => () => {},
  },
  get whole() {
    return this.fleet;
  },
  admin: adminOver(async () => {
    throw new AdminError('unreachable');
  }),
  settings: SETTINGS,
  caller: { source: 'mcp-control' as QubeName, principal: 'default' },
  now: () => 0,
  stopping: AbortSignal.abort(),
  notice: () => {},
};

/** `SERVICE`, a newline, and the body. */
export const requestsTarget: Target = {
  name: 'requests',
  what: 'the request of each service: a wish whose names are ready for the journal, or a refusal without a word of the caller',
  words: [...SERVICES.keys()].map((name) => `${name}\n`),
  seeds: Object.entries(REQUESTS).map(([service, request]) => `${service}\n${JSON.stringify(request)}`),
  open: () => {
    const texts = new Set<string>();
    const told = (error: string): void => {
      // One text of the contract has a dash of its own.
      assert.match(error.replaceAll('\u2014', '-'), PRINTABLE);
      texts.add(error);
      assert.ok(texts.size <= MOST_TEXTS, `too many texts: ${[...texts].slice(-3).join(' | ')}`);
    };
    return {
      check: async (input) => {
        const [head, bytes] = headed(input);
        const service = SERVICES.get(head);
        const body = parseBody(bytes);
        if (!service || !body) return;
        if (service.kind === 'read') {
          // Pool statistics ask qubesd whatever the request.
          if (service.name === 'qmcp.GetPoolStats') return;
          const reply = await service.answer(body.json, reading);
          if (!reply.ok) told(String(reply.error));
          return;
        }
        const wish = service.parse(body.json, SETTINGS);
        if (isRefusal(wish)) {
          told(wish.error);
          return;
        }
        assert.match(wish.action, /^[a-z:_-]+$/i);
        assert.match(canonical(wish.args), PRINTABLE, 'what is journalled has passed a grammar');
        assert.ok(canonical(wish.args).length <= 2_048);
        assert.equal(typeof JSON.stringify(wish.request), 'string');
        for (const name of [...Object.values(wish.roles), ...(wish.claims ?? [])]) assert.equal(typeof name, 'string');
      },
    };
  },
};

export const plansTarget = plain(
  {
    name: 'plans',
    what: 'plans and commits: 1 to 32 steps of known services, as a second formulation of the schema has it',
    words: [...SERVICES.keys(), '"calls"', '"service"', '"request"', '"wait"'],
    seeds: [
      JSON.stringify({
        calls: Object.entries(REQUESTS)
          .slice(0, 3)
          .map(([service, request]) => ({ service, request })),
      }),
      JSON.stringify({ calls: [{ service: 'qmcp.ListAIManagedQubes' }] }),
      '{"wait":false}',
      '{"calls":[{"service":"qmcp.Prepare","request":{"calls":[]}}]}',
    ],
  },
  (input) => {
    const json = parseBody(input)?.json;
    const steps = parsePlan(json);
    if (Array.isArray(steps)) {
      assert.ok(steps.length >= 1 && steps.length <= MAX_STEPS);
      for (const step of steps) assert.equal(SERVICES.get(step.service.name), step.service);
    }
    assert.equal(steps === SHAPE, !isPlan(json));
    const commit = parseCommit(json);
    const wait = isObject(json) && Object.hasOwn(json, 'wait') ? json.wait : undefined;
    const expected = !isObject(json) ? null : wait === undefined ? true : typeof wait === 'boolean' ? wait : null;
    assert.equal(commit, expected);
  },
);

const isObject = (json: unknown): json is Record<string, unknown> =>
  typeof json === 'object' && json !== null && !Array.isArray(json);

const isPlan = (json: unknown): boolean => {
  const calls = isObject(json) && Object.hasOwn(json, 'calls') ? json.calls : undefined;
  if (!Array.isArray(calls) || calls.length < 1 || calls.length > MAX_STEPS) return false;
  return calls.every(
    (step) =>
      isObject(step) &&
      Object.hasOwn(step, 'service') &&
      typeof step.service === 'string' &&
      step.service.length <= 64 &&
      (!Object.hasOwn(step, 'request') || isObject(step.request)),
  );
};

const ADDRESSED = { service: 'qmcp.LifecycleAIManaged', argument: '', source: 'mcp-control' };
const SIGNED = {
  ...{ principal: 'builder', time: 1_700_000_000_000, number: '0123456789abcdef0123456789abcdef' },
  call: '{"name":"ai-work","action":"start"}',
};
const SEALED = seal({ ...ADDRESSED, ...SIGNED });
const PUBLIC = createPublicKey(KEY);

export const envelopeTarget = plain(
  {
    name: 'envelope',
    what: 'the envelope of a signed call: read back as it was written; no other call passes for the one that was signed',
    words: ['"qmcp":1', '"principal"', '"time"', '"number"', '"call"', '"signature"', SIGNED.number],
    seeds: [JSON.stringify(SEALED), JSON.stringify({ ...SEALED, call: '' }), '{"qmcp":2}'],
  },
  (input) => {
    const json = parseBody(input)?.json;
    const envelope = envelopeIn(json);
    if (envelope === null) return;
    assert.ok(isEnvelope(json));
    const { signature, ...said } = envelope;
    assert.deepEqual({ qmcp: 1, ...said, signature: signature.toString('base64') }, { ...(json as object) });
    if (isSignedBy(PUBLIC, ADDRESSED, envelope)) assert.deepEqual(said, SIGNED);
  },
);

const QUESTION: Question = {
  v: 1,
  nonce: 'a'.repeat(64) as Nonce,
  digest: 'b'.repeat(64) as Digest,
  expires_in: 60,
  view: {
    lines: ['Remove ai-x (gray)', 'Asked by: mcp-control (red), default agent', 'It is gone.'],
    marks: [{ line: 0, start: 7, end: 11, label: 'gray' }],
    type_to_confirm: 'ai-x' as QubeName,
    risk: 'destroy',
  },
};
const PAIR = nacl.sign.keyPair.fromSeed(createHash('sha256').update('fuzz').digest());
const statementOf = (verdict: string): string =>
  JSON.stringify({
    ...{ v: 1, nonce: QUESTION.nonce, digest: QUESTION.digest, shown: shownHash(QUESTION.view.lines), verdict },
    decided_at: '2026-01-01T00:00:00.000Z',
  });
const receiptOf = (statement: string): string =>
  JSON.stringify({
    statement,
    signature: Buffer.from(nacl.sign.detached(Buffer.from(RECEIPT_CONTEXT + statement), PAIR.secretKey)).toString(
      'base64',
    ),
  });
const DENIED = statementOf('denied');

/** Only a denial was ever signed: whatever else is made of it, it is never a yes. */
export const receiptTarget = plain(
  {
    name: 'receipt',
    what: 'the answer of the dialog: of a signed denial nothing can be made that counts as another answer',
    words: ['approved', 'timeout', '\\"verdict\\":\\"approved\\"', '"statement"', '"signature"', DENIED],
    seeds: [
      receiptOf(DENIED),
      JSON.stringify({ statement: statementOf('approved'), signature: `${'A'.repeat(86)}==` }),
    ],
  },
  (input) => {
    const checked = checkReceipt(input.toString('utf8'), QUESTION, PAIR.publicKey);
    if (checked.answer === 'unavailable') return;
    assert.equal(checked.answer, 'denied');
    assert.equal(checked.receipt.statement, DENIED);
  },
);

export const questionTarget = plain(
  {
    name: 'question',
    what: 'a question as it reaches the dialog: what would be shown is printable, bounded, and marked only at names',
    words: ['"lines"', '"marks"', '"type_to_confirm"', '"risk"', '"freeze"', '"label"'],
    seeds: [
      JSON.stringify(QUESTION),
      JSON.stringify({ ...QUESTION, view: { ...QUESTION.view, freeze: 'mcp-control' } }),
    ],
  },
  (input) => {
    const read = readQuestion(input);
    if ('refused' in read) {
      assert.match(read.refused, PRINTABLE);
      return;
    }
    const { lines, marks } = read.asked.view;
    for (const line of lines) assert.match(line, PRINTABLE);
    for (const { line, start, end } of marks)
      assert.match(lines[line]?.slice(start, end) ?? '', /^[A-Za-z][\w.-]{0,30}$/);
  },
);
