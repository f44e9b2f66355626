import type { AttachmentKey, PodIdentity } from '../domain/attachment.ts'
import type { AttachResult } from '../domain/network.ts'
import type { PortRef } from '../domain/vf.ts'
import type { VfAdminSetting } from '../domain/vf-admin.ts'
import type { OpContext } from './context.ts'

/** What an adapter can honour. The agent refuses what a request asks for and its adapter does not have. */
export interface AdapterCapabilities {
  /** Address families that it can assign. */
  readonly families: readonly ('ipv4' | 'ipv6')[]
  /** CNI capability names (`portMappings`, `bandwidth`, `mac`, `ips`, …) whose `runtimeConfig` it honours. */
  readonly runtimeConfig: readonly string[]
  /** Whether it can give the pod a MAC of the caller's choice, which a VF with a pinned MAC needs. */
  readonly fixedMac: boolean
}

/** Options of the offload that concern the data path. */
export interface OffloadFlags {
  /** Whether the traffic is expected to be encrypted on the DPU. */
  readonly ipsec: boolean
}

/** What the agent asks of an adapter for one attachment. */
export interface AttachRequest {
  /** Identity; the call is idempotent on it. */
  readonly key: AttachmentKey
  /** Whose interface it is. */
  readonly pod: PodIdentity
  /** The DPU-side port of the VF that the pod has or will have. */
  readonly port: PortRef
  /** MAC that the VF has now; `00:00:00:00:00:00` if a program has it and nobody else knows. */
  readonly vfMac: string
  /** The netconf that the runtime gave, decoded JSON. */
  readonly netconf: Readonly<Record<string, unknown>>
  /** Result of the previous plugin of the list, decoded JSON, if there is one. */
  readonly prevResult?: Readonly<Record<string, unknown>>
  /** Capability arguments of the runtime. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>
  /** CNI_ARGS, parsed. */
  readonly cniArgs: Readonly<Record<string, string>>
  /** Addresses when IPAM was done on the host; the adapter then assigns exactly these. */
  readonly hostIpam?: Pick<AttachResult, 'ips' | 'routes' | 'dns'>
  /** VLAN id, 1–4094, when the network is tagged. */
  readonly vlan?: number
  /** Options of the offload. */
  readonly flags: OffloadFlags
  /**
   * What the host can have the VF's physical function enforce, see {@link AttachResult.vf}; absent if nothing. Whatever else is wanted of
   * the VF is enforced on the port, or refused.
   */
  readonly hostEnforces?: readonly VfAdminSetting[]
  /**
   * Given when a running pod is attached again, for example after the DPU was replaced: the pod has this MAC and these addresses
   * and goes on using them. An adapter gives exactly them, whatever it remembers itself, or rejects, with UNSUPPORTED_FIELD if it
   * never can; it never gives them to another. The rest (routes, MTU, …) is for orientation.
   */
  readonly had?: AttachResult
}

/**
 * An attachment as agent and adapter tell each other of it, so that either can do without what it has lost: each keeps its own state, and
 * pods run on when one of them cannot be read any more.
 */
export interface KnownAttachment {
  /** What it was attached with. */
  readonly request: AttachRequest
  /** What `attach` answered. */
  readonly result: AttachResult
}

/** An attachment as an adapter remembers it. */
export interface RememberedAttachment extends Pick<KnownAttachment, 'request'> {
  /** What `attach` answered; absent where attaching or detaching it did not come to its end. */
  readonly result?: AttachResult
}

/** What the agent asks for when an attachment goes. Everything but the key may be missing. */
export interface DetachRequest {
  /** Identity; an attachment that does not exist is success. */
  readonly key: AttachmentKey
  /** The port that the attachment had, when it is still known. */
  readonly port?: PortRef
}

/** What the agent asks for when a runtime wants to know that an attachment is as it was left. */
export interface CheckRequest {
  /** Identity. */
  readonly key: AttachmentKey
  /** The port that the attachment has. */
  readonly port: PortRef
  /** What `attach` answered. */
  readonly expected: AttachResult
}

/**
 * Connects the ports of VFs to a network on the DPU. Runs in the agent.
 *
 * The agent serialises calls for the same attachment and for the same port; calls for different ones run at the same time.
 */
export interface CniAdapter {
  /** Name of the adapter in configuration, logs and metrics. */
  readonly name: string
  /** Version of this contract. */
  readonly specVersion: 'v1'
  /** What it can honour. */
  readonly capabilities: AdapterCapabilities
  /**
   * Prepares what can be prepared before the first pod, for example proxy namespaces with the ports inside. Called once,
   * before any other method. `ports` are all ports there are. Those that are `shared` are left where they are; one that an earlier
   * run has taken, and that no attachment has, is put back: the configuration may have been another one then.
   *
   * @param known - attachments of pods by the agent's journal. An adapter that has lost its own state takes over what it lacks, and
   * gives their addresses to nobody else
   */
  start?(ports: readonly PortRef[], ctx: OpContext, known?: readonly KnownAttachment[]): Promise<void>
  /**
   * Connects the port; idempotent on the key: a repeated call gives the same result. When it resolves the port is up and
   * forwarding. When it rejects nothing is left behind that `detach` could not remove. A `shared` port may come with the MTU
   * that another adapter has set. An answer whose `vf` asks for what `hostEnforces` does not name is refused and detached again.
   *
   * @throws OffloadError RESOURCE_EXHAUSTED, INVALID_NETCONF, UNSUPPORTED_FIELD, ADAPTER_FAILED
   */
  attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult>
  /**
   * Disconnects; idempotent: an attachment that is not there is success. The port forwards nothing any more before an
   * address of it can go to another attachment: the pod behind it may still be up. A `shared` port is put back where it was: in
   * the agent's namespace, under its name, down, connected to nothing.
   *
   * @throws OffloadError ADAPTER_FAILED, retried by the agent
   */
  detach(req: DetachRequest, ctx: OpContext): Promise<void>
  /**
   * Compares what is with what `attach` answered.
   *
   * @throws OffloadError CHECK_FAILED that says what differs: the agent attaches such an attachment again, although its pod runs. Whatever
   * else is thrown says that it cannot be told at the moment, and is only reported
   */
  check(req: CheckRequest, ctx: OpContext): Promise<void>
  /** Whether an attach could be served now. @throws OffloadError NOT_READY or LIMITED_CONNECTIVITY with the reason */
  status(ctx: OpContext): Promise<void>
  /** What the network really holds, from its own state and not from the agent's: feeds GC and resync. */
  list(ctx: OpContext): Promise<AttachmentKey[]>
  /**
   * What the adapter's own state says of its attachments. Asked once, after `start`: an agent that has lost its journal takes over
   * what it lacks. Without it, such an agent makes attachments of running pods anew when the host tells of them.
   *
   * @throws OffloadError JOURNAL_FAILURE
   */
  remembered?(ctx: OpContext): Promise<RememberedAttachment[]>
  /** Gives up sockets, timers and files. Attachments stay. */
  [Symbol.asyncDispose]?(): Promise<void>
}
