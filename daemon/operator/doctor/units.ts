// What systemd makes of the daemon. Where there is no systemd, or none that runs, there is nothing to say.
import { type Check, error, type Finding, warning } from './finding.ts';

const UNITS = ['qmcp-brokerd.socket', 'qmcp-brokerd.service'];

export const unitsCheck: Check = async ({ programs }) => {
  const shown = await programs.run('systemctl', [
    'show',
    '--property=Id,LoadState,ActiveState,UnitFileState',
    ...UNITS,
  ]);
  if (shown.kind !== 'ended' || shown.code !== 0) return [];
  const units = shown.out.split(/\n\n+/).map((block) => Object.fromEntries(block.split('\n').map(fieldOf)));
  return units.filter(({ Id }) => UNITS.includes(Id ?? '')).flatMap(unitFindings);
};

const fieldOf = (line: string): [string, string] => {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
};

const unitFindings = ({
  Id = '',
  LoadState,
  ActiveState,
  UnitFileState,
}: Partial<Record<string, string>>): Finding[] => {
  if (LoadState === 'not-found') {
    return [error(`The unit ${Id} is not installed.`, 'sudo qubes-dom0-update --action=reinstall qmcp-broker')];
  }
  if (LoadState === 'masked') return [error(`The unit ${Id} is masked.`, `sudo systemctl unmask ${Id}`)];
  if (ActiveState === 'failed')
    return [error(`The unit ${Id} has failed.`, `journalctl -u ${Id} -e; sudo systemctl restart ${Id}`)];
  const found: Finding[] = [];
  if (UnitFileState === 'disabled') {
    found.push(warning(`The unit ${Id} is not started at boot.`, `sudo systemctl enable --now ${Id}`));
  }
  if (ActiveState === 'inactive') found.push(error(`The unit ${Id} is stopped.`, `sudo systemctl start ${Id}`));
  return found;
};
