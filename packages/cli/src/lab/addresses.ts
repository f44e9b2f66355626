/** Addresses that are the same in every node of every lab. */
export interface AddressPlan {
  /** Link between a host and its DPU over the PF. */
  readonly pf: { readonly host: string; readonly agent: string; readonly prefix: number }
  /** Port of every agent. */
  readonly agentPort: number
  /** Addresses of the metrics of host daemon and agent, each on loopback of its own namespace. */
  readonly metrics: { readonly host: string; readonly agent: string }
}

/**
 * The address plan of a lab. Everything lies in namespaces of the lab's own, so that the same plan serves any number of
 * labs on one machine.
 */
export const ADDRESSES: AddressPlan = {
  pf: { host: '192.168.100.1', agent: '192.168.100.2', prefix: 24 },
  agentPort: 8000,
  metrics: { host: '127.0.0.1:9401', agent: '127.0.0.1:9402' },
}

/** What a pool of pod addresses looks like on one node. */
export interface PodSubnet {
  /** Prefix of the node's pods. */
  readonly subnet: string
  /** Address of the bridge on the DPU. */
  readonly gateway: string
  /** First address that a pod may get. */
  readonly rangeStart: string
  /** Last address that a pod may get. */
  readonly rangeEnd: string
}

/** Underlay addresses of a node's DPU. */
export function underlayAddresses(node: number): { readonly ipv4: string; readonly ipv6: string } {
  return { ipv4: `172.30.0.${node}`, ipv6: `fd30::${node.toString(16)}` }
}

/**
 * Pod subnets of a node, both families.
 *
 * @param node - number of the node, from 1
 * @param pool - how many addresses pods may get, 1–253
 * @param network - number of the network, 0 for the first one
 */
export function podSubnets(node: number, pool: number, network = 0): { readonly ipv4: PodSubnet; readonly ipv6: PodSubnet } {
  const last = pool + 1
  const v4 = `10.${244 + network}.${node}`
  const v6 = `fd00:${244 + network}:${node.toString(16)}::`
  return {
    ipv4: {
      subnet: `${v4}.0/24`,
      gateway: `${v4}.1`,
      rangeStart: `${v4}.2`,
      rangeEnd: `${v4}.${last}`,
    },
    ipv6: { subnet: `${v6}/64`, gateway: `${v6}1`, rangeStart: `${v6}2`, rangeEnd: `${v6}${last.toString(16)}` },
  }
}

/** What the pods of a network have in common on all nodes. @param network - number of the network, 0 for the first one */
export function networkPrefixes(network: number): { readonly ipv4: string; readonly ipv6: string } {
  return { ipv4: `10.${244 + network}.0.0/16`, ipv6: `fd00:${244 + network}::/32` }
}
