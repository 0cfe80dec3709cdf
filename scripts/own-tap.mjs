/**
 * Gives each test file of a process the `t` that was made for it (`together.mjs`) where it imports tap's. Hooks of Node's
 * loader, in front of `compiled-tests.mjs`.
 */
export const OWN_TAP = Symbol.for('vtepd.own-tap');

const SCHEME = 'own-tap:';

export function resolve(specifier, context, next) {
  const isOwn = specifier === 'tap' && /\.test\.(ts|mjs)$/.test(context.parentURL ?? '');
  return isOwn ? { url: SCHEME + context.parentURL, shortCircuit: true } : next(specifier, context);
}

export function load(url, context, next) {
  if (!url.startsWith(SCHEME)) return next(url, context);
  const own = `globalThis[Symbol.for('${OWN_TAP.description}')].get('${url.slice(SCHEME.length)}')`;
  return { format: 'module', source: `export default ${own};`, shortCircuit: true };
}
