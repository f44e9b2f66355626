import { readdir } from 'node:fs/promises'
import { plugCard } from '@cni-offload/hw-soft'
import type { LinuxNet, NetOp } from '@cni-offload/linux'
import { ADDRESSES, podSubnets, underlayAddresses } from './addresses.ts'
import { LARGEST_POOL } from './model.ts'

/** Where named network namespaces live. */
export const NETNS_DIR = '/run/netns'

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
 * Makes the namespaces of a lab and all cables: for each node a host and a DPU with the PF link between them and the card's
 * VFs, and a fabric that connects the DPUs and routes each node's pods to its DPU.
 */
export async function buildTopology(
  net: LinuxNet,
  options: { prefix: string; nodes: number; networks: number; vfs: number; device: string },
): Promise<void> {
  const names = labNames(options.prefix)
  const nodes = Array.from({ length: options.nodes }, (_, i) => i + 1)
  const fabric = await net.createNetns(names.fabric)
  await net.apply(fabric, [
    { op: 'link.add-bridge', dev: 'fabric0' },
    { op: 'sysctl', key: 'net.ipv6.conf.fabric0.disable_ipv6', value: '1' },
    { op: 'link.set', dev: 'fabric0', up: true },
  ])
  for (const node of nodes) {
    const host = await net.createNetns(names.host(node))
    const dpu = await net.createNetns(names.dpu(node))
    await net.apply(dpu, cableOps(node, host, fabric))
    await net.apply(dpu, dpuOps(node))
    await net.apply(host, hostOps())
    await net.apply(fabric, [
      { op: 'link.set', dev: `up${node}`, master: 'fabric0' },
      { op: 'link.set', dev: `up${node}`, up: true },
    ])
    await net.apply(dpu, underlayRoutes(node, options))
    await plugCard({ net, device: options.device, vfs: options.vfs, node: names.host(node), hostNetns: host, dpuNetns: dpu })
  }
}

/** What the card and the cables of a node are made of; they outlive the DPU's system. */
function cableOps(node: number, host: string, fabric: string): NetOp[] {
  return [
    { op: 'link.add-veth', dev: 'pf0', peer: { name: 'pf0', netns: host } },
    { op: 'link.add-veth', dev: 'up0', peer: { name: `up${node}`, netns: fabric } },
  ]
}

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
export const DPU_HARDWARE: readonly string[] = ['pf0', 'up0']

/** What a DPU's system sets up when it boots, its hardware being there. */
export function dpuOps(node: number): NetOp[] {
  const underlay = underlayAddresses(node)
  return [
    { op: 'sysctl', key: 'net.ipv4.ip_forward', value: '1' },
    // Every address here is unique by construction; a bridge must not wait a second before it answers as a gateway.
    { op: 'sysctl', key: 'net.ipv6.conf.default.accept_dad', value: '0' },
    { op: 'sysctl', key: 'net.ipv6.conf.all.forwarding', value: '1' },
    { op: 'addr.add', dev: 'pf0', address: `${ADDRESSES.pf.agent}/${ADDRESSES.pf.prefix}` },
    { op: 'link.set', dev: 'pf0', up: true },
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
