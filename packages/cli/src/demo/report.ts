/** A pod of the demo with what it got. */
export interface DemoPod {
  /** Name. */
  readonly name: string
  /** Node that it runs on. */
  readonly node: string
  /** Addresses with prefix length. */
  readonly ips: readonly string[]
  /** MAC address of its interface. */
  readonly mac: string
  /** Its VF. */
  readonly vf: string
  /** Port of the VF on the DPU. */
  readonly port: string
}

/** One thing that was tried. */
export interface DemoCheck {
  /** What. */
  readonly name: string
  /** Whether it is so. */
  readonly ok: boolean
  /** What was seen. */
  readonly seen: string
}

/** Percentiles in milliseconds. */
export interface Latency {
  /** Median. */
  readonly p50: number
  /** 99th percentile. */
  readonly p99: number
}

/** What is left after teardown; all zero when nothing leaks. */
export interface Leaks {
  /** VFs that are not pristine in the host's namespace. */
  readonly vfs: number
  /** Ports that still carry an attachment. */
  readonly ports: number
  /** Network namespaces of the demo. */
  readonly netns: number
  /** Interfaces in the machine's own namespace that were not there before. */
  readonly links: number
  /** Leases and attachments in the journals, endpoints and addresses in cilium-agent. */
  readonly leases: number
}

/** All that the demo found out. */
export interface DemoReport {
  /** Adapter that was used. */
  readonly adapter: string
  /** Nodes. */
  readonly nodes: readonly { readonly name: string; readonly hostNetns: string; readonly dpuNetns: string }[]
  /** Pods. */
  readonly pods: readonly DemoPod[]
  /** Everything that was tried. */
  readonly checks: readonly DemoCheck[]
  /** Duration of the verbs as a runtime sees them, from starting the shim to its end. */
  readonly latencyMs: { readonly add: Latency; readonly check: Latency; readonly del: Latency }
  /** What is left. */
  readonly leaks: Leaks
}

/** Percentile of a non-empty list, by the nearest rank. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN
}

/** Median and 99th percentile, rounded to 0.1 ms. */
export function latency(values: readonly number[]): Latency {
  const round = (ms: number): number => Math.round(ms * 10) / 10
  return { p50: round(percentile(values, 50)), p99: round(percentile(values, 99)) }
}
