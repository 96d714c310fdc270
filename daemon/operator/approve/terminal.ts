// The terminal in raw mode: keys one by one, nothing echoed by itself. Node puts the mode back when the process ends.
import type { ReadStream, WriteStream } from 'node:tty';

export interface Ears {
  readonly heard: (chunk: Uint8Array) => void;
  readonly resized: () => void;
  /** The terminal is gone, or somebody wants this process to end. */
  readonly ended: () => void;
}

export interface Terminal {
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly write: (text: string) => void;
  readonly close: () => void;
}

// A stop in the middle and a way back would leave a question standing that may be long over.
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGTSTP', 'SIGCONT'] as const;

export const openTerminal = ({ heard, resized, ended }: Ears): Terminal => {
  const { stdin, stdout } = process as { stdin: ReadStream; stdout: WriteStream };
  for (const signal of ENDING) process.on(signal, ended);
  stdout.on('resize', resized).on('error', ended);
  stdin.setRawMode(true);
  stdin.on('data', heard).on('end', ended).on('error', ended).on('close', ended);
  return {
    size: () => {
      const [columns, rows] = stdout.getWindowSize();
      return { columns, rows };
    },
    write: (text) => void stdout.write(text),
    close: () => {
      stdin.off('end', ended).off('close', ended).off('data', heard);
      for (const signal of ENDING) process.off(signal, ended);
      stdout.off('resize', resized);
      if (!stdin.destroyed) stdin.setRawMode(false);
      stdin.pause();
    },
  };
};
