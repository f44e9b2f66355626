import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { HostDevice, Logger } from '@cni-offload/sdk'
import type { KeyedMutex, Limiter } from '@cni-offload/sdk/runtime'
import type { AgentLink } from '../agent/agent-link.ts'
import type { AttachmentInfo } from '../device-info/attachment-info.ts'
import type { Fallbacks } from '../fallback/fallbacks.ts'
import type { HostIpam } from '../ipam/host-ipam.ts'
import type { AttachmentJournal } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import type { Stages } from '../metrics/stages.ts'
import type { Undo } from '../undo/undo.ts'

/** The network namespace that free VFs lie in: the daemon's own. */
export interface HostNetns {
  /** Path. */
  readonly path: NetnsPath
  /** Identity; a CNI_NETNS with the same one is refused. */
  readonly identity: string
}

/** What the verbs work with. */
export interface VerbDeps {
  /** Journal. */
  readonly journal: AttachmentJournal
  /** Hardware. */
  readonly device: HostDevice
  /** Kernel. */
  readonly net: LinuxNet
  /** The agent. */
  readonly agent: AgentLink
  /** Device information files. */
  readonly deviceInfo: AttachmentInfo
  /** Attachments whose network is made on the host. */
  readonly fallback: Fallbacks
  /** Addresses that IPAM plugins give on this host. */
  readonly ipam: HostIpam
  /** Undoes attachments. */
  readonly undo: Undo
  /** Told when something was left to the queue. */
  readonly leftToQueue: () => void
  /** One lock per attachment, by its formatted key. */
  readonly locks: KeyedMutex
  /** Bounds ADDs. */
  readonly adds: Limiter
  /** Waiting times. */
  readonly limits: HostLimits
  /** Where free VFs lie. */
  readonly hostNetns: HostNetns
  /** Boot of this host. */
  readonly bootId: string
  /** Whether the kernel has IPv6. */
  readonly ipv6: boolean
  /** Whether kubelet counts the VFs and sends no pod to a node where all are leased. */
  readonly counted: boolean
}

/** What one request carries. */
export interface VerbContext {
  /** Aborted when the runtime gave up, its deadline passed, or the daemon is forced to stop. */
  readonly signal: AbortSignal
  /** Logger with request id and key. */
  readonly log: Logger
  /** Correlates logs of shim, host and agent. */
  readonly requestId: string
  /** Times of the stages. */
  readonly stages: Stages
  /** When the call began, milliseconds since the epoch, if it was sent before and got no answer. */
  readonly begunAt?: number
}
