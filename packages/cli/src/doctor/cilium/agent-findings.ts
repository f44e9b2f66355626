import { describeAgent } from '@cni-offload/adapter-cilium'
import { fail, type Finding, ok, skipped, warn } from '../check.ts'
import type { AgentView } from './agent-view.ts'

/** Releases of 1.x that the adapter was made for. */
const MINORS = { first: 16, last: 20 } as const

/** Least MTU of IPv6, bytes. */
const IPV6_MTU = 1280

/** The agent's release is one that the adapter was made for. */
export function version({ config, health }: AgentView): Finding {
  const { version: release } = describeAgent(config, health)
  const range = `1.${MINORS.first} to 1.${MINORS.last}`
  if (release === undefined)
    return warn('unknown', 'the agent does not tell its release', `Make sure that it is one of ${range} ("cilium-dbg version").`)
  const [major, minor] = release.split('.').map(Number)
  if (major === 1 && minor !== undefined && minor >= MINORS.first && minor <= MINORS.last) return ok(release)
  return warn(release, `the adapter was made for ${range}`, `Use one of these, or try with care: offload verify starwars.`)
}

/** Packets of pods fit where they go. */
export function mtu({ config, health }: AgentView): Finding {
  const { deviceMtu, routeMtu, routers } = describeAgent(config, health)
  const seen = `devices ${deviceMtu}, routes ${routeMtu === 0 ? 'the same' : routeMtu}`
  const set = 'Set MTU of the agent: it may not have found the uplink of the DPU.'
  if (routers.ipv6 !== undefined && Math.min(deviceMtu, routeMtu === 0 ? deviceMtu : routeMtu) < IPV6_MTU)
    return fail(seen, `IPv6 needs ${IPV6_MTU} at least`, set)
  const tunnelled = health.routing?.['inter-host-routing-mode'] === 'Tunnel'
  if (tunnelled && (routeMtu === 0 || routeMtu >= deviceMtu))
    return warn(seen, 'the header of the tunnel leaves no room for packets of that size', set)
  return ok(seen)
}

/** How packets get from device to device; the splice works with either. */
export function hostRouting({ health }: AgentView): Finding {
  const mode = health.routing?.['intra-host-routing-mode'] ?? ''
  return mode === '' ? untold() : ok(mode === 'BPF' ? 'by eBPF' : 'by the network stack of the DPU')
}

/** How packets get to other nodes. */
export function routing({ health }: AgentView): Finding {
  const mode = health.routing?.['inter-host-routing-mode'] ?? ''
  const protocol = health.routing?.['tunnel-protocol'] ?? ''
  return mode === '' ? untold() : ok(mode === 'Tunnel' && protocol !== '' ? `tunnels (${protocol})` : mode.toLowerCase())
}

/** The agent takes the place of kube-proxy. */
export function kubeProxyReplacement({ health }: AgentView): Finding {
  const { mode, directRoutingDevice } = health['kube-proxy-replacement'] ?? {}
  if ((mode ?? '') === '') return untold()
  const device = (directRoutingDevice ?? '') === '' ? '' : `, to other nodes by ${directRoutingDevice}`
  if (mode !== 'False') return ok(`${mode}${device}`)
  return warn(
    'False',
    'packets of pods never pass the host, so its kube-proxy does nothing for their node ports and external addresses',
    'Set kubeProxyReplacement=true for the agent of the DPU.',
  )
}

/** Packets of pods, and not sockets, are translated: the sockets are on another kernel. */
export function socketLb({ health }: AgentView): Finding {
  const { features } = health['kube-proxy-replacement'] ?? {}
  if (features === undefined || features === null) return untold()
  if (features.socketLB?.enabled !== true) return ok('off: packets are translated')
  if (features.bpfSocketLBHostnsOnly === true) return ok('for sockets of the DPU only')
  return fail(
    'for all sockets',
    "sockets of pods are on the host's kernel: their packets to a ClusterIP are not translated at all",
    'Set socketLB.hostNamespaceOnly=true for the agent of the DPU.',
  )
}

/** Encryption between nodes, as far as the agent tells. */
export function encryption({ health }: AgentView): Finding {
  const { mode, msg } = health.encryption ?? {}
  if ((mode ?? '') === '') return untold()
  if ((msg ?? '') === '') return ok(String(mode))
  return warn(String(mode), String(msg), 'See "offload ipsec status" and "cilium-dbg encrypt status" on the DPU.')
}

const untold = (): Finding => skipped('the agent does not tell')
