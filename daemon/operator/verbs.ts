// Every verb there is. Adding one touches its own file and this table; help, man pages and completion follow by themselves.
import { approve } from './approve.ts';
import { audit } from './audit.ts';
import { type Command, group } from './command.ts';
import { config } from './config.ts';
import { doctor } from './doctor.ts';
import { explain } from './explain.ts';
import { freeze, thaw } from './freeze.ts';
import { init } from './init.ts';
import { migrate } from './migrate.ts';
import { mode } from './mode.ts';
import { pending } from './pending.ts';
import { principals } from './principals.ts';
import { simulate } from './simulate.ts';
import { status } from './status.ts';
import { tier } from './tier.ts';
import { tombstones } from './tombstones.ts';
import { undo } from './undo.ts';
import { version } from './version.ts';

export const QMCPCTL: Command = group('qmcpctl', 'operate the broker that lets AI agents manage qubes', {
  init,
  status,
  doctor,
  tier,
  mode,
  config,
  explain,
  simulate,
  pending,
  approve,
  freeze,
  thaw,
  principals,
  tombstones,
  undo,
  audit,
  migrate,
  version,
});
