/**
 * The two ways in which configuration can be wrong. Both messages are for the person who wrote the value: one
 * line, no stack.
 */

/**
 * A configuration that cannot be used. The message names the flag, or the file, line and key; the value;
 * and what is allowed. The executables print it and exit with 2.
 */
export class ConfigError extends Error {
  /** Control characters of quoted values are made visible, so that it is one line whatever was written. */
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
 * One value that is not allowed, from a parser that does not know where the value stood: the message says only
 * what is allowed ("must be …"). Whoever knows the place turns it into a ConfigError, or into an answer of the API.
 */
export class ValueError extends Error {}
