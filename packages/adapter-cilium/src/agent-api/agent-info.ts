import { type Clock, OffloadError, type OpContext } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { CiliumClient } from '../api/client.ts'
import { type Caller, NO_PATIENCE } from '../api/patience.ts'
import type { AgentConfig, AgentHealth } from '../api/schemas.ts'
import type { CiliumOptions, DeviceKind } from '../options.ts'
import { agentProblems, enabledFamilies, hostRoutingOf, IPAM_MODES, releaseOf } from './agent-problems.ts'
import { podSysctls } from './pod-sysctls.ts'

/** Address family. */
export type Family = 'ipv4' | 'ipv6'

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']

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
  /** Kernel settings of a pod, by dotted name. */
  readonly podSysctls: Readonly<Record<string, string>>
  /** What traffic between nodes is encrypted with: `IPsec`, `Wireguard`, `Disabled`, …; undefined if it does not say. */
  readonly encryption: string | undefined
  /** How packets get from device to device: `BPF`, or `Legacy` by the network stack; undefined if it does not say. */
  readonly hostRouting: string | undefined
  /** Whether the agent itself hands out the pods' addresses, and nothing else has to be set up for each. */
  readonly ownAddresses: boolean
  /** Whether it has more than one pool of addresses. */
  readonly pools: boolean
}

/** What the agent is expected to be. */
export interface Expectations {
  /** Node that it has to believe to be on. */
  readonly nodeName?: string | undefined
  /** Families that it has to have enabled, no more and no less. */
  readonly families?: readonly Family[] | undefined
  /** Whether it has to hand out the pods' addresses itself. */
  readonly ownAddresses?: boolean | undefined
  /** What its endpoints will be made over; nothing is expected for `veth`. */
  readonly device?: DeviceKind | undefined
}

/** What the options ask of the agent. */
export function expectationsOf(options: CiliumOptions): Expectations {
  const { mode, nodeName, families } = options
  return { nodeName, families, ownAddresses: mode === 'agent-api', ...(mode === 'agent-api' ? { device: options.device } : {}) }
}

/** One that is in order answers in milliseconds; whatever comes later waits for it as long as it may take. */
const GREET_WITHIN_MS = 3_000

/** How long what was learned of an agent holds, milliseconds: it may have been restarted with another configuration. */
const FRESH_MS = 10_000

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

  /** Families of pods' addresses as they were when the agent was asked last; both until then. */
  get families(): readonly Family[] {
    const routers = this.last?.routers
    return FAMILIES.filter((family) => routers === undefined || routers[family] !== undefined)
  }

  /** Says in the log what the agent is, if it is there and answers soon: one that hangs must not hold up the start. */
  async greet(ctx: OpContext, withinMs: number = GREET_WITHIN_MS): Promise<void> {
    await this.inspect({ ...ctx, signal: deadline(ctx.signal, withinMs), patience: NO_PATIENCE })
      .then((info) => ctx.log.info({ ...info }, 'cilium-agent is there'))
      .catch((error: unknown) => ctx.log.warn({ error }, 'cilium-agent cannot be used yet'))
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
    const [problem] = agentProblems(config, health, this.#expected)
    if (problem !== undefined) throw problem.error
    const info = describeAgent(config, health)
    this.#last = { at: this.#clock.monotonic(), info }
    return info
  }

  /** Asks whether a pod could be given to the agent now. @throws OffloadError NOT_READY with what is wrong and what to do */
  async requireUsable(ctx: OpContext): Promise<void> {
    try {
      await this.inspect({ ...ctx, patience: NO_PATIENCE })
    } catch (error) {
      const failure = OffloadError.from(error)
      if (failure.code === 'NOT_READY' || ctx.signal.aborted) throw failure
      throw new OffloadError('NOT_READY', failure.message, {
        cause: failure,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      })
    }
  }
}

/** What an agent is, by what it says of itself. */
export function describeAgent(config: AgentConfig, health: AgentHealth): AgentInfo {
  const routers = Object.fromEntries(enabledFamilies(config).map((family) => [family, config.addressing[family]?.ip ?? '']))
  return {
    version: releaseOf(health),
    routers,
    deviceMtu: config.deviceMTU,
    routeMtu: config.routeMTU ?? 0,
    podSysctls: podSysctls(config),
    encryption: health.encryption?.mode ?? undefined,
    hostRouting: hostRoutingOf(health),
    ownAddresses: IPAM_MODES.includes(config['ipam-mode'] ?? ''),
    pools: config['ipam-mode'] === 'multi-pool',
  }
}
