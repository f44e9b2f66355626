import { hasPrefixRoute, type Link, type LinuxNet, type NetOp, normalizeIp } from '@cni-offload/linux'
import {
  type AttachResult,
  formatVfId,
  type HostDevice,
  type Neighbour,
  OffloadError,
  type OpContext,
  type RepairAction,
  type VirtualFunction,
} from '@cni-offload/sdk'
import type { AttachmentRow } from '../journal/types.ts'
import type { HostNetns } from '../verbs/deps.ts'
import { type Drift, drift, readPodInterface, shownRoute } from '../wiring/compare.ts'
import { enforce, settingsOf, unenforced } from '../wiring/enforce.ts'
import { podOps } from '../wiring/pod-ops.ts'
import { lostToProgram } from '../wiring/userspace.ts'

/** What a look at a pod works with. */
export interface ExamineDeps {
  /** Kernel. */
  readonly net: LinuxNet
  /** Hardware. */
  readonly device: HostDevice
  /** Where free VFs lie. */
  readonly hostNetns: HostNetns
  /** Whether the kernel has IPv6. */
  readonly ipv6: boolean
}

/** What is not as it should be in a pod. */
export interface Finding {
  /** Readable phrases; one or more. */
  readonly found: readonly string[]
  /** What puts it right; absent where somebody has to look. */
  readonly repair?: { readonly action: RepairAction; run(ctx: OpContext): Promise<void> }
  /** What to do, where it cannot be repaired. */
  readonly advice?: string
}

/**
 * Compares a pod, and what its VF's physical function enforces, with what it was given. Nothing is changed.
 *
 * @param row - a wired attachment
 * @returns undefined if all is well, or the pod's namespace is not known
 * @throws OffloadError NOT_FOUND when it changes meanwhile, or what the kernel says
 */
export async function examine(deps: ExamineDeps, row: AttachmentRow, ctx: OpContext): Promise<Finding | undefined> {
  const { netns, result } = row
  if (netns === '' || result === undefined) return undefined
  if ((await deps.net.netnsIdentity(netns)) !== row.netnsIdentity)
    return { found: [`its network namespace ${netns} is gone`], advice: 'The runtime has not called DEL; its DEL or GC frees the VF.' }
  const pod = await examineInterface(deps, row, result, ctx)
  // That the hardware cannot tell must not keep the interface from being put right.
  const missing = await unenforced(deps, row, ctx).catch((error: unknown) => [OffloadError.from(error).message])
  if (missing.length === 0) return pod
  return {
    found: [...missing, ...(pod?.found ?? [])],
    repair: {
      action: pod?.repair?.action ?? 'configure',
      async run(op) {
        await enforce(deps, row, settingsOf(row, result), op)
        await pod?.repair?.run(op)
      },
    },
  }
}

async function examineInterface(deps: ExamineDeps, row: AttachmentRow, result: AttachResult, ctx: OpContext): Promise<Finding | undefined> {
  const { netns, key } = row
  if (row.userspace !== undefined) {
    const lost = await lostToProgram(deps, row, ctx)
    return lost.length === 0 ? undefined : { found: lost, advice: 'Give it back to that driver, or restart the pod.' }
  }
  const has = await readPodInterface(deps.net, netns, key.ifName)
  if (has === undefined) return await examineAbsent(deps, row, result, ctx)
  const lacks = { ...drift(has, result), neighbours: await missingNeighbours(deps.net, row, result) }
  const found = lackPhrases(key.ifName, lacks)
  // A later plugin of the list may have changed these, and only the runtime knows its result.
  if (found.length === 0)
    return lacks.settings.length === 0
      ? undefined
      : { found: lacks.settings, advice: 'A later plugin of the list may have done that; else restart the pod.' }
  if ((await lyingAtHome(deps.device, row, ctx)) !== undefined)
    return { found: [`${key.ifName} in ${netns} is not VF ${formatVfId(row.vf)}`], advice: 'Restart the pod.' }
  const doubts = reasonsToDoubt(has.link, result)
  if (doubts.length > 0)
    return {
      found: [...doubts, ...found],
      advice: `${key.ifName} may be somebody else's, or serve somebody else, and is not touched. If nothing in the pod wants it so, restart the pod.`,
    }
  return { found, repair: { action: 'configure', run: () => deps.net.apply(netns, lackOps(key.ifName, lacks, result)) } }
}

/** Kinds of links that software makes: none of them is a VF, even where it has the MAC of one. */
const NEVER_VFS: ReadonlySet<string> = new Set(['bond', 'bridge', 'dummy', 'ipvlan', 'macvlan', 'macvtap', 'team', 'tun', 'vlan', 'vxlan'])

