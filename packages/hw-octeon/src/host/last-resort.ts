import { errnoOf, type Machine } from '@cni-offload/linux/machine'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { PF_DRIVER, VF_DRIVER } from './drivers.ts'

/** Three times as long as the host waits for heartbeats: a control plane that restarts is back by then. */
const LOST_FOR_MS = 60_000

/** A card whose firmware is dead is not brought back by trying more often. */
const AGAIN_AFTER_MS = 300_000

/** With what drivers are reloaded. */
export interface LastResortDeps {
  /** Machine that the card is plugged into. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/**
 * Loads the drivers of the card anew when nothing else has brought a lost link back. It removes all virtual functions, so it has to be allowed,
 * and is left alone while any of them is away from the host.
 */
export class LastResort {
  readonly #deps: LastResortDeps
  #lostSince: number | undefined
  #tried = Number.NEGATIVE_INFINITY

  /** Nothing is done yet. */
  constructor(deps: LastResortDeps) {
    this.#deps = deps
  }

  /** Notes how the card is. @returns whether it is time for the last resort */
  isDue(lost: boolean): boolean {
    const now = this.#deps.clock.monotonic()
    this.#lostSince = lost ? (this.#lostSince ?? now) : undefined
    return this.#lostSince !== undefined && now - this.#lostSince >= LOST_FOR_MS && now - this.#tried >= AGAIN_AFTER_MS
  }

  /** It cannot be taken now: not again before some time has passed. */
  putOff(): void {
    this.#tried = this.#deps.clock.monotonic()
  }

  /** Unloads and loads both drivers. @throws OffloadError HARDWARE_FAILURE if one of them could not be loaded again; CANCELLED */
  async take(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    this.#tried = clock.monotonic()
    log.warn({ drivers: [PF_DRIVER, VF_DRIVER] }, 'the link of the card is lost for good: its drivers are loaded anew')
    for (const driver of [VF_DRIVER, PF_DRIVER]) await this.#modprobe(['modprobe', '-r', driver], signal)
    for (const driver of [PF_DRIVER, VF_DRIVER]) await this.#modprobe(['modprobe', driver], signal)
  }

  async #modprobe(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
    const command = argv.join(' ')
    const outcome = await this.#deps.machine.run(argv, signal).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error
      throw new OffloadError('HARDWARE_FAILURE', `${command}: there is no such command`, { cause: error, hint: 'Install kmod.' })
    })
    if (outcome.exitCode !== 0) throw new OffloadError('HARDWARE_FAILURE', `${command}: ${outcome.stderr.trim()}`)
  }
}
