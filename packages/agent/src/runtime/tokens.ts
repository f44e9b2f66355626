import type { Clock, DpuDevice, Logger } from '@cni-offload/sdk'
import { type RepairLedger, type Token, token } from '@cni-offload/sdk/runtime'
import type { AttachmentJournal } from '../journal/types.ts'
import type { AgentLimits } from '../limits.ts'
import type { AgentMetrics } from '../metrics/metrics.ts'
import type { Reconciler } from '../reconcile/reconciler.ts'
import type { Attachments } from '../service/attachments.ts'
import type { Calls } from '../service/calls.ts'
import type { DeviceHealth } from '../service/device-health.ts'
import type { HostPresence } from '../service/host-presence.ts'
import type { Networks } from '../service/networks.ts'
import type { PortPlan } from '../service/port-plan.ts'
import type { OffloadService } from '../service/service.ts'

/** Logger of the agent. */
export const LOG: Token<Logger> = token('agent.log')
/** Time. */
export const CLOCK: Token<Clock> = token('agent.clock')
/** Deadlines and concurrency. */
export const LIMITS: Token<AgentLimits> = token('agent.limits')
/** What survives a crash. */
export const JOURNAL: Token<AttachmentJournal> = token('agent.journal')
/** DPU half of the hardware backend. */
export const HARDWARE: Token<DpuDevice> = token('agent.hardware')
/** The adapters. */
export const NETWORKS: Token<Networks> = token('agent.networks')
/** Whose port is whose. */
export const PORTS: Token<PortPlan> = token('agent.ports')
/** State of the hardware. */
export const HEALTH: Token<DeviceHealth> = token('agent.health')
/** Makes and ends attachments. */
export const ATTACHMENTS: Token<Attachments> = token('agent.attachments')
/** What surrounds each call. */
export const CALLS: Token<Calls> = token('agent.calls')
/** Whether the host is there. */
export const HOST: Token<HostPresence> = token('agent.host')
/** Counters and gauges. */
export const METRICS: Token<AgentMetrics> = token('agent.metrics')
/** When the reconciler may act, and what it did. */
export const LEDGER: Token<RepairLedger> = token('agent.ledger')
/** Keeps the networks as they should be. */
export const RECONCILER: Token<Reconciler> = token('agent.reconciler')
/** `offload.v1`. */
export const SERVICE: Token<OffloadService> = token('agent.service')
