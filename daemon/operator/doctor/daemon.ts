// Whether the daemon runs, is of this version, reaches qubesd, can write; and whom it holds back.
import packageJson from '../../../package.json' with { type: 'json' };
import { Hanging, RESTART, START, Unreachable } from '../ask-daemon.ts';
import { Refusal } from '../command.ts';
import { type Check, error, type Finding, note, warning } from './finding.ts';

const quarantineText = (name: string, since: string): string =>
  `A creation left ${name} half-made (${since.slice(0, 16).replace('T', ' ')} UTC) and could not remove it, so it is in quarantine: ` +
  `to agents it does not exist. To keep it instead, set its network, then its tier: qvm-prefs ${name} netvm NETVM, and ` +
  `qmcpctl tier set ${name} TIER.`;

const unseenText = (name: string): string =>
  `qubesd was given up on while it created ${name}, and may have made it or do so yet: to agents it does not exist. Where ` +
  'there is none half an hour later, this ends by itself. Where there is one:';

export const daemonCheck: Check = async ({ status, version, state, log }) => {
  try {
    const running = await version();
    const { qubesd, journal, undo_complaint, all_frozen, frozen, resting, dialog, quarantine, quarantine_complaint } =
      await status();
    const found: Finding[] = [];
    if (running !== packageJson.version) {
      found.push(warning(`The daemon is of version ${running}, qmcpctl of ${packageJson.version}.`, RESTART));
    }
    if (qubesd === 'away') {
      found.push(
        error('The daemon does not hear from qubesd, so no question is asked.', 'sudo systemctl restart qubesd'),
      );
    }
    if (!journal.ok)
      found.push(error(journal.sentence ?? 'The journal cannot be written.', `df -h ${log}; sudo ls -l ${log}`));
    else if (journal.sentence !== null) found.push(warning(journal.sentence, 'sudo qmcpctl audit verify'));
    if (undo_complaint !== null) found.push(warning(undo_complaint, `df -h ${state}; sudo ls -l ${state}`));
    if (quarantine_complaint !== null) {
      found.push(error(quarantine_complaint, `sudo ls -l ${state}/quarantine; ${RESTART}`));
    }
    for (const { name, uuid, since } of quarantine) {
      found.push(warning(uuid === null ? unseenText(name) : quarantineText(name, since), `qvm-remove ${name}`));
    }
    if (all_frozen !== null) found.push(error(all_frozen, `sudoedit ${state}/frozen; ${RESTART}`));
    if (!dialog.listens) {
      found.push(
        warning(
          'No session listens for questions, so each ends in no. In the desktop, as its user:',
          'systemctl --user start qmcp-confirm.socket',
        ),
      );
    }
    for (const source of frozen) found.push(note(`${source} is frozen: it gets nothing.`, `qmcpctl thaw ${source}`));
    for (const { source, seconds } of resting) {
      found.push(note(`Questions of ${source} rest for ${seconds} seconds yet, after denials.`));
    }
    return found;
  } catch (failure) {
    if (failure instanceof Unreachable) return [error('The daemon is not running: every call is refused.', START)];
    if (failure instanceof Hanging) return [error('The daemon runs, but does not answer.', RESTART)];
    if (failure instanceof Refusal) return [error(failure.message, RESTART)];
    throw failure;
  }
};
