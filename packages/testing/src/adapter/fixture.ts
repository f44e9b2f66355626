import type { LinuxNet } from '@cni-offload/linux'
import type { AttachRequest, AttachResult, CniAdapter } from '@cni-offload/sdk'
import type { PluginReference } from '@cni-offload/sdk/runtime'
import type { BenchPort } from '../net/port-bench.ts'

/** How a process of its own makes the adapter on a fixture's state: as an agent does by its configuration. */
export interface AdapterProcess {
  /** The plugin: module, export and options, which must be plain data. */
  readonly plugin: PluginReference
  /** Folder of the adapter's state, the same as that of the fixture's instances. */
  readonly stateDir: string
}

/** Breaks one attachment behind the adapter's back; other attachments must not be affected. */
export interface Tamper {
  /** What is done: "takes the port out of the bridge". */
  readonly title: string
  /** Does it. `request` is what the attachment was made with, `result` what the adapter answered. */
  run(attachment: { readonly request: AttachRequest; readonly result: AttachResult }): Promise<void>
}

/** An adapter under test, with a network of its own: nothing is attached yet. */
export interface AdapterFixture extends AsyncDisposable {
  /** Kernel access. */
  readonly net: LinuxNet
  /** Ports with pods behind them, at least four; `PortBench` makes them. */
  readonly ports: readonly BenchPort[]
  /** Name of the network. */
  readonly network: string
  /** The netconf that a runtime would give for it. */
  readonly netconf: Readonly<Record<string, unknown>>
  /** Makes an instance on the fixture's state; called again for a restart, after the former instance was disposed. The kit starts it. */
  create(): Promise<CniAdapter>
  /**
   * Destroys what the adapter keeps on disk, as a damaged file does; called while there is no instance. What plugins or daemons of the
   * CNI keep for themselves stays. Absent if the adapter keeps nothing.
   */
  loseState?(): Promise<void>
  /** For cases that kill the adapter while it works. Absent: they are skipped. */
  readonly process?: AdapterProcess
  /** How many attachments the address pool holds: at least two and fewer than there are ports. Absent if it is not small. */
  readonly capacity?: number
  /** Ways of breaking an attachment that `check` must notice. */
  readonly tampers: readonly Tamper[]
  /** Free addresses of the network with prefix length, for adapters that declare the capability `ips`. */
  readonly requestableIps?: readonly string[]
  /** What a host's IPAM could have assigned on this network. */
  readonly hostIpam?: Pick<AttachResult, 'ips' | 'routes' | 'dns'>
}
