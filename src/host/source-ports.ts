/**
 * Where in the range of source ports the sockets of the pool sit (flow entropy, RFC 7348 §5): evenly spread, so that
 * routers which hash only some bits of the port still see them differ. Busy ports are skipped upward.
 */

/**
 * Opens `count` ports within [min, max].
 *
 * @param open binds a port: an fd, undefined when the port is busy; throws on anything else
 * @returns fds, fewer than `count` when the range has no more free ports
 */
export function spreadOver(
  { min, max }: { readonly min: number; readonly max: number },
  count: number,
  open: (port: number) => number | undefined,
): number[] {
  const span = max - min + 1;
  const tried = new Set<number>();
  const fds: number[] = [];
  for (let i = 0; i < count; i++) {
    const fd = openFrom(Math.floor((i * span) / count));
    if (fd === undefined) return fds;
    fds.push(fd);
  }
  return fds;

  /** Upward from an offset into the range, round its end, each port once in all. */
  function openFrom(offset: number): number | undefined {
    for (let step = 0; step < span && tried.size < span; step++) {
      const port = min + ((offset + step) % span);
      if (tried.has(port)) continue;
      tried.add(port);
      const fd = open(port);
      if (fd !== undefined) return fd;
    }
    return undefined;
  }
}
