// Registry files below a directory of operator files, written as an operator's tools do: replaced whole.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const enrollIn = (etc: string, files: Readonly<Record<string, string>>): void => {
  const dir = join(etc, 'principals');
  mkdirSync(dir, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(dir, `.${name}.new`), text);
    renameSync(join(dir, `.${name}.new`), join(dir, name));
  }
};
