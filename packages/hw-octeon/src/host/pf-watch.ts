import type { Link, LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { Machine } from '@cni-offload/linux/machine'
import { readPciDevice } from '@cni-offload/linux/pci'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { PF_DRIVER } from './drivers.ts'

/** Between two openings of a link that has no carrier: an interface that is opened asks the firmware, which may take the driver two seconds. */
const REOPEN_EVERY_MS = 5_000

/** With what a physical function is watched. */
export interface PfWatchDeps {
  /** Machine that the card is plugged into. */
  readonly machine: Machine
  /** Kernel access. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Namespace of the host. */
  readonly home: NetnsPath
}

/**
 * Whether the control plane of a card lives, as the host sees it. Its driver counts heartbeats of the firmware; when they fail to come, the driver out
 * of the tree takes the carrier from the physical function, that of Linux takes it down. Neither brings it back by itself.
 *
 * @see Linux, drivers/net/ethernet/marvell/octeon_ep/octep_main.c, octep_hb_timeout_task
 */
export class PfWatch {
  readonly #deps: PfWatchDeps
  #opened = Number.NEGATIVE_INFINITY

  /** Nothing is looked at yet. */
  constructor(deps: PfWatchDeps) {
    this.#deps = deps
  }

  /** Why the card is out of order; undefined if it is not. Never rejects. */
  async trouble(address: string): Promise<string | undefined> {
    try {
      const link = await this.#link(address)
      if (typeof link === 'string') return link
      if (!link.up) return `${link.name} is down: heartbeats of the firmware failed to come, or somebody has taken it down`
      return link.carrier ? undefined : `${link.name} has no carrier: heartbeats of the firmware failed to come`
    } catch (error) {
      return OffloadError.from(error).message
    }
  }

  /**
   * A step towards opening the physical function's interface anew, which asks the firmware: the only way to a carrier once it was lost. One that
   * is open without carrier is closed, now and then, and one that is closed is opened. Never rejects: that the firmware does not answer is
   * what is expected.
   */
  async recover(address: string): Promise<void> {
    const { net, clock, log, home } = this.#deps
    try {
      const link = await this.#link(address)
      if (typeof link === 'string') return
      if (link.up && clock.monotonic() - this.#opened < REOPEN_EVERY_MS) return
      await net.apply(home, [{ op: 'link.set', dev: link.name, up: !link.up }])
      if (!link.up) this.#opened = clock.monotonic()
    } catch (error) {
      log.debug({ err: error, pf: address }, 'the physical function could not be opened anew')
    }
  }

  async #link(address: string): Promise<Link | string> {
    const { machine, net, home } = this.#deps
    const pf = await readPciDevice(machine, address)
    if (pf === undefined) return `the card at ${address} is not on the PCI bus`
    if (pf.driver === undefined) return `${address} has no driver: the firmware of the card was not ready when ${PF_DRIVER} asked for it`
    const [name] = pf.netdevs ?? []
    if (name === undefined) return `${address} has no interface in the host's namespace: the firmware of the card is not ready`
    return (await net.link(home, name)) ?? `${address} has lost its interface ${name}`
  }
}
