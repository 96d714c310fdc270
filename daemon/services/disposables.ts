// Which qubes disposables may be made of, and which disposables came of them (contract 1.5, 1.6, R5).
import type { QubeName, Uuid } from '../names.ts';
import { type Refusal, refuse } from '../qrexec/door.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';

export const notDisposableTemplate = (name: QubeName, klass: string): Refusal =>
  refuse(`template '${name}' must have template_for_dispvms=True to be a DispVM source (klass is ${klass})`);

/** What cannot be read is not one. Rejects with `AdminError` when qubesd is away. */
export const isDisposableTemplate = async (admin: Admin, uuid: Uuid): Promise<boolean> =>
  (await unlessRefused(admin.property({ uuid }, 'template_for_dispvms')))?.text === 'True';

const PRELOAD_PREFIX = 'preload-dispvm';
const PRELOAD_MAX = 'preload-dispvm-max';
const NONE: ReadonlySet<string> = new Set(['', '0']);

/**
 * Whether qubesd keeps disposables of this template running in advance, and so might hand out one that nobody has pinned.
 * It does for the template's own feature, and for the machine's default template when dom0 has it. What cannot be read is
 * a yes. Source: qubes/vm/dispvm.py, get_preload_templates.
 */
export const isPreloaded = async (admin: Admin, name: QubeName, uuid: Uuid): Promise<boolean> => {
  const names = await unlessRefused(admin.featureNames({ uuid }));
  if (!names) return true;
  for (const feature of names.filter((each) => each.startsWith(PRELOAD_PREFIX))) {
    const value = await unlessRefused(admin.feature({ uuid }, feature));
    if (value === undefined || !NONE.has(value ?? '')) return true;
  }
  const everywhere = await unlessRefused(admin.feature('dom0', PRELOAD_MAX));
  if (everywhere !== undefined && NONE.has(everywhere ?? '')) return false;
  const standard = await unlessRefused(admin.globalProperty('default_dispvm'));
  return standard === undefined || standard.text === name;
};

/** Whether a qube is a disposable of this template that removes itself when it stops. Rejects with `AdminError`. */
export const isDisposableOf = async ({ uuid, klass }: Row, template: QubeName, admin: Admin): Promise<boolean> => {
  if (klass !== 'DispVM') return false;
  const properties = await admin.properties({ uuid });
  return properties.get('template')?.text === template && properties.get('auto_cleanup')?.text === 'True';
};

/**
 * The disposables of a template that are not among the known and never ran: what a creation left whose answer was lost.
 * Only meaningful while no other creation runs. Rejects with `AdminError`.
 */
export const newDisposables = async (
  template: QubeName,
  known: ReadonlySet<string>,
  admin: Admin,
): Promise<readonly Row[]> => {
  const found: Row[] = [];
  for (const row of await admin.list()) {
    if (row.klass !== 'DispVM' || row.state !== 'Halted' || known.has(row.uuid)) continue;
    if (await isDisposableOf(row, template, admin)) found.push(row);
  }
  return found;
};

/** undefined for what qubesd refuses to tell. */
const unlessRefused = async <T>(reading: Promise<T>): Promise<T | undefined> => {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    return undefined;
  }
};
