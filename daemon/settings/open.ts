// Reads the operator files again when they changed, and only then. Nothing else reads `<etc>`'s settings.
import { join } from 'node:path';
import { FILE_NAMES, type FileName, parseSettings } from './files.ts';
import { isEqual, isSame, look, lookAtFolder, type Seen } from './look.ts';
import { POLICY_MODE_FILE } from './mode.ts';
import type { Settings } from './settings.ts';

export interface SettingsReader {
  /** The settings as they stand now. The same object for as long as no file's content changed. Never throws. */
  current(): Settings;
}

export interface SettingsOptions {
  /** The directory of qrexec's policy, whose mode is compared; without it nothing is. */
  readonly policyDir?: string;
  /** Told of every later settings, by whichever call first saw the change. */
  readonly changed?: (settings: Settings) => void;
}

/**
 * The settings below a directory; a directory that does not exist holds no files. `now` gives milliseconds since 1970.
 * Synchronous throughout, so that one call decides on one state of the files it looked at.
 */
export function openSettings(
  dir: string,
  now: () => number = Date.now,
  { policyDir, changed: told }: SettingsOptions = {},
): SettingsReader {
  const policyPath = policyDir === undefined ? null : join(policyDir, POLICY_MODE_FILE);
  let policy: Seen | undefined;
  const paths = new Map(FILE_NAMES.map((name) => [name, join(dir, name)]));
  const seen = new Map<FileName, Seen>();
  let folder: Seen | null = null;
  let settings: Settings | null = null;

  const current = (): Settings => {
    const folderBefore = folder;
    folder = lookAtFolder(dir, now);
    // A file can only appear, or become a link to nothing, by a change of its directory.
    const mayAppear = folderBefore === null || !isSame(folderBefore, folder);
    let changed = settings === null;
    for (const [name, path] of paths) {
      const before = seen.get(name);
      if (before?.source.kind === 'absent' && !mayAppear) continue;
      const after = folder.source.kind === 'text' ? look(path, before, now) : folder;
      seen.set(name, after);
      changed ||= before === undefined || !isEqual(before.source, after.source);
    }
    if (policyPath !== null) {
      const before = policy;
      policy = look(policyPath, before, now);
      changed ||= before === undefined || !isEqual(before.source, policy.source);
    }
    if (settings !== null && !changed) return settings;
    const isFirst = settings === null;
    const sources = new Map([...seen].map(([name, { source }]) => [name, source]));
    settings = parseSettings(sources, policyPath && policy ? { path: policyPath, source: policy.source } : null);
    if (!isFirst) told?.(settings);
    return settings;
  };
  return { current };
}
