import type { LinuxNet } from '@cni-offload/linux'
import { formatAttachmentKey } from '@cni-offload/sdk'
import { askHost } from '../inspect.ts'
import type { Lab } from '../lab.ts'
import type { LabNode } from '../model.ts'
import { ciliumHoldings } from './cilium.ts'
import { fileHoldings, rowHoldings } from './disk.ts'
import type { Holding } from './holding.ts'
import { kernelHoldings } from './kernel.ts'

/**
 * Everything that the nodes of a lab hold anywhere, seen from outside: VFs, ports, namespaces, links, addresses, queueing
 * disciplines, processes, files, addresses of `host-local`, endpoints and addresses of cilium-agent, and what the host daemons say that they have. Namespaces of pods are
 * their owner's and are not looked into.
 *
 * Compare it by {@link auditDifferences} with an audit from before. Give every node a pod once, and end it, before the first one: a
 * bridge, for example, is made with the first pod and stays by design.
 *
 * @throws OffloadError whatever a host daemon or a cilium-agent that does not answer fails with
 */
export async function auditLab(lab: Lab, net: LinuxNet): Promise<Holding[]> {
  return await eachNode(lab, async (node) => [...(await outside(lab, net, node)), ...(await hostHoldings(node))])
}

/**
 * As {@link auditLab}, but the daemons are stopped first, by SIGTERM, and what they and their adapters have written down is read from
 * their files, on both sides. They stay stopped; a cilium-agent goes on, as it belongs to neither.
 */
export async function auditStoppedLab(lab: Lab, net: LinuxNet): Promise<Holding[]> {
  // The host daemons first: they may still want to tell the agents something.
  for (const role of ['host', 'agent'] as const) for (const node of lab.state.nodes) await lab.kill(node, role, 'SIGTERM')
  return await eachNode(lab, async (node) => [...(await outside(lab, net, node)), ...(await rowHoldings(node))])
}

async function eachNode(lab: Lab, look: (node: LabNode) => Promise<Holding[]>): Promise<Holding[]> {
  return (await Promise.all(lab.state.nodes.map(look))).flat()
}

async function outside(lab: Lab, net: LinuxNet, node: LabNode): Promise<Holding[]> {
  return [...(await kernelHoldings(net, lab.state.prefix, node)), ...(await fileHoldings(node)), ...(await ciliumHoldings(node))]
}

async function hostHoldings(node: LabNode): Promise<Holding[]> {
  const { attachments, fallbacks, ipam, leases, queue } = await askHost(node.socket)
  const rows = [...attachments, ...fallbacks].map(({ key, phase }) => `${formatAttachmentKey(key)} ${phase}`)
  return [
    ...rows.map((what) => ({ node: node.name, kind: 'journal row' as const, what })),
    ...ipam.map(({ key, phase, plugin }) => ({
      node: node.name,
      kind: 'journal row' as const,
      what: `addresses of ${plugin} for ${formatAttachmentKey(key)} ${phase}`,
    })),
    ...leases.flatMap(({ vf, state, key }) =>
      state === 'free'
        ? []
        : [
            {
              node: node.name,
              kind: 'lease' as const,
              what: `${vf} ${state}${key === undefined ? '' : ` for ${formatAttachmentKey(key)}`}`,
            },
          ],
    ),
    ...queue.map(({ key, vf }) => ({ node: node.name, kind: 'queued clean-up' as const, what: `${vf} of ${formatAttachmentKey(key)}` })),
  ]
}
