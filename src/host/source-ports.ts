/**
 * Selection of source ports for the pool of sending sockets (flow entropy, RFC 7348 §5).
 *
 * The ports are spread evenly over the range, so that they differ even for routers that hash only
 * some bits of the port. A busy port is replaced by the next higher port that is not busy.
 */

/**
 * Opens `count` ports within [min, max].
 *
 * @param open binds a port: returns an fd, or undefined when the port is busy; throws on other
 * failures
 * @returns fds; fewer than `count` when too many ports of the range are busy
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

  /**
   * Tries ports upward from an offset and continues at the start of the range; each port is tried
   * at most once.
   */
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
