import type { AgentConfig } from '../api/schemas.ts'

/** What cilium-cni starts to look for a connection's MTU with, by RFC 4821, and what it never goes below. */
const PROBING = { 'net.ipv4.tcp_base_mss': '1024', 'net.ipv4.tcp_mtu_probe_floor': '48' } as const

/**
 * Kernel settings that cilium-cni makes in the namespace of a pod, by dotted name: it takes them from the agent's configuration. All of
 * them act on the pod's own sockets, for IPv6 too, so the pod's host has to make them.
 */
export function podSysctls(config: AgentConfig): Readonly<Record<string, string>> {
  const ports = config.ipLocalReservedPorts ?? ''
  const probing = config.packetizationLayerPMTUDMode ?? ''
  return {
    ...(ports === '' ? {} : { 'net.ipv4.ip_local_reserved_ports': ports }),
    ...(probing === '' ? {} : { ...PROBING, 'net.ipv4.tcp_mtu_probing': probing }),
    // BBR for the node alone: a pod's namespace would inherit it, and without the node's queueing it must not be used.
    ...(config.enableBBRHostNamespaceOnly === true ? { 'net.ipv4.tcp_congestion_control': 'cubic' } : {}),
  }
}
