// Callers that sign what they send, and others that only pretend to: what is signed, by whom, and what must come of it.
import { type KeyObject, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SERVICES } from '../../daemon/services/registry.ts';
import { keyOf } from './approver.ts';
import type { SimulatedCall } from './calls.ts';
import type { Chance } from './chance.ts';
import { anyQuota, type PerHour, UNSIGNED } from './quotas.ts';
import type { Tier } from './rules.ts';

interface Signer {
  readonly name: string;
  readonly sources: readonly string[];
  readonly ceiling: Tier;
  readonly secret: KeyObject;
}

const WEB = keyOf('the principal web');
const OPS = keyOf('the principal ops');
const SIGNERS: readonly Signer[] = [
  { name: 'web', sources: ['mcp-control'], ceiling: 'exec', secret: WEB.secret },
  { name: 'ops', sources: ['mcp-control', 'ai-a'], ceiling: 'full', secret: OPS.secret },
];

/** Below `<etc>/principals`, without what they may use in an hour. */
const FILES: Readonly<Record<string, object>> = {
  [UNSIGNED]: { unsigned: true, sources: 'any', ceiling: 'full' },
  web: { key: WEB.text, sources: ['mcp-control'], ceiling: 'exec' },
  ops: { key: OPS.text, sources: ['mcp-control', 'ai-a'], ceiling: 'full' },
};

const KINDS = {
  good: 80,
  'sent again': 12,
  'out of time': 3,
  'by another key': 3,
  'for another service': 2,
  'for another source': 2,
  altered: 2,
  'by nobody': 1,
} as const;

/** A call in an envelope: what is sent, what it asks for if it is good, and as how much it counts. */
export interface SignedCall {
  readonly call: SimulatedCall;
  readonly principal: string;
  /** The request inside. */
  readonly body: Buffer;
  readonly ceiling: Tier;
  /** Whether it may have an effect at all. */
  readonly isGood: boolean;
}

/** A read is answered also while the disk fails, and then a crash forgets that it was (`daemon/principals/principals.ts`). */
const isRead = ({ call }: SignedCall): boolean => SERVICES.get(call.service)?.kind === 'read';

export class Signers {
  readonly #chance: Chance;
  readonly #now: () => number;
  /** Good calls that were answered, and so are used up for ever. */
  readonly #used: SignedCall[] = [];
  /** Of those who may not use what they want, by name. */
  readonly limits: ReadonlyMap<string, PerHour>;

  constructor(chance: Chance, now: () => number) {
    this.#chance = chance;
    this.#now = now;
    const isLimited = chance.is(0.5);
    const names = Object.keys(FILES).filter((name) => isLimited && (name !== UNSIGNED || chance.is(0.4)));
    // Most calls are unsigned, and would come to nothing with a small quota.
    const calls = (name: string): number[] => (name === UNSIGNED ? [15, 40, 100] : [2, 5, 10, 30]);
    this.limits = new Map(names.map((name) => [name, anyQuota(chance, calls(name))]));
  }

  enroll(etc: string): void {
    mkdirSync(join(etc, 'principals'));
    for (const [name, file] of Object.entries(FILES)) {
      const text = JSON.stringify({ ...file, per_hour: this.limits.get(name) });
      writeFileSync(join(etc, 'principals', `${name}.json`), text);
    }
  }

  /** From now on it is an earlier call, whose like must never be taken again. */
  wasAnswered(signed: SignedCall): void {
    if (signed.isGood) this.#used.push(signed);
    if (this.#used.length > 8) this.#used.shift();
  }

  /** The broker crashed or ended. */
  forget(): void {
    this.#used.splice(0, this.#used.length, ...this.#used.filter((signed) => !isRead(signed)));
  }

  /** The call as one of the signers makes it; null where none signs for its source, or its body is no text. */
  signed(call: SimulatedCall): SignedCall | null {
    const chance = this.#chance;
    const signer = chance.pick(SIGNERS.filter(({ sources }) => sources.includes(call.source)));
    const text = call.body.toString('utf8');
    if (!signer || !Buffer.from(text, 'utf8').equals(call.body)) return null;
    const kind = chance.weighted(KINDS);
    if (kind === 'sent again') {
      const before = chance.pick(this.#used);
      return before ? { ...before, isGood: false } : null;
    }
    const time = Math.max(0, this.#now() + (kind === 'out of time' ? chance.pick([-130_000, 130_000]) : 0));
    const number = chance.bytes(16).toString('hex');
    const service = kind === 'for another service' ? 'qmcp.ListAIManagedQubes+' : call.service;
    const source = kind === 'for another source' ? 'mcp-other' : call.source;
    const principal = kind === 'by nobody' ? 'nobody' : signer.name;
    const secret = kind === 'by another key' ? keyOf('somebody else').secret : signer.secret;
    const bytes = ['qmcp-call-v1', service, call.argument, source, principal, String(time), number, text].join('\0');
    const signature = sign(null, Buffer.from(bytes), secret).toString('base64');
    const said = kind === 'altered' ? `${text} ` : text;
    const envelope = { qmcp: 1, principal, time, number, call: said, signature };
    return {
      call: { ...call, body: Buffer.from(JSON.stringify(envelope)) },
      ...{ principal: signer.name, body: call.body, ceiling: signer.ceiling, isGood: kind === 'good' },
    };
  }
}
