// What each operator file is for, and what stands for it where there is none: the words of config list, config get, doctor and
// the man page. Grammar and meaning are settings/files.ts.
import type { FileName } from '../settings/files.ts';

export interface SettingWords {
  /** No capital, no full stop. */
  readonly what: string;
  readonly absent: string;
  /** Whether it holds one entry per line, in any number. */
  readonly isList: boolean;
  readonly unit?: 'bytes' | 'seconds';
}

const one = (what: string, absent: string, unit?: 'bytes' | 'seconds'): SettingWords => ({
  what,
  absent,
  isList: false,
  ...(unit && { unit }),
});
const list = (what: string, absent: string): SettingWords => ({ what, absent, isList: true });

export const SETTING_WORDS: Readonly<Record<FileName, SettingWords>> = {
  'tier-default': one('what a managed qube without a tier tag grants; written by qmcpctl mode', 'full'),
  'birth-ceiling': one('the highest tier of a created qube', 'as what it is made of'),
  'birth-egress': one('the qube that gives created qubes their network, where nothing else does', 'none'),
  guarded: list('qubes whose every change is asked, by name or uuid', 'nobody'),
  'pool-cap': one('how many bytes all qubes of agents may take together', 'unset: creating is refused', 'bytes'),
  'private-cap': one('how many bytes one created qube may ask for', 'unset: asking for a size is refused', 'bytes'),
  'name-prefix': one('how the names of created qubes begin', 'ai-'),
  'enforce-mode': one('shadow, strict or enforce: whether the kernel of rules decides too', 'shadow'),
  'consent-policy': list('what is asked, as SERVICE:ACTION; * stands for any', 'what destroys something'),
  'consent-timeout': one('how long a question stays open', '300', 'seconds'),
  'tombstone-retention': one('how long a removed qube is kept', '86400', 'seconds'),
  tombstones: one(
    'on: a removed qube is kept for a while; off: it is destroyed at once',
    'off, unless enforce-mode is not shadow',
  ),
  'features-allowed': list('features that agents may set besides the usual; NAME or BEGINNING*', 'none'),
  'confirm.pub': one('the public key of qmcp-confirm', 'none: no question can be answered yes'),
};
