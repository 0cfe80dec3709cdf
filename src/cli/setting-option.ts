/** A setting of the schema as an option of a command line: the flags of vtepd, and those of `vtepctl vni`. */
import { flagOf, type Key, SETTINGS } from '../config/schema.js';

/** As commander takes it: `--mtu <auto|N>`. */
export function settingFlags(key: Key): string {
  return `${flagOf(key)} <${SETTINGS[key].argument}>`;
}

/** What it means, what holds without it, and whether it can be given again. */
export function settingHelp(key: Key): string {
  const { help, defaultText, defaultHelp, repeatable } = SETTINGS[key];
  const byDefault = defaultHelp ?? defaultText;
  const notes = [byDefault && `default: ${byDefault}`, repeatable ? 'repeatable' : ''].filter(
    (note) => note !== '',
  );
  return notes.length > 0 ? `${help} (${notes.join('; ')})` : help;
}
