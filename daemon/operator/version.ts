// qmcpctl version: what is installed and what runs.
import packageJson from '../../package.json' with { type: 'json' };
import { PROTOCOL } from '../control/protocol.ts';
import { helloDaemon } from './ask-daemon.ts';
import { DONE, Refusal, verb } from './command.ts';
import { JSON_OPTION } from './places.ts';
import { pairs } from './table.ts';

export const version = verb(
  {
    name: 'qmcpctl version',
    summary: 'the versions of this program and of the daemon that runs',
    operands: '',
    about: [
      'Also says, in a sentence, where no daemon answers; that is no failure here. qmcpctl --version does the same.',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl version', 'Two versions, which are the same where all is well.']],
    json: '{"qmcpctl": version, "daemon": version or null, "protocol": n, "sentence": text or null}',
  },
  async (values, _, io) => {
    const found = await daemonVersion(values.run);
    const answer = {
      qmcpctl: packageJson.version,
      daemon: found.version,
      protocol: PROTOCOL,
      sentence: found.sentence,
    };
    if (values.json) await io.out(`${JSON.stringify(answer)}\n`);
    else {
      const daemon = found.version ?? found.sentence ?? '';
      await io.out(
        pairs([
          ['qmcpctl', packageJson.version],
          ['Daemon', daemon],
          ['Node', process.version],
        ]),
      );
    }
    return DONE;
  },
);

const daemonVersion = async (
  run: string,
): Promise<{ readonly version: string | null; readonly sentence: string | null }> => {
  try {
    return { version: await helloDaemon(run), sentence: null };
  } catch (error) {
    if (error instanceof Refusal) return { version: null, sentence: error.message };
    throw error;
  }
};
