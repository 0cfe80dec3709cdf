/**
 * State file: keeps the changes made through the API.
 *
 * The file is replaced atomically: a new file is written and synced (fsync(2)), renamed over the
 * old one, and the directory is synced. After a crash of daemon or machine the file has either the
 * old or the new state. A damaged file, or a file of another program, is refused and not modified.
 *
 * Only one daemon may use the state file: the daemon holds a lock on a separate file `*.lock`,
 * which the kernel releases when the process ends.
 */
import { type FileHandle, mkdir, open, readFile, realpath, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError } from './config-error.js';
import { NO_STATE, type State } from './state.js';
import { readState, writeState } from './text.js';

const CURE = 'use another file with --state FILE, or disable it with --state off';

/** The state file cannot be used. The message is one line with the cause and the remedy. */
export class StateError extends Error {
  override readonly name = 'StateError';
  /** The cause, and the remedy. */
  readonly problem: string;
  readonly cure = CURE;
  /**
   * True if the path cannot be written (permissions, missing directory); the content is not at
   * fault.
   */
  readonly notPermitted: boolean;

  constructor(problem: string, notPermitted = false) {
    super(`${problem}; ${CURE}`);
    this.problem = problem;
    this.notPermitted = notPermitted;
  }
}

/** Locks an open file until it is closed. Returns 0 or a negative errno. */
export type FileLock = (fd: number) => number;

/** Syncs a directory to disk, which makes a rename in it durable. */
type SyncFolder = (folder: FileHandle) => Promise<void>;

/** A state that is written to disk but not yet in effect. */
export interface PreparedState {
  /** Renames the new file over the old one, and syncs. @throws StateError when either fails */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

const FILE_MODE = 0o640;
const FOLDER_MODE = 0o755;
/** Errors of open(2) and mkdir(2) that mean that the path cannot be written. */
const NOT_PERMITTED = ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR'];

export class StateFile {
  /** State that `open` read; later writes do not change this field. */
  readonly state: State;
  readonly #path: string;
  readonly #lock: FileHandle;
  readonly #sync: SyncFolder;
  /** State that the file contains. */
  #kept: State;

  private constructor(path: string, lock: FileHandle, state: State, sync: SyncFolder) {
    this.#path = path;
    this.#lock = lock;
    this.#sync = sync;
    this.#kept = state;
    this.state = state;
  }

  /**
   * Creates the directory, locks the file and reads it.
   *
   * @param sync replaced in tests
   * @throws StateError when the file cannot be used or is locked
   * @throws ConfigError when the content of the file is invalid
   */
  static async open(
    path: string,
    lockFile: FileLock,
    sync: SyncFolder = (folder) => folder.sync(),
  ): Promise<StateFile> {
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE }).catch(explain(path));
    const real = await realpath(path).catch(() => path);
    const lock = await open(`${real}.lock`, 'a', FILE_MODE).catch(explain(path));
    try {
      const result = lockFile(lock.fd);
      if (result < 0) throw new StateError(`--state ${path}: in use by another vtepd`);
      return new StateFile(real, lock, await load(real), sync);
    } catch (error) {
      await lock.close();
      throw error;
    }
  }

  /** Writes and syncs a new file. Calls must not overlap. @throws StateError on failure */
  async prepare(state: State): Promise<PreparedState> {
    const path = this.#path;
    const fresh = `${path}.new`;
    await writeSynced(fresh, writeState(state)).catch(explain(path));
    // The directory is opened before the rename. If this open failed (EMFILE) after the rename, the
    // rename could not be synced.
    const folder = await open(dirname(path), 'r').catch(explain(path));
    return {
      commit: async () => {
        await rename(fresh, path).catch(explain(path));
        await this.#sync(folder).catch(async (error) => {
          await this.#restore();
          explain(path)(error);
        });
        await folder.close();
        this.#kept = state;
      },
      discard: async () => {
        await folder.close();
        await unlink(fresh).catch(() => {});
      },
    };
  }

  /** Best effort: restores the previous state after a rename whose sync failed. */
  async #restore(): Promise<void> {
    const fresh = `${this.#path}.new`;
    await writeSynced(fresh, writeState(this.#kept))
      .then(() => rename(fresh, this.#path))
      .catch(() => {});
  }

  async close(): Promise<void> {
    await this.#lock.close();
  }
}

/**
 * Reads a state file.
 *
 * @returns the state; an empty state if there is no file
 * @throws ConfigError when the content of the file is invalid
 * @throws StateError when the file cannot be read
 */
export async function load(path: string): Promise<State> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NO_STATE;
    return explain(path)(error as NodeJS.ErrnoException);
  }
  try {
    return readState(text, path);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(
      `--state ${error.message}; repair the file or move it away; vtepd did not change it`,
    );
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', FILE_MODE);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

function explain(path: string): (error: NodeJS.ErrnoException) => never {
  return ({ code = '', message }) => {
    const cause = code || message;
    throw new StateError(
      `--state ${path}: cannot open or write the state file (${cause})`,
      NOT_PERMITTED.includes(code),
    );
  };
}
