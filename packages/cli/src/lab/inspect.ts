import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parseNote } from '@cni-offload/linux/function'
import type { Link, LinuxNet } from '@cni-offload/linux'
import { type AttachmentKey, attachmentKeySchema, formatVfId, OffloadError, parseWith, type VfId } from '@cni-offload/sdk'
import { z } from 'zod'
import { askSocket } from '../inspect/ask.ts'
import type { Lab } from './lab.ts'
import type { LabNode } from './model.ts'
import { NETNS_DIR } from './topology.ts'

/** Both sides of a node at one moment. A side that does not answer says why. */
export interface NodeInspection {
  /** Name of the node. */
  readonly node: string
  /** The host daemon's view: attachments, leases and what it has still to tell the agent. */
  readonly host: HostView | { readonly error: string }
  /** The agent's view: its attachments. */
  readonly agent: { readonly attachments: readonly AgentAttachment[] } | { readonly error: string }
  /** Every port of the card, where it lies and what went through it. */
  readonly ports: readonly PortInspection[]
}

/** One DPU-side port, found by its mark, wherever it lies. */
export interface PortInspection {
  /** Name under which the card knows it. */
  readonly port: string
  /** VF at its other end. */
  readonly vf: string
  /** Namespace that it lies in. */
  readonly netns: string
  /** Packets that came from the host and went to it. */
  readonly packets: { readonly fromHost: number; readonly toHost: number }
}

/** What the host daemon tells of itself; more than is named here is passed on as it is. */
export interface HostView {
  /** State of the daemon. */
  readonly state: string
  /** All attachments. */
  readonly attachments: readonly { readonly key: AttachmentKey; readonly vf: string; readonly phase: string }[]
  /** Attachments that have the network of the host. */
  readonly fallbacks: readonly { readonly key: AttachmentKey; readonly phase: string; readonly reason: string }[]
  /** Addresses that IPAM plugins have given on the host. */
  readonly ipam: readonly { readonly key: AttachmentKey; readonly phase: string; readonly plugin: string }[]
  /** All VFs. */
  readonly leases: readonly { readonly vf: string; readonly state: string; readonly key?: AttachmentKey | undefined }[]
  /** What it has still to undo. */
  readonly queue: readonly { readonly key: AttachmentKey; readonly vf: string }[]
}

/** One attachment as the agent tells it. */
export interface AgentAttachment {
  /** Identity. */
  readonly key: AttachmentKey
  /** Its VF. */
  readonly vf: VfId
  /** Its port. */
  readonly port: string
  /** Where it stands. */
  readonly state: string
}

const hostView: z.ZodType<HostView> = z.looseObject({
  state: z.string(),
  attachments: z.array(z.looseObject({ key: attachmentKeySchema, vf: z.string(), phase: z.string() })),
  fallbacks: z.array(z.looseObject({ key: attachmentKeySchema, phase: z.string(), reason: z.string() })).default([]),
  ipam: z.array(z.looseObject({ key: attachmentKeySchema, phase: z.string(), plugin: z.string() })).default([]),
  leases: z.array(z.looseObject({ vf: z.string(), state: z.string(), key: attachmentKeySchema.optional() })),
  queue: z.array(z.looseObject({ key: attachmentKeySchema, vf: z.string() })),
})

const agentAttachments: z.ZodType<AgentAttachment[]> = z.array(
  z.looseObject({ key: attachmentKeySchema, vf: z.object({ device: z.string(), index: z.number() }), port: z.string(), state: z.string() }),
)

const run = promisify(execFile)

/** Asks both daemons of a node, and looks at the card. */
export async function inspectNode(lab: Lab, net: LinuxNet, node: LabNode): Promise<NodeInspection> {
  const failed = (error: unknown): { error: string } => ({ error: OffloadError.from(error).message })
  return {
    node: node.name,
    host: await askHost(node.socket).catch(failed),
    agent: await askAgent(lab.netns(node, 'host'), node.host.config).then((attachments) => ({ attachments }), failed),
    ports: await findPorts(net, lab, node),
  }
}

/** The host daemon's own account of its attachments and leases, over its socket. */
export async function askHost(socket: string): Promise<HostView> {
  return parseWith(hostView, await askSocket(socket, { kind: 'inspect' }), `answer of ${socket}`, 'UNDECODABLE')
}

/** The agent is reachable from the host's namespace only, so a process there asks it. */
async function askAgent(hostNetns: string, hostConfig: string): Promise<readonly AgentAttachment[]> {
  const main = fileURLToPath(new URL(`../main.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
  const { stdout } = await run('nsenter', [`--net=${hostNetns}`, '--', process.execPath, main, 'attachments', '--config', hostConfig], {
    timeout: 60_000,
  }).catch((error: Error & { stderr?: string }) => {
    throw new OffloadError('AGENT_UNREACHABLE', error.stderr?.trim() || error.message, { cause: error })
  })
  return parseWith(agentAttachments, JSON.parse(stdout), 'answer of the agent', 'UNDECODABLE')
}

/** Finds the card's ports by their mark in the DPU's namespace and in the proxy namespaces of its adapter. */
export async function findPorts(net: LinuxNet, lab: Lab, node: LabNode): Promise<PortInspection[]> {
  const mine = (name: string): boolean => name === node.dpuNetns || name.startsWith(`${lab.state.prefix}-px${node.index}-`)
  const found: PortInspection[] = []
  for (const netns of (await readdir(NETNS_DIR)).filter(mine))
    for (const link of await net.links(`${NETNS_DIR}/${netns}`)) found.push(...portOf(link, netns))
  return found.sort((a, b) => a.vf.localeCompare(b.vf, 'en', { numeric: true }))
}

function portOf(link: Link, netns: string): PortInspection[] {
  const note = parseNote(link.alias)
  if (note?.end !== 'port') return []
  return [
    {
      port: note.name,
      vf: formatVfId(note.vf),
      netns,
      packets: { fromHost: Number(link.stats.rxPackets), toHost: Number(link.stats.txPackets) },
    },
  ]
}
