/**
 * Reader of the YAML file of `--config`.
 *
 * Settings for all VNIs are at the top level; `vnis:` is a list of VNIs with `vni`, their own
 * settings and `peers:`.
 *
 *     port: 4789
 *     peers: [192.0.2.11]             # peer of every VNI
 *     vnis:
 *       - vni: 100
 *         bridge: br-vxlan
 *         peers:
 *           - 192.0.2.12,flood=off    # as for --peer
 *           - { address: 2001:db8::12, port: 8472, flood: off }
 *
 * Options of the library have the same keys and are read by the same rules. Every message names
 * file, line and key.
 */
import { readFileSync } from 'node:fs';
import { ConfigError } from './config-error.js';
import { KEYS, type Key, PROGRAM_KEYS, SETTINGS, VNI_KEYS } from './schema.js';
import { type Layer, Source } from './source.js';
import { type Node, Tree } from './tree.js';

const TOP_KEYS = [...KEYS, 'peers', 'vnis'];
const OWN_KEYS = ['vni', ...VNI_KEYS, 'peers'];
const PEER_KEYS = ['address', 'port', 'flood', 'all'];

/**
 * @throws ConfigError for a file that cannot be read, is not YAML, or contains a value not allowed
 */
export function readConfigFile(path: string): Source {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const [cause] = (error as Error).message.split(',');
    throw new ConfigError(`--config ${path}: cannot be read (${cause}); name a readable YAML file`);
  }
  return parseConfig(text, path);
}

/** @param path file name for messages */
export function parseConfig(text: string, path: string): Source {
  return read(Tree.parse(text, path), TOP_KEYS);
}

/**
 * @param options the content of a configuration file, as an object
 * @throws ConfigError that names the option
 */
export function readOptions(options: object): Source {
  return read(
    Tree.of(options),
    TOP_KEYS.filter((key) => !(PROGRAM_KEYS as readonly string[]).includes(key)),
  );
}

function read(tree: Tree, known: readonly string[]): Source {
  const source = new Source();
  if (tree.root === null) return source;
  for (const [key, value] of tree.entries(tree.root, '', known)) {
    if (key === 'vnis') {
      source.listsVnis = true;
      for (const [place, item] of tree.items(value, 'vnis')) readVni(tree, source, item, place);
    } else {
      readInto(tree, source.all, key, value, '');
    }
  }
  return source;
}

function readVni(tree: Tree, source: Source, node: Node, place: string): void {
  const entries = tree.entries(node, place, OWN_KEYS);
  const id = entries.find(([key]) => key === 'vni');
  if (id === undefined) throw tree.error(node, place, 'has no "vni:"; give the VNI, 0 to 16777215');
  const name = `${place}.vni`;
  const own = source.addVni(tree.place(id[1], name), tree.text(id[1], name));
  for (const [key, value] of entries) {
    if (key !== 'vni') readInto(tree, own, key, value, `${place}.`);
  }
}

function readInto(tree: Tree, layer: Layer, key: string, value: Node, prefix: string): void {
  const name = prefix + key;
  if (key !== 'peers') readSetting(tree, layer, key as Key, value, name);
  else for (const [place, item] of tree.items(value, name)) readPeer(tree, layer, item, place);
}

/**
 * Adds the value or values of a setting to a layer.
 *
 * @param name name of the value in messages
 * @throws ConfigError when a value is not allowed
 */
export function readSetting(tree: Tree, layer: Layer, key: Key, value: Node, name: string): void {
  const list = SETTINGS[key].repeatable && tree.isList(value);
  const items: [string, Node][] = list ? tree.items(value, name) : [[name, value]];
  for (const [place, item] of items) layer.add(key, tree.place(item, place), tree.text(item, place));
}

function readPeer(tree: Tree, layer: Layer, node: Node, name: string): void {
  if (!tree.isMap(node)) {
    layer.addPeer(tree.place(node, name), tree.text(node, name));
    return;
  }
  const entries = tree.entries(node, name, PEER_KEYS);
  const options = new Map(entries.map(([key, value]) => [key, tree.text(value, `${name}.${key}`)]));
  const address = options.get('address');
  options.delete('address');
  if (address === undefined)
    throw tree.error(node, name, 'has no "address:"; give the address or DNS name of the remote VTEP');
  layer.addPeerOptions(tree.place(node, name), address, options);
}
