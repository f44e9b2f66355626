import { type Clock, OffloadError } from '@cni-offload/sdk'
import type { CiliumClient } from '../api/client.ts'
import type { Caller } from '../api/patience.ts'
import type { AgentConfig, AgentHealth } from '../api/schemas.ts'

/** Address family. */
export type Family = 'ipv4' | 'ipv6'

/** What is known of the agent that runs. */
export interface AgentInfo {
  /** Release, `1.19.4`; undefined if it does not say. */
  readonly version: string | undefined
  /** The pods' gateway in each family that is enabled. */
  readonly routers: { readonly [F in Family]?: string }
  /** MTU of pods' interfaces, bytes. */
  readonly deviceMtu: number
  /** MTU of pods' default routes, bytes; 0 for none. */
  readonly routeMtu: number
  /** Ports that pods must not use of their own accord; empty for none. */
  readonly reservedPorts: string
  /** What traffic between nodes is encrypted with: `IPsec`, `Wireguard`, `Disabled`, …; undefined if it does not say. */
  readonly encryption: string | undefined
}

/** What the agent is expected to be. */
export interface Expectations {
  /** Node that it has to believe to be on. */
  readonly nodeName?: string | undefined
  /** Families that it has to have enabled, no more and no less. */
  readonly families?: readonly Family[] | undefined
}

/** How long what was learned of an agent holds, milliseconds: it may have been restarted with another configuration. */
const FRESH_MS = 10_000

/** IPAM modes in which the agent itself hands out addresses and nothing else has to be set up for each. */
const IPAM_MODES = ['cluster-pool', 'kubernetes', 'multi-pool', 'crd']

/** Asks the agent what it is, and whether it is one that pods can be given to. */
export class AgentInspector {
  readonly #client: CiliumClient
  readonly #clock: Clock
  readonly #expected: Expectations
  #last: { readonly at: number; readonly info: AgentInfo } | undefined

  /** Asks nothing yet. */
  constructor(client: CiliumClient, clock: Clock, expected: Expectations) {
    this.#client = client
    this.#clock = clock
    this.#expected = expected
  }

  /** What was learned last, however long ago. */
  get last(): AgentInfo | undefined {
    return this.#last?.info
  }

  /**
   * What the agent is; it is asked again after 10 s.
   *
   * @throws OffloadError NOT_READY when it is not in order; INVALID_CONFIG that names what is configured in a way that does not work
   */
  async info(caller: Caller): Promise<AgentInfo> {
    if (this.#last !== undefined && this.#clock.monotonic() - this.#last.at < FRESH_MS) return this.#last.info
    return await this.inspect(caller)
  }

  /** As {@link info}, but asks in any case. */
  async inspect(caller: Caller): Promise<AgentInfo> {
    const [config, health] = [await this.#client.config(caller), await this.#client.health(caller, false)]
    const problem = unusable(config, health, this.#expected)
    if (problem !== undefined) throw problem
    const info = describe(config, health)
    this.#last = { at: this.#clock.monotonic(), info }
    return info
  }
}

function describe(config: AgentConfig, health: AgentHealth): AgentInfo {
  const routers = Object.fromEntries(enabledFamilies(config).map((family) => [family, config.addressing[family]?.ip ?? '']))
  return {
    version: /\d+\.\d+\.\d+/.exec(health.cilium?.msg ?? '')?.[0],
    routers,
    deviceMtu: config.deviceMTU,
    routeMtu: config.routeMTU ?? 0,
    reservedPorts: config.ipLocalReservedPorts ?? '',
    encryption: health.encryption?.mode ?? undefined,
  }
}

function enabledFamilies({ addressing }: AgentConfig): Family[] {
  return (['ipv4', 'ipv6'] as const).filter((family) => addressing[family]?.enabled === true && (addressing[family].ip ?? '') !== '')
}

function unusable(config: AgentConfig, health: AgentHealth, { nodeName, families }: Expectations): OffloadError | undefined {
  const { cilium, kubernetes } = health
  if (cilium?.state !== 'Ok') return notReady('cilium', cilium?.state, cilium?.msg)
  if (kubernetes?.state === 'Failure') return notReady('kubernetes', kubernetes.state, kubernetes.msg)
  const mode = config.datapathMode ?? 'veth'
  if (mode !== 'veth')
    return wrong(`datapathMode = ${mode}: the pods' devices must be veth`, 'Set bpf.datapathMode=veth for the agent of the DPU.')
  const chaining = health['cni-chaining']?.mode ?? 'none'
  if (chaining !== 'none' && chaining !== '')
    return wrong(`cni-chaining-mode = ${chaining}: pods would get their addresses from another CNI`, 'Set cni.chainingMode=none.')
  const ipam = config['ipam-mode'] ?? ''
  if (!IPAM_MODES.includes(ipam))
    return wrong(
      `ipam-mode = ${ipam}: one of ${IPAM_MODES.join(', ')} is needed`,
      'Use the adapter "delegate" with cilium-cni for this mode.',
    )
  const enabled = enabledFamilies(config)
  if (enabled.length === 0) return wrong('neither IPv4 nor IPv6 is enabled', 'Set ipv4.enabled or ipv6.enabled.')
  if (families !== undefined && families.toSorted().join() !== enabled.join())
    return wrong(
      `enabled are ${enabled.join(' and ')}, expected ${families.join(' and ')}`,
      'Make the option "families" and Cilium’s ipv4.enabled and ipv6.enabled agree.',
    )
  const self = health.cluster?.self ?? ''
  const node = self.slice(self.lastIndexOf('/') + 1)
  if (nodeName !== undefined && node !== '' && node !== nodeName)
    return wrong(
      `node = ${node}, expected ${nodeName}: the agent would not learn of the host's pods`,
      `Set K8S_NODE_NAME=${nodeName} in the agent's environment.`,
    )
  return undefined
}

const notReady = (part: string, state: string | null | undefined, msg: string | null | undefined): OffloadError =>
  new OffloadError('NOT_READY', `cilium-agent: ${part} is ${state ?? 'unknown'}${(msg ?? '') === '' ? '' : `: ${msg}`}`, {
    hint: 'Look at "cilium-dbg status" on the DPU.',
  })

const wrong = (what: string, hint: string): OffloadError => new OffloadError('INVALID_CONFIG', `cilium-agent: ${what}`, { hint })
