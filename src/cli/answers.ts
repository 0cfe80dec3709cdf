/** Answers of the control API as a client sees them: the fields that vtepctl shows. docs/interface.md has them all. */

export interface Traffic {
  readonly frames: number;
  readonly bytes: number;
}

export interface Status {
  readonly version: string;
  readonly uptimeS: number;
  readonly ready: boolean;
  readonly underlay: {
    readonly local: readonly string[];
    readonly device: string | null;
    readonly port: number;
    readonly io: string;
    readonly offloads: readonly string[];
  };
  readonly vnis: readonly Vni[];
  readonly warnings: readonly { readonly code: string; readonly detail: string }[];
}

export interface Vni {
  readonly vni: number;
  readonly state: 'up' | 'settling';
  readonly tap: string;
  readonly bridge: string | null;
  readonly mac: string;
  readonly overlayMtu: number;
  readonly learning: boolean;
  /** Seconds; 0 never. */
  readonly ageing: number;
  readonly fdbLimit: number;
  readonly flood: boolean;
  readonly accept: string;
  readonly vlan: string;
  readonly peers: number;
  readonly fdb: { readonly static: number; readonly dynamic: number };
}

/** What a reload did. */
export interface ReloadReport {
  readonly changed: readonly string[];
  /** Settings that take effect at the next start. */
  readonly needsRestart: readonly string[];
  /** false: vtepd runs without --config, and nothing was read. */
  readonly hasFile: boolean;
}

/** Something that happened; its other fields depend on the type. */
export interface VtepEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface Peer {
  readonly address: string;
  readonly port: number;
  readonly flood: boolean;
  readonly resolved: string;
  /** RFC 3339; null: never. */
  readonly lastSeen: string | null;
  readonly pathMtu: number | null;
  readonly tx: Traffic;
  readonly rx: Traffic;
}

/** What the search of a path found; lengths in bytes, null: not known. */
export interface PeerProbe {
  readonly peer: string;
  readonly good: boolean;
  readonly summary: string;
  readonly means: string | null;
  readonly exact: boolean;
  readonly probes: number;
  readonly failed: readonly { readonly means: string; readonly why: string }[];
}

/** A line while it runs. */
export interface ProbeStep {
  readonly packetLen: number;
  readonly outcome: string;
}

/** Something that hurts, or will: what, why it does, the command that mends it. */
export interface Finding {
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly cure: string;
}

export interface FdbEntry {
  readonly mac: string;
  readonly peer: string;
  readonly type: 'static' | 'dynamic';
  readonly ageMs: number;
}

export interface Drops {
  readonly encap: Readonly<Record<string, number>>;
  readonly decap: Readonly<Record<string, number>>;
}

export interface Counters {
  readonly vnis: readonly VniCounters[];
  /** Of no configured VNI. */
  readonly drops: Drops;
  readonly reservedBits: number;
  /** Share of the time that the data plane was not waiting, 0 to 1. */
  readonly busyRatio: number;
}

export interface VniCounters {
  readonly vni: number;
  readonly tap: {
    readonly rx: Traffic;
    readonly tx: Traffic;
    /** Frames that the kernel dropped at the TAP's queue. */
    readonly queueDropped: number;
  };
  readonly flooded: {
    readonly broadcast: number;
    readonly multicast: number;
    readonly unknownUnicast: number;
  };
  readonly replicated: number;
  readonly fragments: number;
  readonly tooBig: { readonly icmp: number; readonly fragment: number; readonly drop: number };
  readonly mssClamped: number;
  readonly drops: Drops;
  readonly fdb: Readonly<Record<'static' | 'dynamic' | 'learned' | 'moved' | 'aged' | 'evicted', number>>;
  readonly peers: readonly { readonly address: string; readonly tx: Traffic; readonly rx: Traffic }[];
  /** Unknown sources and removed peers. */
  readonly others: { readonly tx: Traffic; readonly rx: Traffic };
}
