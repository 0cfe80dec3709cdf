/**
 * Format of the state file: JSON text to state, and back.
 *
 * An operator can repair the text by hand. Values pass the parsers of flags and file, so the same
 * checks apply. Messages name file, line and key.
 *
 *     { "format": "vtepd-state-1",
 *       "vnis": { "100": { "created": { "mtu": 1400 },
 *                          "changed": { "mtu": 1400 },
 *                          "removed": true,
 *                          "peers": { "192.0.2.1": { "port": 4789, "flood": true }, "192.0.2.2": null },
 *                          "fdb": { "02:00:00:00:00:01": "192.0.2.1" } } } }
 *
 * The MAC made for a TAP is `changed.mac`. The API changes no MAC, and earlier versions of vtepd accept
 * the key and use its value.
 */
import { ConfigError, ValueError } from './config-error.js';
import { peerSettings } from './peer.js';
import type { PeerSettings } from './settings.js';
import { Layer } from './source.js';
import { NO_DEVIATION, type State, type VniDeviation } from './state.js';
import { type Node, Tree } from './tree.js';
import { parseDeviceMac, parseUnicastAddress, parseVni } from './values.js';
import { defaultSettings, type OwnSettings, readWords, wordsOf } from './vni-words.js';

export const FORMAT = 'vtepd-state-1';

const TOP_KEYS = ['format', 'vnis'];
const VNI_KEYS = ['created', 'removed', 'changed', 'peers', 'fdb'];
const PEER_KEYS = ['port', 'flood', 'all'];

export function writeState({ vnis }: State): string {
  const deviations = Array.from(vnis, ([vni, { created, removed, changed, peers, mac, fdb }]) => {
    const words = { ...wordsOf(changed), ...(mac !== undefined && { mac }) };
    const deviation = {
      created: created && wordsOf(created),
      removed: removed || undefined,
      changed: Object.keys(words).length === 0 ? undefined : words,
      peers: peers.size === 0 ? undefined : Object.fromEntries(Array.from(peers, peerWords)),
      fdb: fdb.size === 0 ? undefined : Object.fromEntries(fdb),
    };
    return [vni, deviation] as const;
  });
  return `${JSON.stringify({ format: FORMAT, vnis: Object.fromEntries(deviations) }, undefined, 1)}\n`;
}

/** @param path file name for messages @throws ConfigError when the text is not a valid state */
export function readState(text: string, path: string): State {
  const tree = Tree.parse(text, path);
  const { root } = tree;
  const top = root !== null && tree.isMap(root) ? tree.entries(root, '') : [];
  const format = top.find(([key]) => key === 'format');
  if (root === null || format === undefined || tree.text(format[1], 'format') !== FORMAT)
    throw new ConfigError(`${path}:1: not a vtepd state file: "format" is not "${FORMAT}"`);
  const vnis = new Map<number, VniDeviation>();
  for (const [key, value] of tree.entries(root, '', TOP_KEYS)) {
    if (key !== 'vnis') continue;
    for (const [id, node] of tree.entries(value, 'vnis')) {
      const vni = checked(tree, node, `vnis.${id}`, () => parseVni(id));
      vnis.set(vni, readDeviation(tree, node, vni));
    }
  }
  return { vnis };
}

function readDeviation(tree: Tree, node: Node, vni: number): VniDeviation {
  let deviation = NO_DEVIATION;
  for (const [key, value] of tree.entries(node, `vnis.${vni}`, VNI_KEYS)) {
    const name = `vnis.${vni}.${key}`;
    deviation = { ...deviation, ...readPart(tree, key, value, name, vni) };
  }
  return deviation;
}

function readPart(tree: Tree, key: string, node: Node, name: string, vni: number): Partial<VniDeviation> {
  switch (key) {
    case 'created':
      return { created: { ...defaultSettings(vni), ...readWords(tree, node, name) } };
    case 'removed':
      if (tree.text(node, name) === 'true') return { removed: true };
      throw tree.error(node, name, 'must be true or absent');
    case 'changed':
      return readChanged(readWords(tree, node, name));
    case 'peers':
      return {
        peers: new Map(tree.entries(node, name).map(([host, peer]) => readPeer(tree, host, peer, name))),
      };
    default:
      return {
        fdb: new Map(tree.entries(node, name).map(([mac, peer]) => readEntry(tree, mac, peer, name))),
      };
  }
}

function readChanged({ mac, ...changed }: Partial<OwnSettings>): Partial<VniDeviation> {
  // '' is null in the file: no MAC, although the configuration gives one.
  if (mac === undefined || mac === '') return { changed: mac === '' ? { ...changed, mac } : changed };
  return { changed, mac };
}

function readPeer(tree: Tree, host: string, node: Node, name: string): [string, PeerSettings | null] {
  const place = `${name}.${host}`;
  const isRemoved = tree.isNull(node);
  const options = isRemoved ? [] : tree.entries(node, place, PEER_KEYS);
  const layer = new Layer();
  layer.addPeerOptions(
    tree.place(node, place),
    host,
    new Map(options.map(([key, value]) => [key, tree.text(value, `${place}.${key}`)])),
  );
  const { value } = layer.peers[0];
  if (isRemoved) return [value.host, null];
  if (value.port === undefined) throw tree.error(node, place, 'has no "port"');
  return [value.host, peerSettings(value, value.port)];
}

function readEntry(tree: Tree, mac: string, node: Node, name: string): [string, string] {
  const place = `${name}.${mac}`;
  const peer = tree.text(node, place);
  return [
    checked(tree, node, place, () => parseDeviceMac(mac)),
    checked(tree, node, `${place} ${peer}`, () => parseUnicastAddress(peer).text),
  ];
}

function checked<T>(tree: Tree, node: Node, name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ValueError) throw tree.error(node, name, error.message);
    throw error;
  }
}

function peerWords([host, peer]: [string, PeerSettings | null]): [string, object | null] {
  return [host, peer && { port: peer.port, flood: peer.flood, all: peer.all }];
}
