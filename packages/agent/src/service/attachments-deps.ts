import type { Clock, DpuDevice, Logger } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import type { AgentLimits } from '../limits.ts'
import type { DeviceHealth } from './device-health.ts'
import type { Networks } from './networks.ts'
import type { PortPlan } from './port-plan.ts'

/** What `Attachments` works with. */
export interface AttachmentsDeps {
  /** What survives a crash. */
  readonly journal: AttachmentJournal
  /** The ports. */
  readonly hardware: DpuDevice
  /** The adapters. */
  readonly networks: Networks
  /** Whose port is whose. */
  readonly ports: PortPlan
  /** Which ports are out of order. */
  readonly health: DeviceHealth
  /** Time. */
  readonly clock: Clock
  /** Deadlines and concurrency. */
  readonly limits: AgentLimits
  /** Log of what happens without a call. */
  readonly log: Logger
}
