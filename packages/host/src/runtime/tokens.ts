import type { LinuxNet } from '@cni-offload/linux'
import type { HostDevice } from '@cni-offload/sdk'
import { type KeyedMutex, type RepairLedger, type Token, token } from '@cni-offload/sdk/runtime'
import type { AgentClient, AgentLink } from '../agent/agent-link.ts'
import type { AttachmentInfo } from '../device-info/attachment-info.ts'
import type { FallbackUndo } from '../fallback/fallback-undo.ts'
import type { Fallbacks } from '../fallback/fallbacks.ts'
import type { FallbackJournal } from '../fallback/types.ts'
import type { HostIpam } from '../ipam/host-ipam.ts'
import type { IpamUndo } from '../ipam/ipam-undo.ts'
import type { IpamJournal } from '../ipam/types.ts'
import type { AttachmentJournal } from '../journal/types.ts'
import type { HostMetrics } from '../metrics/metrics.ts'
import type { Reconciler } from '../reconcile/reconciler.ts'
import type { Drainer } from '../undo/drainer.ts'
import type { Undo } from '../undo/undo.ts'
import type { VerbDeps } from '../verbs/deps.ts'

/** What the daemon's scope provides. */
export const NET: Token<LinuxNet> = token('host.net')
/** Journal. */
export const JOURNAL: Token<AttachmentJournal> = token('host.journal')
/** Hardware. */
export const DEVICE: Token<HostDevice> = token('host.device')
/** Client of the agent. */
export const CLIENT: Token<AgentClient> = token('host.client')
/** The agent, kept in step. */
export const AGENT: Token<AgentLink> = token('host.agent')
/** Locks of attachments. */
export const LOCKS: Token<KeyedMutex> = token('host.locks')
/** Device information files of attachments. */
export const DEVICE_INFO: Token<AttachmentInfo> = token('host.deviceInfo')
/** Undoes attachments. */
export const UNDO: Token<Undo> = token('host.undo')
/** Works off what could not be undone at once. */
export const DRAINER: Token<Drainer> = token('host.drainer')
/** Journal of attachments on the host's network. */
export const FALLBACK_JOURNAL: Token<FallbackJournal> = token('host.fallback-journal')
/** Ends attachments on the host's network. */
export const FALLBACK_UNDO: Token<FallbackUndo> = token('host.fallback-undo')
/** Attachments on the host's network. */
export const FALLBACKS: Token<Fallbacks> = token('host.fallbacks')
/** Works off those that could not be ended at once. */
export const FALLBACK_DRAINER: Token<Drainer> = token('host.fallback-drainer')
/** Journal of addresses that IPAM plugins have given on this host. */
export const IPAM_JOURNAL: Token<IpamJournal> = token('host.ipam-journal')
/** Gives them back. */
export const IPAM_UNDO: Token<IpamUndo> = token('host.ipam-undo')
/** Addresses of IPAM plugins on this host. */
export const IPAM: Token<HostIpam> = token('host.ipam')
/** Works off those that could not be given back at once. */
export const IPAM_DRAINER: Token<Drainer> = token('host.ipam-drainer')
/** When the reconciler may act, and what it did. */
export const LEDGER: Token<RepairLedger> = token('host.ledger')
/** Keeps pods and free VFs as they should be. */
export const RECONCILER: Token<Reconciler> = token('host.reconciler')
/** Metrics. */
export const METRICS: Token<HostMetrics> = token('host.metrics')
/** What the verbs work with. */
export const VERBS: Token<VerbDeps> = token('host.verbs')