/**
 * What speaks against an interface being the VF as the pod got it, as readable phrases. Virtual machines and bonds in pods take the VF
 * below something of their own, and may give its name and its addresses to that.
 */
export function reasonsToDoubt({ name, mac, kind, master }: Link, expected: AttachResult): string[] {
  return [
    ...(mac === expected.mac ? [] : [`MAC of ${name} is ${mac} instead of ${expected.mac}`]),
    ...(NEVER_VFS.has(kind) ? [`${name} is a ${kind} interface`] : []),
    ...(master === undefined ? [] : [`${name} is a port of another interface`]),
  ]
}

interface Lacks extends Drift {
  readonly neighbours: readonly Neighbour[]
}

async function missingNeighbours(net: LinuxNet, { netns, key }: AttachmentRow, { neighbours }: AttachResult): Promise<Neighbour[]> {
  if (neighbours.length === 0) return []
  const has = new Set((await net.neighbours(netns, key.ifName)).map(({ ip, mac }) => `${ip} ${mac}`))
  return neighbours.filter(({ ip, mac }) => !has.has(`${normalizeIp(ip)} ${mac.toLowerCase()}`))
}

function lackPhrases(ifName: string, { down, addresses, routes, neighbours }: Lacks): string[] {
  return [
    ...(down ? [`${ifName} is down`] : []),
    ...addresses.map((address) => `address ${address} is missing`),
    ...routes.map((route) => `route ${shownRoute(route)} is missing`),
    ...neighbours.map(({ ip }) => `neighbour ${ip} is missing`),
  ]
}

function lackOps(dev: string, { down, addresses, routes, neighbours }: Lacks, result: AttachResult): NetOp[] {
  return [
    ...(down ? [{ op: 'link.set', dev, up: true } as const] : []),
    ...addresses.map((address): NetOp => {
      const prefixRoute = hasPrefixRoute(result, address) ? {} : { prefixRoute: false as const }
      return { op: 'addr.add', dev, address, ...prefixRoute }
    }),
    ...routes.map((route): NetOp => ({ op: 'route.add', dev, route, existsOk: true })),
    ...neighbours.map(({ ip, mac }): NetOp => ({ op: 'neigh.add', dev, ip, mac })),
    ...(down || addresses.length > 0 ? [{ op: 'announce', dev, addresses: result.ips.map(({ address }) => address) } as const] : []),
  ]
}

async function examineAbsent(deps: ExamineDeps, row: AttachmentRow, result: AttachResult, ctx: OpContext): Promise<Finding> {
  const { netns, key, vf } = row
  const there = `there is no interface ${key.ifName} in ${netns}`
  const home = await lyingAtHome(deps.device, row, ctx)
  if (home === undefined)
    return {
      found: [`${there}, and VF ${formatVfId(vf)} is not at home, either`],
      advice: 'Was it renamed, or moved elsewhere? Restart the pod.',
    }
  return {
    found: [`${there}: VF ${formatVfId(vf)} lies at home as ${home.netdev}`],
    repair: { action: 'return', run: (op) => putBack(deps, row, result, op) },
  }
}

/** Whether an attachment's VF has left home, so that the interface in its pod can be it. */
export async function isElsewhere(device: HostDevice, row: AttachmentRow, ctx: OpContext): Promise<boolean> {
  return (await lyingAtHome(device, row, ctx)) === undefined
}

async function lyingAtHome(device: HostDevice, { vf }: AttachmentRow, ctx: OpContext): Promise<VirtualFunction | undefined> {
  const found = (await device.discover(ctx)).find(({ id }) => formatVfId(id) === formatVfId(vf))
  return found?.netdev === undefined ? undefined : found
}

/** As an ADD does it. The VF is this attachment's by the journal, whose lock the caller holds. */
async function putBack(deps: ExamineDeps, row: AttachmentRow, result: AttachResult, ctx: OpContext): Promise<void> {
  const { vf, netns, key } = row
  const { ifName } = key
  const netdev = await deps.device.acquire(vf, {}, ctx)
  ctx.signal.throwIfAborted()
  await deps.net.apply(deps.hostNetns.path, [{ op: 'link.move', dev: netdev.name, netns, name: ifName }])
  await enforce(deps, row, result.vf, ctx)
  const { mac, mtu } = result
  await deps.net.apply(netns, [...podOps(ifName, netdev, result, deps.ipv6), { op: 'link.expect', dev: ifName, mac, mtu, up: true }])
}
