/** Flags and help texts of settings, for vtepd and `vtepctl vni`. */
import { flagOf, type Key, SETTINGS } from '../config/schema.js';

/** Returns the flag in commander's form: `--mtu <auto|N>`. */
export function settingFlags(key: Key): string {
  return `${flagOf(key)} <${SETTINGS[key].argument}>`;
}

/** Returns the help text with the default, and "repeatable" if that applies. */
export function settingHelp(key: Key): string {
  const { help, defaultText, defaultHelp, repeatable } = SETTINGS[key];
  const byDefault = defaultHelp ?? defaultText;
  const notes = [byDefault && `default: ${byDefault}`, repeatable ? 'repeatable' : ''].filter(
    (note) => note !== '',
  );
  return notes.length > 0 ? `${help} (${notes.join('; ')})` : help;
}
