// Signed calls of qmcp.* services, from the qube of an agent. Needs Node 22.6 or newer and nothing beside it; one file, to be
// copied there. The same as qmcp_caller.py. The key is a PEM file: openssl genpkey -algorithm ed25519 -out KEY
import { execFileSync, spawn } from 'node:child_process';
import { createPrivateKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

const CONTEXT = 'qmcp-call-v1';

/** The name of this qube, as dom0 knows it. */
export const ownName = (): string => execFileSync('qubesdb-read', ['/name'], { encoding: 'utf8' }).trim();

export interface Moment {
  /** Milliseconds since 1970; now unless told. */
  readonly time?: number;
  /** 32 hexadecimal digits that were never used before; random unless told. */
  readonly number?: string;
}

/** A principal with its key, in the qube named `source`; in this one unless told. */
export class QmcpCaller {
  readonly #principal: string;
  readonly #key: KeyObject;
  readonly #source: string;

  constructor(principal: string, keyFile: string, source: string = ownName()) {
    this.#principal = principal;
    this.#key = createPrivateKey(readFileSync(keyFile));
    this.#source = source;
  }

  /** The body of a signed call. Each is good for one call within two minutes. */
  envelope(service: string, request?: unknown, argument = '', moment: Moment = {}): string {
    const { time = Date.now(), number = randomBytes(16).toString('hex') } = moment;
    const call = request === undefined ? '' : JSON.stringify(request);
    const fields = [CONTEXT, service, argument, this.#source, this.#principal, String(time), number, call];
    const signature = sign(null, Buffer.from(fields.join('\0'), 'utf8'), this.#key).toString('base64');
    return JSON.stringify({ qmcp: 1, principal: this.#principal, time, number, call, signature });
  }

  /** Makes the call and gives the reply; anything that is no object counts as a refusal. */
  async call(service: string, request?: unknown, argument = ''): Promise<Record<string, unknown>> {
    const text = await exchange(`${service}+${argument}`, this.envelope(service, request, argument));
    const refused = { ok: false, error: 'not found or refused' };
    try {
      const reply: unknown = JSON.parse(text);
      return typeof reply === 'object' && reply !== null && !Array.isArray(reply) ? { ...reply } : refused;
    } catch {
      return refused;
    }
  }
}

const exchange = (service: string, body: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const client = spawn('qrexec-client-vm', ['--', '@adminvm', service], { stdio: ['pipe', 'pipe', 'inherit'] });
    const chunks: Buffer[] = [];
    client.on('error', reject);
    client.stdin.on('error', () => {});
    client.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    client.on('close', () => resolve(Buffer.concat(chunks).toString('utf8')));
    client.stdin.end(body);
  });
