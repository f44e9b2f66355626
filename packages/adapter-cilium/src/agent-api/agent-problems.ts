import { OffloadError } from '@cni-offload/sdk'
import type { AgentConfig, AgentHealth } from '../api/schemas.ts'
import type { Expectations, Family } from './agent-info.ts'

/** IPAM modes in which the agent itself hands out addresses and nothing else has to be set up for each. */
export const IPAM_MODES: readonly string[] = ['cluster-pool', 'kubernetes', 'multi-pool', 'crd']

/** Part of an agent that can keep pods from being given to it. */
export type AgentPart = 'cilium' | 'kubernetes' | 'datapath' | 'chaining' | 'ipam' | 'families' | 'node' | 'device'

/** What keeps pods from being given to an agent. */
export interface AgentProblem {
  /** What of the agent it is about. */
  readonly part: AgentPart
  /** NOT_READY or INVALID_CONFIG, with the remedy. */
  readonly error: OffloadError
}

type Judge = (config: AgentConfig, health: AgentHealth, expected: Expectations) => OffloadError | undefined

/** The most basic first: it is what the others may follow from. */
const JUDGES: Readonly<Record<AgentPart, Judge>> = {
  cilium: (_, { cilium }) => (cilium?.state === 'Ok' ? undefined : notReady('cilium', cilium?.state, cilium?.msg)),
  kubernetes: (_, { kubernetes }) =>
    kubernetes?.state === 'Failure' ? notReady('kubernetes', kubernetes.state, kubernetes.msg) : undefined,
  datapath({ datapathMode }) {
    const mode = datapathMode ?? 'veth'
    if (mode === 'veth') return undefined
    return wrong(`datapathMode = ${mode}: the pods' devices must be veth`, 'Set bpf.datapathMode=veth for the agent of the DPU.')
  },
  chaining(_, health) {
    const mode = health['cni-chaining']?.mode ?? 'none'
    if (mode === 'none' || mode === '') return undefined
    return wrong(`cni-chaining-mode = ${mode}: pods would get their addresses from another CNI`, 'Set cni.chainingMode=none.')
  },
  ipam(config, _, { ownAddresses }) {
    const mode = config['ipam-mode'] ?? ''
    if (ownAddresses !== true || IPAM_MODES.includes(mode)) return undefined
    return wrong(
      `ipam-mode = ${mode}: one of ${IPAM_MODES.join(', ')} is needed`,
      'Use the option "mode: splice", in which cilium-cni takes the addresses.',
    )
  },
  families(config, _, { families }) {
    const enabled = enabledFamilies(config)
    if (enabled.length === 0) return wrong('neither IPv4 nor IPv6 is enabled', 'Set ipv4.enabled or ipv6.enabled.')
    if (families === undefined || families.toSorted().join() === enabled.join()) return undefined
    return wrong(
      `enabled are ${enabled.join(' and ')}, expected ${families.join(' and ')}`,
      'Make the option "families" and Cilium’s ipv4.enabled and ipv6.enabled agree.',
    )
  },
  node(_, health, { nodeName }) {
    const node = nodeOf(health)
    if (nodeName === undefined || node === undefined || node === nodeName) return undefined
    return wrong(
      `node = ${node}, expected ${nodeName}: the agent would not learn of the host's pods`,
      `Set K8S_NODE_NAME=${nodeName} in the agent's environment.`,
    )
  },
  device(_, health, { device }) {
    if (device !== 'port') return undefined
    const [release, routing] = [releaseOf(health), hostRoutingOf(health)]
    const minor = Number(/^1\.(\d+)\./.exec(release ?? '')?.[1] ?? Number.POSITIVE_INFINITY)
    if (minor > LAST_WITH_ANY_DEVICE)
      return wrong(
        `version = ${release ?? 'unknown'}: with "device: port" it has to be 1.${LAST_WITH_ANY_DEVICE} or older. Newer agents do not start ` +
          'while an endpoint has a device of another kind than their own',
        'Use the option "device: veth".',
      )
    if (routing === 'Legacy') return undefined
    return wrong(
      `routing.intra-host-routing-mode = ${routing ?? 'unknown'}: with "device: port" it has to be Legacy. BPF host routing hands packets to the ` +
        'peer of a device, and drops them without a word where there is none',
      'Use the option "device: veth", or set bpf.hostLegacyRouting=true.',
    )
  },
}

/** Minor number of the last release that restores endpoints over devices of any kind. */
const LAST_WITH_ANY_DEVICE = 19

/** All that keeps pods from being given to an agent, the most basic first. @param health - the whole answer: the brief one lacks most */
export function agentProblems(config: AgentConfig, health: AgentHealth, expected: Expectations): readonly AgentProblem[] {
  return (Object.keys(JUDGES) as AgentPart[]).flatMap((part) => {
    const error = JUDGES[part](config, health, expected)
    return error === undefined ? [] : [{ part, error }]
  })
}

/** Families in which pods get addresses. */
export function enabledFamilies({ addressing }: AgentConfig): Family[] {
  return (['ipv4', 'ipv6'] as const).filter((family) => addressing[family]?.enabled === true && (addressing[family].ip ?? '') !== '')
}

/** Release of the agent, `1.19.4`; undefined if it does not tell. */
export function releaseOf({ cilium }: AgentHealth): string | undefined {
  return /\d+\.\d+\.\d+/.exec(cilium?.msg ?? '')?.[0]
}

/** How packets get from device to device, `BPF` or `Legacy`; undefined if the agent does not tell. */
export function hostRoutingOf({ routing }: AgentHealth): string | undefined {
  return routing?.['intra-host-routing-mode'] ?? undefined
}

/** Node that the agent believes to be on, without the name of the cluster; undefined if it does not tell. */
export function nodeOf({ cluster }: AgentHealth): string | undefined {
  const self = cluster?.self ?? ''
  const node = self.slice(self.lastIndexOf('/') + 1)
  return node === '' ? undefined : node
}

const notReady = (part: string, state: string | null | undefined, msg: string | null | undefined): OffloadError =>
  new OffloadError('NOT_READY', `cilium-agent: ${part} is ${state ?? 'unknown'}${(msg ?? '') === '' ? '' : `: ${msg}`}`, {
    hint: 'Look at "cilium-dbg status" on the DPU.',
  })

const wrong = (what: string, hint: string): OffloadError => new OffloadError('INVALID_CONFIG', `cilium-agent: ${what}`, { hint })
