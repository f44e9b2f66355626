/** What the control agent tells the host's drivers of a function: as much of its configuration as they ask for. */
export interface FunctionConfig {
  /** MAC address. */
  readonly mac: string
}

/** The control agent's configuration, of the only PEM and physical function that a fake card has. */
export interface AgentConfig {
  /** The physical function. */
  readonly pf: FunctionConfig
  /** Its virtual functions, by index; one that is missing gets no driver on the host. */
  readonly vfs: ReadonlyMap<number, FunctionConfig>
  /** Milliseconds between heartbeats; 0 for none, ever. */
  readonly heartbeatMs: number
  /** After how many that are missed the host gives up. */
  readonly missCount: number
}

/** Functions that the configurations of the vendor's packages have. */
const SHIPPED_VFS = 64

/**
 * What the vendor ships as `cn106xx.cfg`, and therefore is the same on every card.
 *
 * @param vfs - more functions than those 64, of which the shipped one knows nothing
 */
export function shippedConfig(vfs: number = SHIPPED_VFS): AgentConfig {
  const mac = (index: number): string => `00:00:00:${(index + 1).toString(16).padStart(2, '0')}:01:01`
  return {
    // Five bytes are written there; the sixth is 0.
    pf: { mac: '00:00:00:01:01:00' },
    vfs: new Map(Array.from({ length: Math.max(vfs, SHIPPED_VFS) }, (_, index) => [index, { mac: mac(index) }])),
    heartbeatMs: 1_000,
    missCount: 20,
  }
}
