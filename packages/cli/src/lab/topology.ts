import { readdir } from 'node:fs/promises'
import { plugCard } from '@cni-offload/hw-soft'
import type { LinuxNet, NetOp } from '@cni-offload/linux'
import { ADDRESSES, podSubnets, underlayAddresses } from './addresses.ts'
import { type LabHardware, type LabNetwork, LARGEST_POOL } from './model.ts'

/** Where named network namespaces live. */
export const NETNS_DIR = '/run/netns'

/** Names of the devices that hold the VFs. */
export const DEVICES: Readonly<Record<LabHardware, string>> = { soft: 'soft0', octeon: 'octeon0' }

/** What the namespaces of a lab are called. */
export function labNames(prefix: string): {
  fabric: string
  host(node: number): string
  dpu(node: number): string
  proxyPrefix(node: number): string
  silicon(node: number): string
} {
  return {
    fabric: `${prefix}-fabric`,
    host: (node) => `${prefix}-host${node}`,
    dpu: (node) => `${prefix}-dpu${node}`,
    proxyPrefix: (node) => `${prefix}-px${node}`,
    silicon: (node) => `${prefix}-hw${node}`,
  }
}

/** Names of the namespaces under `/run/netns` that a lab made, its pods included. */
export async function labNamespaces(prefix: string): Promise<string[]> {
  const names = await readdir(NETNS_DIR).catch(() => [])
  return names.filter((name) => name.startsWith(`${prefix}-`)).sort()
}

/**
 * Makes the namespaces of a lab and all cables: for each node a host and a DPU with a software card between them, unless another one is to
 * be plugged in, and a fabric that connects the DPUs and routes each node's pods to its DPU.
 */
export async function buildTopology(
  net: LinuxNet,
  options: { prefix: string; nodes: number; networks: readonly LabNetwork[]; vfs: number; hardware: LabHardware },
): Promise<void> {
  const names = labNames(options.prefix)
  const nodes = Array.from({ length: options.nodes }, (_, i) => i + 1)
  const fabric = await net.createNetns(names.fabric)
  await net.apply(fabric, [
    { op: 'link.add-bridge', dev: 'fabric0' },
    { op: 'sysctl', key: 'net.ipv6.conf.fabric0.disable_ipv6', value: '1' },
    { op: 'link.set', dev: 'fabric0', up: true },
    ...(hasWire(options.networks) ? wireSwitchOps() : []),
  ])
  for (const node of nodes) {
    const host = await net.createNetns(names.host(node))
    const dpu = await net.createNetns(names.dpu(node))
    await net.apply(dpu, [uplinkOp(node, fabric)])
    if (options.hardware === 'soft') await net.apply(dpu, [pfLinkOp(host)])
    await net.apply(dpu, dpuOps(node, options.hardware))
    if (options.hardware === 'soft') await net.apply(host, hostOps())
    await net.apply(fabric, [
      { op: 'link.set', dev: `up${node}`, master: 'fabric0' },
      { op: 'link.set', dev: `up${node}`, up: true },
    ])
    if (hasWire(options.networks)) await connectWire(net, { node, dpu, fabric })
    await net.apply(dpu, underlayRoutes(node, { nodes: options.nodes, networks: options.networks.length }))
    const card = { net, device: DEVICES.soft, vfs: options.vfs, node: names.host(node), hostNetns: host, dpuNetns: dpu }
    if (options.hardware === 'soft') await plugCard(card)
  }
}

/** The cable from a DPU to the fabric. */
const uplinkOp = (node: number, fabric: string): NetOp => ({
  op: 'link.add-veth',
  dev: 'up0',
  peer: { name: `up${node}`, netns: fabric },
})

/** Whether the DPUs of a lab have a wire for frames with VLANs between them, besides the routed underlay. */
const hasWire = (networks: readonly LabNetwork[]): boolean => networks.some(({ adapter }) => adapter === 'sriov')

