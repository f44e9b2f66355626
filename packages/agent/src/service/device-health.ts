import { type Clock, type DeviceEvent, type DpuDevice, formatVfId, type Logger, OffloadError, type VfId } from '@cni-offload/sdk'

const RESTART_MS = 1000

/** What the hardware has said about itself so far: devices that are lost and functions that are ill. */
export class DeviceHealth implements AsyncDisposable {
  readonly #hardware: DpuDevice
  readonly #clock: Clock
  readonly #log: Logger
  readonly #stop = new AbortController()
  readonly #lost = new Map<string, string>()
  readonly #ill = new Map<string, string>()
  #watching: Promise<void> | undefined

  /** Knows of no trouble until {@link start} has heard of some. */
  constructor(hardware: DpuDevice, clock: Clock, log: Logger) {
    this.#hardware = hardware
    this.#clock = clock
    this.#log = log
  }

  /** Follows the hardware's events until disposed; a watch that breaks is taken up again. */
  start(): void {
    this.#watching ??= this.#watch(this.#stop.signal)
  }

  /** What is wrong with the hardware as a whole, undefined if nothing is. */
  get trouble(): string | undefined {
    for (const [device, reason] of this.#lost) return `device ${device} is lost: ${reason}`
    return undefined
  }

  /** @throws OffloadError LIMITED_CONNECTIVITY while a device is lost */
  assertReady(): void {
    if (this.trouble !== undefined)
      throw new OffloadError('LIMITED_CONNECTIVITY', this.trouble, { hint: 'Pods on this device have no network until it is back.' })
  }

  /** @throws OffloadError HARDWARE_FAILURE while the function or its device is out of order */
  assertUsable(vf: VfId): void {
    const reason = this.#lost.get(vf.device) ?? this.#ill.get(formatVfId(vf))
    if (reason !== undefined) throw new OffloadError('HARDWARE_FAILURE', `VF ${formatVfId(vf)} cannot be used: ${reason}`)
  }

  /** Ends the watch. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OffloadError('CANCELLED', 'the agent is stopping'))
    await this.#watching
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const event of this.#hardware.watch(signal)) this.#hear(event)
        if (!signal.aborted) this.#log.warn({ hardware: this.#hardware.name }, 'the watch of the hardware ended by itself')
      } catch (error) {
        if (!signal.aborted) this.#log.error({ hardware: this.#hardware.name, err: error }, 'the watch of the hardware failed')
      }
      await this.#clock.sleep(RESTART_MS, signal).catch(() => undefined)
    }
  }

  #hear(event: DeviceEvent): void {
    this.#log.info({ event }, 'hardware event')
    if (event.kind === 'device-lost') this.#lost.set(event.device, event.reason)
    else if (event.kind === 'device-back') this.#lost.delete(event.device)
    else if (event.health === 'unhealthy') this.#ill.set(formatVfId(event.vf), event.reason)
    else this.#ill.delete(formatVfId(event.vf))
  }
}
