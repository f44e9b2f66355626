import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { moveFunctions, movePorts } from '@cni-offload/hw-soft'
import type { LinuxNet } from '@cni-offload/linux'
import type { LabNode, LabState } from './model.ts'
import { dpuHardware, dpuOps, HOST_HARDWARE, hostOps, labNames, labNamespaces, NETNS_DIR, underlayRoutes } from './topology.ts'

/** What a reboot does to the disk of a DPU. `lost` stands for one that is replaced or was kept in memory. */
export type DpuDisk = 'kept' | 'lost'

/**
 * Destroys the system of a DPU whose agent has ended, and sets it up anew.
 *
 * A VF and its port are the two ends of a veth pair, and both go when the namespace of either does; on a card only Linux on the DPU
 * goes. So a namespace stands for the silicon: the ports of VFs, the PF link and the uplink lie in it while the DPU's namespace and
 * the proxy namespaces of its adapter are destroyed, with bridges, filters, routes, addresses and kernel settings. They come back
 * down and bare, as after a boot.
 */
export async function rebootDpu(net: LinuxNet, state: LabState, node: LabNode, disk: DpuDisk): Promise<void> {
  const names = labNames(state.prefix)
  const silicon = await net.createNetns(names.silicon(node.index))
  const card = { net, device: state.device, vfs: state.vfs, node: node.hostNetns, dpuNetns: `${NETNS_DIR}/${node.dpuNetns}` }
  await movePorts(card, silicon)
  for (const dev of dpuHardware(state.networks))
    await net.apply(card.dpuNetns, [
      { op: 'link.set', dev, up: false },
      { op: 'link.move', dev, netns: silicon, name: dev },
    ])
  const proxies = `${names.proxyPrefix(node.index)}-`
  for (const name of await labNamespaces(state.prefix)) if (name === node.dpuNetns || name.startsWith(proxies)) await net.deleteNetns(name)
  if (disk === 'lost') await loseDisk(node)

  const dpu = await net.createNetns(node.dpuNetns)
  for (const dev of dpuHardware(state.networks)) await net.apply(silicon, [{ op: 'link.move', dev, netns: dpu, name: dev }])
  await net.apply(dpu, dpuOps(node.index, state.hardware))
  await net.apply(dpu, underlayRoutes(node.index, { nodes: state.nodes.length, networks: state.networks.length }))
  await movePorts(card, dpu)
  await net.deleteNetns(names.silicon(node.index))
}

/**
 * Destroys the system of a host whose daemon has ended, with the namespaces of all pods that had a VF, and sets it up anew, with another
 * boot id. As in {@link rebootDpu}, a namespace stands for the silicon meanwhile: VFs come back down and pristine. The DPU runs on, and
 * what the host keeps on its disk stays.
 */
export async function rebootHost(net: LinuxNet, state: LabState, node: LabNode): Promise<void> {
  const names = labNames(state.prefix)
  const silicon = await net.createNetns(names.silicon(node.index))
  const before = `${NETNS_DIR}/${node.hostNetns}`
  const card = { net, device: state.device, vfs: state.vfs, node: node.hostNetns, hostNetns: before }
  const pods = new Set((await moveFunctions(card, silicon)).filter((netns) => netns !== before))
  const link = { op: 'link.move', dev: HOST_HARDWARE, name: HOST_HARDWARE } as const
  await net.apply(before, [
    { op: 'link.set', dev: HOST_HARDWARE, up: false },
    { ...link, netns: silicon },
  ])
  for (const netns of [...pods, before]) await net.deleteNetns(basename(netns))

  const host = await net.createNetns(node.hostNetns)
  await net.apply(silicon, [{ ...link, netns: host }])
  await net.apply(host, hostOps())
  await moveFunctions(card, host)
  await net.deleteNetns(names.silicon(node.index))
  await newBoot(node.dir)
}

/** What stands for the file system of a node's host, as far as it tells of the kernel: each host of a lab has boots of its own. */
export function hostRoot(nodeDir: string): string {
  return join(nodeDir, 'root')
}

/** Gives a host another boot id. */
export async function newBoot(nodeDir: string): Promise<void> {
  const folder = join(hostRoot(nodeDir), 'proc/sys/kernel/random')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'boot_id'), `${randomUUID()}\n`)
}

/** State of agent and adapters, and the addresses that `host-local` has given away. */
async function loseDisk(node: LabNode): Promise<void> {
  const agent = dirname(node.agent.journal)
  for (const entry of await readdir(agent)) await rm(join(agent, entry), { recursive: true, force: true })
  await rm(join(node.dir, 'ipam'), { recursive: true, force: true })
}
