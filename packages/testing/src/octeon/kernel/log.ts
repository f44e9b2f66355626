import type { Clock } from '@cni-offload/sdk'

/** Seconds that the machine is up when its log begins: a kernel logs nothing of a driver at 0. */
const BOOT_SECONDS = 4

/** The kernel's log, as `dmesg` shows it. */
export class KernelLog {
  readonly #clock: Clock
  #booted: number
  #lines: { readonly seconds: number; readonly text: string }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
    this.#booted = clock.monotonic()
  }

  /** Adds a line. */
  add(text: string): void {
    this.#lines.push({ seconds: BOOT_SECONDS + (this.#clock.monotonic() - this.#booted) / 1_000, text })
  }

  /** Adds a line of a driver about a PCI function. */
  of(driver: string, address: string, text: string): void {
    this.add(`${driver} ${address}: ${text}`)
  }

  /** Everything since the boot, or since it was cleared. */
  text({ times = true }: { readonly times?: boolean } = {}): string {
    return this.#lines.map(({ seconds, text }) => `${times ? `[${seconds.toFixed(6).padStart(12)}] ` : ''}${text}\n`).join('')
  }

  /** Forgets what was logged. */
  clear(): void {
    this.#lines = []
  }

  /** Begins anew: the machine boots. */
  restart(): void {
    this.clear()
    this.#booted = this.#clock.monotonic()
  }
}
