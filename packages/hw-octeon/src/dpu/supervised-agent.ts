import { basename, dirname } from 'node:path'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { bindVfio } from '@cni-offload/linux/pci'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { parseAgentConfig } from '../cfg/check.ts'
import { shortestWindowMs } from '../cfg/model.ts'
import { agentCommand } from '../control-agent/command-line.ts'
import { EventHub } from '../control-agent/events.ts'
import { agentDevices, agentGeneration, type AgentSdk, outOfTreeLoaded } from '../control-agent/generation.ts'
import { AgentSupervisor } from '../control-agent/supervisor.ts'
import { type OcteonInventory, readInventory } from '../pci/inventory.ts'
import { agentConfigPath } from '../setup/wish.ts'
import type { ControlPlane, ControlPlaneEvent } from './control-plane.ts'

const STDBUF = '/usr/bin/stdbuf'

/** What a {@link SupervisedAgent} is made of. */
export interface SupervisedAgentDeps {
  /** The DPU: its functions and files. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Makes what the agent needs, if it is not there yet. */
  readonly prepare?: (inventory: OcteonInventory, signal: AbortSignal) => Promise<void>
}

/** What it runs. */
export interface SupervisedAgentOptions {
  /** The program, an absolute path. */
  readonly binary: string
  /** Its configuration, an absolute path; undefined for the one of the chip. */
  readonly cfg?: string | undefined
  /** Its release; `auto` for the one that fits the firmware. */
  readonly sdk: AgentSdk | 'auto'
  /** File that notes its process. */
  readonly pidFile: string
}

/** A control plane that is a child of this process: `octep_cp_agent`, kept alive. */
export class SupervisedAgent implements ControlPlane {
  readonly #deps: SupervisedAgentDeps
  readonly #options: SupervisedAgentOptions
  readonly #hub = new EventHub<ControlPlaneEvent>()
  #now: ControlPlaneEvent = { kind: 'lost', reason: 'the control agent was not started yet' }
  #supervisor: AgentSupervisor | undefined
  #following: Promise<void> | undefined

  /** Nothing is started yet. */
  constructor(deps: SupervisedAgentDeps, options: SupervisedAgentOptions) {
    this.#deps = deps
    this.#options = options
  }

  async start(signal: AbortSignal): Promise<void> {
    const { machine, clock, log, prepare } = this.#deps
    const { binary, sdk, pidFile } = this.#options
    const inventory = await readInventory(machine)
    const cfg = this.#options.cfg ?? agentConfigPath(inventory)
    const generation = agentGeneration(agentDevices(inventory, (await outOfTreeLoaded(machine)) ? true : undefined), sdk)
    await prepare?.(inventory, signal)
    const config = parseAgentConfig(await this.#configuration(cfg), cfg)
    const windowMs = shortestWindowMs(config)
    // Without any it is never of use, which its record says.
    const functions = Math.max(1, config.pems.flatMap(({ pfs }) => pfs).length)
    // Without it half of what the agent says comes in blocks, and that it hangs after a reset of the host comes far too late.
    const stdbuf = (await localMachine().list(dirname(STDBUF))).includes(basename(STDBUF)) ? STDBUF : undefined
    const argv = agentCommand({ generation, cfg, binary, ...(stdbuf === undefined ? {} : { stdbuf }) })
    log.info({ sdk: generation.sdk, command: argv.join(' ') }, 'the control agent is started')
    const rebind = async (): Promise<void> => {
      for (const address of generation.vfio) await bindVfio(machine, address)
    }
    const options = { argv, pidFile, functions, ...(windowMs === undefined ? {} : { windowMs }) }
    const supervisor = AgentSupervisor.start({ clock, log, rebind }, options, signal)
    this.#supervisor = supervisor
    this.#following = this.#follow(supervisor, signal)
    await supervisor.ready(signal)
    this.#is({ kind: 'ready' })
  }

  async *events(signal: AbortSignal): AsyncIterable<ControlPlaneEvent> {
    // Listening begins before the state is told: what happens in between is heard.
    const events = this.#hub.events(signal)
    yield this.#now
    yield* events
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#supervisor?.[Symbol.asyncDispose]()
    await this.#following
    this.#hub.close()
  }

  async #follow(supervisor: AgentSupervisor, signal: AbortSignal): Promise<void> {
    for await (const event of supervisor.events(signal)) {
      if (event.kind === 'lost') this.#is(event)
      else if (event.kind === 'given-up') this.#is({ kind: 'lost', reason: event.failure.message })
      else this.#is({ kind: 'ready' })
    }
  }

  #is(event: ControlPlaneEvent): void {
    if (event.kind === 'ready' && this.#now.kind === 'ready') return
    this.#now = event
    this.#hub.emit(event)
  }

  async #configuration(cfg: string): Promise<string> {
    return await this.#deps.machine.read(cfg).catch((error: unknown) => {
      const failure = OffloadError.from(error, 'INVALID_CONFIG', `configuration ${cfg} of the control agent`)
      throw new OffloadError('INVALID_CONFIG', failure.message, {
        cause: error,
        hint: '`offload octeon cfg` makes one for this node.',
      })
    })
  }
}
