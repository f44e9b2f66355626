import type { AttachmentState, OffloadApi } from '@cni-offload/protocol'
import { type AttachmentKey, formatVfId, OffloadError, type RepairRecord } from '@cni-offload/sdk'
import { decodeRaw } from '@cni-offload/sdk/exec'
import type { AgentLink } from './agent/agent-link.ts'
import type { FallbackReason } from './fallback/plan.ts'
import type { FallbackPhase, FallbackRow } from './fallback/types.ts'
import type { IpamRow } from './ipam/types.ts'
import type { AttachmentJournal, AttachmentPhase, CleanupRow, VfState } from './journal/types.ts'
import type { PluginPhase } from './plugins/types.ts'
import type { CallFailure } from './server/recent-failures.ts'
import type { HostState } from './state.ts'

/** The daemon's state, as its socket gives it to `inspect`. */
export interface HostInspection {
  /** Name of the node. */
  readonly node: string
  /** State of the daemon. */
  readonly state: HostState
  /** The agent. */
  readonly agent: { readonly address: string; readonly connected: boolean; readonly instanceId: string | undefined }
  /** All attachments, oldest first. */
  readonly attachments: readonly {
    readonly key: AttachmentKey
    readonly vf: string
    readonly phase: AttachmentPhase
    readonly netns: string
    readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string }
    readonly pciAddress: string | undefined
    readonly mac: string | undefined
    readonly mtu: number | undefined
    readonly ips: readonly string[]
    readonly createdAt: string
  }[]
  /** Attachments that have the network of the host, oldest first. */
  readonly fallbacks: readonly {
    readonly key: AttachmentKey
    readonly phase: FallbackPhase
    readonly reason: FallbackReason
    readonly list: string
    readonly netns: string
    readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string }
    readonly ips: readonly string[]
    readonly failure: string | undefined
    readonly createdAt: string
  }[]
  /** Addresses that IPAM plugins have given on this host, oldest first. */
  readonly ipam: readonly {
    readonly key: AttachmentKey
    readonly phase: PluginPhase
    readonly plugin: string
    readonly ips: readonly string[]
    readonly failure: string | undefined
  }[]
  /** All VFs. */
  readonly leases: readonly {
    readonly vf: string
    readonly state: VfState
    readonly health: string
    readonly userspace: string | undefined
    readonly key: AttachmentKey | undefined
  }[]
  /** What is left to do for attachments that are over, oldest first. */
  readonly queue: readonly (Pick<CleanupRow, 'key' | 'release' | 'detach' | 'reason'> & { readonly vf: string })[]
  /** What the reconciler of this daemon found and did about it lately, oldest first. */
  readonly repairs: readonly RepairRecord[]
  /** CNI calls that failed lately, oldest first. */
  readonly failures: readonly CallFailure[]
  /** The agent's side, if it was asked for. */
  readonly dpu?: DpuInspection
}

/** The agent's attachments, or why it does not tell. */
export type DpuInspection =
  | { readonly attachments: readonly (Pick<AttachmentState, 'key' | 'port' | 'state' | 'repairs'> & { readonly vf: string })[] }
  | { readonly error: string }

/** Puts the daemon's state together. */
export function inspectHost(of: {
  node: string
  state: HostState
  address: string
  agent: AgentLink
  journal: AttachmentJournal
  fallbacks: readonly FallbackRow[]
  ipam: readonly IpamRow[]
  repairs: readonly RepairRecord[]
  failures: readonly CallFailure[]
}): HostInspection {
  return {
    node: of.node,
    state: of.state,
    agent: { address: of.address, connected: of.agent.connected, instanceId: of.agent.instanceId },
    attachments: of.journal.all().map((row) => ({
      key: row.key,
      vf: formatVfId(row.vf),
      phase: row.phase,
      netns: row.netns,
      pod: row.pod,
      pciAddress: row.pciAddress,
      mac: row.result?.mac,
      mtu: row.result?.mtu,
      ips: row.result?.ips.map(({ address }) => address) ?? [],
      createdAt: new Date(row.createdAt).toISOString(),
    })),
    fallbacks: of.fallbacks.map(inspectFallback),
    ipam: of.ipam.map(inspectIpam),
    leases: of.journal.vfs().map(({ vf, state, health, userspace, key }) => ({ vf: formatVfId(vf), state, health, userspace, key })),
    queue: of.journal.queue().map(({ key, vf, release, detach, reason }) => ({ key, vf: formatVfId(vf), release, detach, reason })),
    repairs: of.repairs,
    failures: of.failures,
  }
}

/** Asks the agent for its side. Never rejects. */
export async function inspectDpu(agent: Pick<OffloadApi, 'list'>, signal: AbortSignal): Promise<DpuInspection> {
  try {
    const states = await agent.list({ signal })
    return {
      attachments: states.map(({ key, vf, port, state, repairs = [] }) => ({ key, vf: formatVfId(vf), port, state, repairs })),
    }
  } catch (error) {
    return { error: OffloadError.from(error).message }
  }
}

function inspectFallback(row: FallbackRow): HostInspection['fallbacks'][number] {
  const { key, phase, reason, netns, pod, call, result, failure } = row
  const ips = result === undefined ? [] : decodeRaw(result, call.list).ips.map(({ address }) => address)
  return { key, phase, reason, list: call.list.name, netns, pod, ips, failure, createdAt: new Date(row.createdAt).toISOString() }
}

function inspectIpam({ key, phase, conf, result, failure }: IpamRow): HostInspection['ipam'][number] {
  const ips = result === undefined ? [] : decodeRaw(result, conf).ips.map(({ address }) => address)
  return { key, phase, plugin: conf.type, ips, failure }
}
