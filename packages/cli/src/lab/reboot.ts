import { readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { movePorts } from '@cni-offload/hw-soft'
import type { LinuxNet } from '@cni-offload/linux'
import type { LabNode, LabState } from './model.ts'
import { DPU_HARDWARE, dpuOps, labNames, labNamespaces, NETNS_DIR, underlayRoutes } from './topology.ts'

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
  for (const dev of DPU_HARDWARE)
    await net.apply(card.dpuNetns, [
      { op: 'link.set', dev, up: false },
      { op: 'link.move', dev, netns: silicon, name: dev },
    ])
  const proxies = `${names.proxyPrefix(node.index)}-`
  for (const name of await labNamespaces(state.prefix)) if (name === node.dpuNetns || name.startsWith(proxies)) await net.deleteNetns(name)
  if (disk === 'lost') await loseDisk(node)

  const dpu = await net.createNetns(node.dpuNetns)
  for (const dev of DPU_HARDWARE) await net.apply(silicon, [{ op: 'link.move', dev, netns: dpu, name: dev }])
  await net.apply(dpu, dpuOps(node.index))
  await net.apply(dpu, underlayRoutes(node.index, { nodes: state.nodes.length, networks: state.networks.length }))
  await movePorts(card, dpu)
  await net.deleteNetns(names.silicon(node.index))
}

/** State of agent and adapters, and the addresses that `host-local` has given away. */
async function loseDisk(node: LabNode): Promise<void> {
  const agent = dirname(node.agent.journal)
  for (const entry of await readdir(agent)) await rm(join(agent, entry), { recursive: true, force: true })
  await rm(join(node.dir, 'ipam'), { recursive: true, force: true })
}
