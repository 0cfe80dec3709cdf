/**
 * The file that keeps what the API changed. It is replaced as a whole: a new file is written and synced beside it, then
 * takes its name, and the folder is synced; whenever the machine or the daemon ends, the name leads to the old state or
 * to the new one. A file that is broken, or not ours, is refused and left alone.
 *
 * One daemon at a time: it holds a lock on a file beside it, which the kernel takes back when the process ends.
 */
import { type FileHandle, mkdir, open, readFile, realpath, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError } from './config-error.js';
import { NO_STATE, type State } from './state.js';
import { readState, writeState } from './text.js';

/** The file cannot be kept: one line with the cause and the cure. */
export class StateError extends Error {
  override readonly name = 'StateError';
  /** This machine does not let us write there; nothing is wrong with what is there. */
  readonly notPermitted: boolean;

  constructor(message: string, notPermitted = false) {
    super(message);
    this.notPermitted = notPermitted;
  }
}

/** Takes a lock on an open file that ends with it; 0, or a negative errno. */
export type FileLock = (fd: number) => number;

/** A name that changed is on the disk when its folder is. */
type SyncFolder = (folder: FileHandle) => Promise<void>;

/** A state that is on the disk and does not count yet. */
export interface PreparedState {
  /** From now on it counts. @throws StateError */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

const FILE_MODE = 0o640;
const FOLDER_MODE = 0o755;
/** What opens and folders say when writing is not for us. */
const NOT_PERMITTED = ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR'];
const CURE = 'name another file with --state FILE, or keep none with --state off';

export class StateFile {
  /** As it was read, until it is written. */
  readonly state: State;
  readonly #path: string;
  readonly #lock: FileHandle;
  readonly #sync: SyncFolder;
  /** What the name leads to. */
  #kept: State;

  private constructor(path: string, lock: FileHandle, state: State, sync: SyncFolder) {
    this.#path = path;
    this.#lock = lock;
    this.#sync = sync;
    this.#kept = state;
    this.state = state;
  }

  /**
   * Makes the folder, takes the lock, reads.
   * @param sync another one in tests
   * @throws StateError, ConfigError for what stands in the file
   */
  static async open(
    path: string,
    takeLock: FileLock,
    sync: SyncFolder = (folder) => folder.sync(),
  ): Promise<StateFile> {
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE }).catch(explain(path));
    const real = await realpath(path).catch(() => path);
    const lock = await open(`${real}.lock`, 'a', FILE_MODE).catch(explain(path));
    try {
      const refused = takeLock(lock.fd);
      if (refused < 0) throw new StateError(`--state ${path}: another vtepd keeps its state there; ${CURE}`);
      return new StateFile(real, lock, await load(real), sync);
    } catch (error) {
      await lock.close();
      throw error;
    }
  }

  /** Writes and syncs a state beside the file. One at a time. @throws StateError */
  async prepare(state: State): Promise<PreparedState> {
    const path = this.#path;
    const fresh = `${path}.new`;
    await writeSynced(fresh, writeState(state)).catch(explain(path));
    // Opened now: that there are no descriptors left must not show when the name has changed already.
    const folder = await open(dirname(path), 'r').catch(explain(path));
    return {
      commit: async () => {
        await rename(fresh, path).catch(explain(path));
        await this.#sync(folder).catch(async (error) => {
          await this.#putBack();
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

  /** A name that may not be on the disk does not count, so it leads to the former state again, as far as that can be had. */
  async #putBack(): Promise<void> {
    const fresh = `${this.#path}.new`;
    await writeSynced(fresh, writeState(this.#kept))
      .then(() => rename(fresh, this.#path))
      .catch(() => {});
  }

  async close(): Promise<void> {
    await this.#lock.close();
  }
}

/** @returns what the file says; nothing when there is none @throws ConfigError, StateError */
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
    throw new ConfigError(`--state ${error.message}; mend the file or move it away: it was left as it is`);
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
      `--state ${path}: cannot be kept there (${cause}); ${CURE}`,
      NOT_PERMITTED.includes(code),
    );
  };
}
