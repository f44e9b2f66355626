import type { Machine } from '@cni-offload/linux/machine'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import { agentDevices, agentGeneration, type AgentSdk, outOfTreeLoaded } from '../control-agent/generation.ts'
import { watchAgent } from '../control-agent/watch-agent.ts'
import { readInventory } from '../pci/inventory.ts'
import type { ControlPlane, ControlPlaneEvent } from './control-plane.ts'

/** Somebody else starts it at boot, after binding functions and reserving memory. */
const START_WITHIN_MS = 60_000

/** What a {@link WatchedAgent} is made of. */
export interface WatchedAgentDeps {
  /** The DPU. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/** What it watches. */
export interface WatchedAgentOptions {
  /** Unit of systemd that runs it. */
  readonly unit: string
  /** Its release; `auto` for the one that fits the firmware. */
  readonly sdk: AgentSdk | 'auto'
}

/** A control plane that somebody else runs: it is watched, never started or ended. */
export class WatchedAgent implements ControlPlane {
  readonly #deps: WatchedAgentDeps
  readonly #options: WatchedAgentOptions

  /** Nothing is looked at yet. */
  constructor(deps: WatchedAgentDeps, options: WatchedAgentOptions) {
    this.#deps = deps
    this.#options = options
  }

  async start(signal: AbortSignal): Promise<void> {
    for await (const event of this.events(deadline(signal, START_WITHIN_MS))) if (event.kind === 'ready') return
    signal.throwIfAborted()
    const { unit } = this.#options
    throw new OffloadError('NOT_READY', `no control agent was of use on the DPU within ${START_WITHIN_MS / 1000} s`, {
      hint: `Start its unit: systemctl start ${unit}; or leave it to this agent: controlAgent: { run: supervise }.`,
    })
  }

  async *events(signal: AbortSignal): AsyncIterable<ControlPlaneEvent> {
    const { machine } = this.#deps
    const { unit, sdk } = this.#options
    const generation = agentGeneration(agentDevices(await readInventory(machine), (await outOfTreeLoaded(machine)) ? true : undefined), sdk)
    for await (const event of watchAgent(this.#deps, { unit, generation }, signal)) {
      if (event.kind === 'lost') yield event
      else if (event.kind !== 'given-up') yield { kind: 'ready' }
    }
  }

  /** It is not ours to end. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
