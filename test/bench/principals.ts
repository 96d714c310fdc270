// Does it show in a call how many principals are enrolled? One daemon with one beside one with ten thousand, called in turns.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { frame } from '../broker/caller.ts';
import { enrolled, freshNumber, seal, unsignedFile } from '../principals/signing.ts';
import { drive } from './drive.ts';
import { fleetOf, Place, residentMiB } from './place.ts';
import { median, ms, type Row, ratio } from './row.ts';

const MANY = 10_000;
const ROUNDS = 6;
const SECONDS = 0.4;
/** Beyond what the machine's noise explains. */
const MEASURABLE = 1.1;

const SERVICE = 'qmcp.GetPropertyAIManaged';
const REQUEST = { name: 'ai-0001', property: 'label' };

const nameOf = (index: number): string => `p${String(index).padStart(5, '0')}`;

/** In turns for several principals, as one of them is not remembered more than so many calls of. */
const SIGNERS = 8;
let turn = 0;
const signed = (principals: number): Buffer => {
  turn += 1;
  const principal = nameOf(turn % Math.min(SIGNERS, principals));
  const call = JSON.stringify(REQUEST);
  const from = { source: 'mcp-control', service: SERVICE, argument: '' };
  return Buffer.from(frame(SERVICE, seal({ ...from, principal, time: Date.now(), number: freshNumber(), call })));
};
const unsigned = Buffer.from(frame(SERVICE, REQUEST));

class Enrolled {
  readonly place = new Place();
  readonly principals: number;
  readyMs = 0;
  pid = 0;

  constructor(principals: number) {
    this.principals = principals;
    const dir = join(this.place.root, 'etc', 'principals');
    mkdirSync(dir);
    writeFileSync(join(dir, 'all.json'), unsignedFile());
    for (let index = 0; index < principals; index++) {
      const limits = { ceiling: 'full', names: ['ai-0*'], per_hour: { calls: 1_000_000 } };
      writeFileSync(join(dir, `${nameOf(index)}.json`), enrolled(limits));
    }
  }

  async start(flags: readonly string[]): Promise<void> {
    await this.place.startQubesd(fleetOf(10));
    const began = performance.now();
    this.pid = await this.place.startDaemon(flags);
    this.readyMs = performance.now() - began;
    await drive(this.place.door, unsigned, '{"ok":true', 8, 0.5);
    await drive(this.place.door, () => signed(this.principals), '{"ok":true', 8, 0.2);
  }
}

/** Rows for one set of Node flags. */
export const principalRows = async (flags: readonly string[], progress: (text: string) => void): Promise<Row[]> => {
  const mode = flags.length > 0 ? flags.join(' ') : 'default flags';
  progress(`${mode}: ${MANY} principals`);
  const few = new Enrolled(SIGNERS);
  const many = new Enrolled(MANY);
  try {
    for (const each of [few, many]) await each.start(flags);
    const compare = async (what: string, bytes: (of: Enrolled) => Buffer | (() => Buffer)): Promise<[Row, number]> => {
      const latencies = new Map<Enrolled, number[]>([
        [few, []],
        [many, []],
      ]);
      for (let round = 0; round < ROUNDS; round++) {
        for (const [of, list] of latencies) {
          list.push(...(await drive(of.place.door, bytes(of), '{"ok":true', 1, SECONDS)).latencies);
        }
      }
      const [a, b] = [median(latencies.get(few) ?? []), median(latencies.get(many) ?? [])];
      return [
        {
          what: `${what} with ${MANY} principals against ${SIGNERS}, ${mode}`,
          measured: `${ms(b)} against ${ms(a)}: ${ratio(b / a)}`,
          target: `at most ${MEASURABLE}x`,
          met: b / a <= MEASURABLE,
        },
        b,
      ];
    };
    const [plain, plainMs] = await compare('unsigned GetProperty', () => unsigned);
    const [sealed, sealedMs] = await compare('signed GetProperty', (of) => () => signed(of.principals));
    return [
      plain,
      sealed,
      { what: `what a signature costs a call, ${mode}`, measured: `${ms(sealedMs - plainMs)} more at the median` },
      {
        what: `start with ${MANY} principals, ${mode}`,
        measured: `ready after ${ms(many.readyMs)} against ${ms(few.readyMs)}; ${residentMiB(many.pid).toFixed(0)} against ${residentMiB(few.pid).toFixed(0)} MiB resident`,
      },
    ];
  } finally {
    for (const each of [few, many]) await each.place.end();
  }
};
