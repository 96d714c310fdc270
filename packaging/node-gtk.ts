/**
 * What the dialog needs of node-gtk at run time: node packaging/node-gtk.ts DIRECTORY copies it there, as a node_modules.
 * Left behind are its sources, its build tools and their hundred packages, GTK 4, hot reloading and the inspector.
 */
import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The interface version of the Node that dom0 has (22) and that node-gtk is built for. */
const ABI = 127;

/** Package -> its files. Beside these each keeps its package.json and its licence. */
export const RUNTIME_FILES: Readonly<Record<string, readonly string[]>> = {
  'node-gtk': [
    ...['index', 'native', 'bootstrap', 'module', 'loop', 'register-class', 'utils'].map((name) => `lib/${name}.js`),
    // Loaded by the name and version of the namespace that somebody asks for, some of them by GTK's own dependencies.
    ...['Gtk-3.0', 'Gdk-3.0', 'GLib-2.0', 'Gio-2.0', 'GObject', 'Pango', 'cairo'].map((it) => `lib/overrides/${it}.js`),
    `lib/binding/node-v${ABI}-linux-x64/node_gtk.node`,
  ],
  'lodash.camelcase': ['index.js'],
  'lodash.snakecase': ['index.js'],
};

/** Copies it all from node_modules to `target`, which is made. Rejects when something is missing. */
export const copyRuntime = async (target: string): Promise<void> => {
  for (const [name, files] of Object.entries(RUNTIME_FILES)) {
    const from = join(root, 'node_modules', name);
    const license = (await readdir(from)).filter((file) => /^licen[cs]e/i.test(file));
    for (const file of ['package.json', ...license, ...files]) {
      await mkdir(dirname(join(target, name, file)), { recursive: true });
      await copyFile(join(from, file), join(target, name, file));
    }
  }
};

if (import.meta.main) {
  const [target] = process.argv.slice(2);
  if (target === undefined) throw new Error('Say where to: node packaging/node-gtk.ts DIRECTORY');
  await copyRuntime(target);
}
