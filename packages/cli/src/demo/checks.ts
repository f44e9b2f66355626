import type { LinuxNet } from '@cni-offload/linux'
import { ping, tcpTransfer } from '@cni-offload/testing'
import { findPorts } from '../lab/inspect.ts'
import type { Lab } from '../lab/lab.ts'
import type { DemoCheck, DemoPod } from './report.ts'

const TCP_BYTES = 64 * 1024 * 1024

/** An address without its prefix length. */
export const plain = (address: string): string => address.replace(/\/\d+$/, '')

/** Family of an address, for people. */
export const familyOf = (address: string): string => (address.includes(':') ? 'v6' : 'v4')

/** A pair of pods, and how they lie to each other. */
export interface PodPair {
  /** Client. */
  readonly from: DemoPod
  /** Server. */
  readonly to: DemoPod
}

/** Every pod's path to every other pod. */
export function podPairs(pods: readonly DemoPod[]): PodPair[] {
  return pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => ({ from, to })))
}

/** How the pods of a pair lie to each other, for people. */
export const where = (pair: PodPair): string => (pair.from.node === pair.to.node ? 'within a node' : 'across nodes')

/** Pings along a pair in every family that the target has. */
export async function pingChecks(lab: Lab, pair: PodPair): Promise<DemoCheck[]> {
  return await Promise.all(
    pair.to.ips.map(async (ip) => {
      const { sent, received } = await ping(lab.podPath(pair.from.name), plain(ip), { count: 2 })
      return {
        name: `ping ${familyOf(ip)} ${where(pair)} ${pair.from.name} → ${pair.to.name}`,
        ok: received === sent && sent > 0,
        seen: `${received}/${sent}`,
      }
    }),
  )
}

/** One TCP transfer along a pair in every family that the target has. */
export async function tcpChecks(lab: Lab, pair: PodPair): Promise<DemoCheck[]> {
  const checks: DemoCheck[] = []
  for (const ip of pair.to.ips) {
    const { bytes, ms } = await tcpTransfer(lab.podPath(pair.to.name), lab.podPath(pair.from.name), plain(ip), TCP_BYTES)
    checks.push({
      name: `TCP ${familyOf(ip)} ${where(pair)} ${pair.from.name} → ${pair.to.name}`,
      ok: bytes === TCP_BYTES,
      seen: `${bytes / 1024 / 1024} MiB in ${Math.round(ms)} ms (${((bytes * 8) / ms / 1e6).toFixed(1)} Gbit/s)`,
    })
  }
  return checks
}

/** Proof that the pods' traffic went through the DPUs: each pod's port counted frames in both directions. */
export async function counterChecks(lab: Lab, net: LinuxNet, pods: readonly DemoPod[]): Promise<DemoCheck[]> {
  const checks: DemoCheck[] = []
  for (const node of lab.state.nodes) {
    const ports = await findPorts(net, lab, node)
    for (const pod of pods.filter((candidate) => candidate.node === node.name)) {
      const port = ports.find((candidate) => candidate.vf === pod.vf)
      const { fromHost, toHost } = port?.packets ?? { fromHost: 0, toHost: 0 }
      checks.push({
        name: `traffic of ${pod.name} crossed the DPU at port ${pod.port}`,
        ok: fromHost > 10 && toHost > 10,
        seen: `${fromHost} frames from the pod, ${toHost} to it`,
      })
    }
  }
  return checks
}

/** Proof that the host takes no part in pod networking: no bridge, no pod interface, no route to pods. */
export async function hostChecks(lab: Lab, net: LinuxNet, pods: readonly DemoPod[]): Promise<DemoCheck[]> {
  const checks: DemoCheck[] = []
  for (const node of lab.state.nodes) {
    const netns = lab.netns(node, 'host')
    const links = await net.links(netns)
    const mine = pods.filter((pod) => pod.node === node.name)
    const foreign = links.filter((link) => link.kind === 'bridge' || link.master !== undefined || mine.some((pod) => pod.mac === link.mac))
    const routes = (await Promise.all(links.map((link) => net.routes(netns, link.name)))).flat()
    checks.push({
      name: `no pod interface in ${node.name}'s own bridges or routing`,
      ok: foreign.length === 0 && routes.length === 0 && links.length === 2 + lab.state.vfs - mine.length,
      seen: `interfaces: lo, the PF, ${links.length - 2} free VFs; bridges or pod interfaces: ${foreign.length}; routes: ${routes.length}`,
    })
  }
  return checks
}
