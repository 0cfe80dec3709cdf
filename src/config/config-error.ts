/**
 * Errors for invalid configuration. The message is one line for the person who wrote the value;
 * no stack is printed.
 */

/**
 * A configuration that cannot be used. The message names the flag, or the file, line and key; the
 * value; and the allowed values. The executables print it and exit with status 2.
 */
export class ConfigError extends Error {
  /** Escapes control characters of quoted values, so that the message stays on one line. */
  constructor(message: string) {
    super(
      message.replace(
        /\p{Cc}/gu,
        (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
      ),
    );
  }
}

/**
 * A single value that is not allowed, thrown by a parser that does not know the flag or line of the
 * value. The message states only what is allowed ("must be …"). The caller adds flag or line, and
 * converts the error to a ConfigError or to an API error.
 */
export class ValueError extends Error {}