/** What connects the wires: it takes frames as they are, with whatever tags. */
function wireSwitchOps(): NetOp[] {
  return [
    { op: 'link.add-bridge', dev: 'wires0', multicastSnooping: false },
    { op: 'sysctl', key: 'net.ipv6.conf.wires0.disable_ipv6', value: '1' },
    { op: 'link.set', dev: 'wires0', up: true },
  ]
}

async function connectWire(net: LinuxNet, { node, dpu, fabric }: { node: number; dpu: string; fabric: string }): Promise<void> {
  await net.apply(dpu, [{ op: 'link.add-veth', dev: WIRE, peer: { name: `wire${node}`, netns: fabric } }])
  await net.apply(fabric, [
    { op: 'sysctl', key: `net.ipv6.conf.wire${node}.disable_ipv6`, value: '1' },
    { op: 'link.set', dev: `wire${node}`, master: 'wires0', up: true },
  ])
}

/** Interface of a DPU that leads to the wire. */
export const WIRE: string = 'wire0'

/** The link between the host's physical function and the DPU's end of it; it outlives the systems of both. */
const pfLinkOp = (host: string): NetOp => ({ op: 'link.add-veth', dev: 'pf0', peer: { name: 'pf0', netns: host } })

/** Interface of a host, besides the VFs, that is hardware. */
export const HOST_HARDWARE: string = 'pf0'

/** What a host's system sets up when it boots, its hardware being there. */
export function hostOps(): NetOp[] {
  return [
    { op: 'addr.add', dev: HOST_HARDWARE, address: `${ADDRESSES.pf.host}/${ADDRESSES.pf.prefix}` },
    { op: 'link.set', dev: HOST_HARDWARE, up: true },
  ]
}

/** Interfaces of a DPU, besides the ports of VFs, that are hardware. */
export function dpuHardware(networks: readonly LabNetwork[]): readonly string[] {
  return ['pf0', 'up0', ...(hasWire(networks) ? [WIRE] : [])]
}

/** What a DPU's system sets up when it boots, its hardware being there. */
export function dpuOps(node: number, hardware: LabHardware): NetOp[] {
  const underlay = underlayAddresses(node)
  const pfLink: readonly NetOp[] = [
    { op: 'addr.add', dev: 'pf0', address: `${ADDRESSES.pf.agent}/${ADDRESSES.pf.prefix}` },
    { op: 'link.set', dev: 'pf0', up: true },
  ]
  return [
    { op: 'sysctl', key: 'net.ipv4.ip_forward', value: '1' },
    // Every address here is unique by construction; a bridge must not wait a second before it answers as a gateway.
    { op: 'sysctl', key: 'net.ipv6.conf.default.accept_dad', value: '0' },
    { op: 'sysctl', key: 'net.ipv6.conf.all.forwarding', value: '1' },
    // The backend of an OCTEON sets its end up itself.
    ...(hardware === 'soft' ? pfLink : []),
    { op: 'addr.add', dev: 'up0', address: `${underlay.ipv4}/24` },
    { op: 'addr.add', dev: 'up0', address: `${underlay.ipv6}/64` },
    { op: 'link.set', dev: 'up0', up: true },
  ]
}

/** Routes of a DPU to the pods of all other nodes; its uplink has to be up. */
export function underlayRoutes(node: number, options: { readonly nodes: number; readonly networks: number }): NetOp[] {
  const others = Array.from({ length: options.nodes }, (_, i) => i + 1).filter((other) => other !== node)
  return others.flatMap((other) => routesTo(other, options.networks))
}

function routesTo(node: number, networks: number): NetOp[] {
  const via = underlayAddresses(node)
  return Array.from({ length: networks }, (_, network) => podSubnets(node, LARGEST_POOL, network)).flatMap((pods): NetOp[] => [
    { op: 'route.add', dev: 'up0', route: { dst: pods.ipv4.subnet, gw: via.ipv4 } },
    { op: 'route.add', dev: 'up0', route: { dst: pods.ipv6.subnet, gw: via.ipv6 } },
  ])
}
