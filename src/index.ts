/**
 * The library: `import { Vtep } from 'vtepd'`.
 *
 * The daemon runs a `Vtep` and adds the API, files and signals. See docs/interface.md, "The
 * library".
 */
export { ConfigError } from './config/config-error.js';
export type { PeerOptions, VniOptions, VtepOptions } from './config/options.js';
export type { PeerSettings, VniSettings } from './config/settings.js';
export {
  type DataPlane,
  DataPlaneError,
  type DataPlaneErrorCode,
  type FdbEntry,
  type FdbFilter,
  type PeerState,
  type VniState,
} from './exchange/data-plane.js';
export type { EventSource, EventSubscription, StampedEvent, VtepEvent } from './exchange/events.js';
export type { MacParts } from './exchange/protocol.js';
export type { NotReadyReason, Report, ReportCode } from './exchange/report.js';
export { HostError } from './host/host-error.js';
export { ResolveError } from './names/resolve.js';
export type { ReloadReport } from './vtep/configuration.js';
export { Vtep, type VtepStatus } from './vtep/vtep.js';
export { formatMac, parseMac } from './wire/mac.js';
