/**
 * Full-screen terminal output: alternate screen, key presses and size changes.
 *
 * The terminal is restored whenever the program ends, except by SIGKILL. This module writes escape
 * sequences that all terminals since the VT100 support; Node reads keys and sizes. No terminal
 * library is used, because a table needs no widgets.
 */
import { writeSync } from 'node:fs';
import { emitKeypressEvents, type Key } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';

/** A line and its highlighting. */
export interface Line {
  readonly text: string;
  readonly style?: 'head' | 'alarm';
}

/** Observer of keys and sizes. */
export interface Watcher {
  /** @param name name of a key: `q`, `up`, `pagedown`, `ctrl-c` */
  readonly onKey: (name: string) => void;
  /** Called when the size has changed or the screen must be redrawn. */
  readonly onResize: () => void;
}

export interface Screen {
  /** Size in characters. */
  readonly size: { readonly columns: number; readonly rows: number };
  open(watcher: Watcher): void;
  /** Draws lines from the top; lines and characters that do not fit are cut off. */
  draw(lines: readonly Line[]): void;
  close(): void;
}

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_REST_OF_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
/** Select Graphic Rendition (SGR): reverse, bold. */
const STYLES = { head: '\x1b[7m', alarm: '\x1b[1m' };
const PLAIN = '\x1b[0m';
const DEFAULT_SIZE = { columns: 80, rows: 24 };

type Output = WriteStream & { readonly fd: number };

export class TerminalScreen implements Screen {
  readonly #input: ReadStream;
  readonly #output: Output;
  #watcher: Watcher | undefined;

  constructor(input: ReadStream, output: Output) {
    this.#input = input;
    this.#output = output;
  }

  get size(): { columns: number; rows: number } {
    const { columns, rows } = this.#output;
    return { columns: columns || DEFAULT_SIZE.columns, rows: rows || DEFAULT_SIZE.rows };
  }

  open(watcher: Watcher): void {
    this.#watcher = watcher;
    emitKeypressEvents(this.#input);
    this.#input.on('keypress', this.#press);
    this.#output.on('resize', this.#resized);
    process.on('exit', this.#leave);
    this.#enter();
  }

  draw(lines: readonly Line[]): void {
    const { columns, rows } = this.size;
    const shown = lines.slice(0, rows).map(({ text, style }) => {
      const cut = [...text.replace(/\p{Cc}/gu, '?')].slice(0, columns).join('');
      const plain = style === 'head' ? cut.padEnd(columns) : cut;
      return style === undefined ? plain : `${STYLES[style]}${plain}${PLAIN}`;
    });
    const text = shown.map((line) => line + CLEAR_REST_OF_LINE).join('\r\n');
    this.#output.write(`${HOME}${text}${shown.length < rows ? `\r\n${CLEAR_BELOW}` : ''}`);
  }

  close(): void {
    if (this.#watcher === undefined) return;
    this.#watcher = undefined;
    this.#input.off('keypress', this.#press);
    this.#output.off('resize', this.#resized);
    process.off('exit', this.#leave);
    this.#leave();
  }

  #enter(): void {
    this.#input.setRawMode(true);
    this.#input.resume();
    this.#output.write(ENTER);
  }

  /**
   * Restores the terminal. The write is synchronous, because the process may be exiting. Errors of
   * a closed terminal are ignored.
   */
  readonly #leave = (): void => {
    try {
      writeSync(this.#output.fd, LEAVE);
      this.#input.setRawMode(false);
    } catch {}
    this.#input.pause();
  };

  readonly #resized = (): void => this.#watcher?.onResize();

  readonly #press = (_text: string, { name = '', ctrl, sequence }: Key): void => {
    if (ctrl && name === 'z') this.#suspend();
    else this.#watcher?.onKey(ctrl ? `ctrl-${name}` : name || (sequence ?? ''));
  };

  /** Implements Ctrl-Z, which the terminal does not handle in raw mode. */
  #suspend(): void {
    this.#leave();
    process.once('SIGCONT', () => {
      if (this.#watcher === undefined) return;
      this.#enter();
      this.#watcher.onResize();
    });
    process.kill(process.pid, 'SIGTSTP');
  }
}
