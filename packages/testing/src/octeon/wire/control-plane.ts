import type { Clock } from '@cni-offload/sdk'
import { type AgentConfig, shippedConfig } from './agent-config.ts'

/** Told of resets of the PCI link. @param comesBack - whether an agent can set the link up again afterwards */
export type PerstListener = (comesBack: boolean) => void

/** What the host's drivers see of the control agent on the card: readiness, heartbeats, and answers. */
export class ControlPlane {
  readonly #clock: Clock
  readonly #changes = new Set<() => void>()
  readonly #perst = new Set<PerstListener>()
  #config: AgentConfig = shippedConfig()
  #firmwareReady = false
  #answering = false
  #steady = false
  #lastBeat: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#lastBeat = clock.monotonic()
  }

  /** The configuration of the agent that runs, or ran last. */
  get config(): AgentConfig {
    return this.#config
  }

  /** The word in the PCI configuration space that says so. It stays when the agent is killed. */
  get firmwareReady(): boolean {
    return this.#firmwareReady
  }

  /** Whether anybody answers what the drivers ask. */
  get answering(): boolean {
    return this.#answering
  }

  /** Whether heartbeats come without being counted one by one. */
  get steady(): boolean {
    return this.#steady
  }

  /** When the last heartbeat came, on the monotonic clock. */
  get lastBeat(): number {
    return this.#lastBeat
  }

  /** An agent runs whose heartbeats never fail, until {@link ControlPlane.agentEnded}: what most tests want. */
  runSteadily(config: AgentConfig = shippedConfig()): void {
    this.#steady = true
    this.agentStarted(config)
    this.setFirmwareReady(true)
  }

  /** An agent has read its configuration and answers. */
  agentStarted(config: AgentConfig): void {
    this.#config = config
    this.#answering = true
    this.#beat()
    this.#changed()
  }

  /** The agent tells the host whether it is ready. */
  setFirmwareReady(ready: boolean): void {
    this.#firmwareReady = ready
    this.#changed()
  }

  /** A heartbeat. */
  beat(): void {
    this.#beat()
    this.#changed()
  }

  /** The agent is gone, or does nothing any more. The readiness that it has told stays unless it has said otherwise before. */
  agentEnded(): void {
    if (this.#steady) this.#beat()
    this.#steady = false
    this.#answering = false
    this.#changed()
  }

  /**
   * The host resets the PCI link: agents hear of it. One that runs steadily gets over it at once.
   *
   * @param comesBack - false for a link that stays in reset for so long that an agent gives it up, and goes on for nothing
   */
  perst(comesBack: boolean = true): void {
    for (const listener of this.#perst) listener(comesBack)
    if (!this.#steady) return
    this.setFirmwareReady(false)
    if (comesBack) this.setFirmwareReady(true)
    else this.agentEnded()
  }

  /** Calls `listener` at each reset of the link. @returns how to end that */
  onPerst(listener: PerstListener): Disposable {
    this.#perst.add(listener)
    return { [Symbol.dispose]: () => void this.#perst.delete(listener) }
  }

  /** Resolves at the next change of anything here. Rejects with the signal's reason. */
  async changed(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    this.#changes.add(resolve)
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', abort)
      this.#changes.delete(resolve)
    }
  }

  #beat(): void {
    this.#lastBeat = this.#clock.monotonic()
  }

  #changed(): void {
    for (const wake of this.#changes) wake()
  }
}
