import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { type Found, FunctionNetdevs, type FunctionEnd, isEnd, searchEverywhere, type Whereabouts } from '@cni-offload/linux/function'
import { type Machine, pollUntil } from '@cni-offload/linux/machine'
import { bindDriver, driverOf, type PciDevice, readPciDevice, unbindDriver } from '@cni-offload/linux/pci'
import {
  type Clock,
  type DeviceEvent,
  formatVfId,
  type HostDevice,
  type Logger,
  type NetdevRef,
  OffloadError,
  type OpContext,
  UNKNOWN_MAC,
  type VfAdminSetting,
  type VfAdminSettings,
  type VfId,
  type VfSettings,
  type VirtualFunction,
} from '@cni-offload/sdk'
import { Limiter, refuseIfAborted } from '@cni-offload/sdk/runtime'
import { bringUp, type BringUpOptions } from './bring-up.ts'
import { VF_DRIVER, VF_MAX_MTU } from './drivers.ts'
import { FunctionAdmin } from './function-admin.ts'
import type { FunctionBook } from './function-book.ts'
import { Functions, type FunctionState } from './functions.ts'
import { LastResort } from './last-resort.ts'
import { macsOfPrograms } from './macs-of-programs.ts'
import { PfWatch } from './pf-watch.ts'

/** Sysfs and carriers of a card whose firmware died have no event for all that is looked at. */
const WATCH_EVERY_MS = 1_000

/** A driver asks the card before it makes an interface, and gives up within two seconds. */
const REBOUND_WITHIN_MS = 5_000

const LOOK_EVERY_MS = 50

/** What an {@link OcteonHost} is made of. */
export interface OcteonHostDeps {
  /** Machine that the card is plugged into. */
  readonly machine: Machine
  /** Kernel access; not disposed by the device. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** How functions were, on disk. */
  readonly book: FunctionBook
  /** Name of the card, the same on the DPU. */
  readonly device: string
  /** Namespace of the host: where free functions lie. */
  readonly netns: NetnsPath
  /** What is wanted of the card. */
  readonly options: BringUpOptions
  /** Whether its drivers may be loaded anew while no pod has a function, when nothing else brings a lost link back. */
  readonly mayReload: boolean
}

/**
 * The host half of an OCTEON. A function is known by its PCI address, and its interface by the function that the kernel says it is of, so
 * that no pod can pass another interface off as one. The first discovery brings the card up.
 */
export class OcteonHost implements HostDevice {
  readonly name: string = 'octeon'
  readonly specVersion = 'v1'
  readonly #deps: OcteonHostDeps
  readonly #functions: Functions
  readonly #netdevs: FunctionNetdevs
  readonly #admin: FunctionAdmin
  readonly #pfWatch: PfWatch
  readonly #lastResort: LastResort
  readonly #turns = new Limiter(1)
  #pf: string | undefined
  #up: { readonly functions: number; readonly admin: readonly VfAdminSetting[] } | undefined

  /** Nothing is touched before the first call. */
  constructor(deps: OcteonHostDeps) {
    this.#deps = deps
    const { machine, net, clock, log, book, device, netns: home } = deps
    this.#functions = new Functions({ machine, net, book, device, home })
    this.#netdevs = new FunctionNetdevs(net, home)
    this.#admin = new FunctionAdmin({ net, book, home, log })
    this.#pfWatch = new PfWatch({ machine, net, clock, log, home })
    this.#lastResort = new LastResort({ machine, clock, log })
  }

  async discover(ctx: OpContext): Promise<VirtualFunction[]> {
    refuseIfAborted(ctx.signal)
    const pf = await this.#ready(ctx.signal)
    const lost = await this.#pfWatch.trouble(pf.address)
    const admin = this.#up?.admin ?? []
    const states = await this.#functions.survey(pf)
    const macs = await macsOfPrograms(this.#deps, pf, states)
    return states.map((state) => {
      const { vf, address, numaNode, end, netdev, userspace, maxMtu, trouble } = state
      return {
        id: vf,
        pciAddress: address,
        pfPciAddress: pf.address,
        ...(netdev === undefined ? {} : { netdev }),
        ...(userspace === undefined ? {} : { userspace }),
        mac: end?.mac ?? macs.get(vf.index) ?? UNKNOWN_MAC,
        ...(numaNode === undefined ? {} : { numaNode }),
        health: (lost ?? trouble) === undefined ? 'healthy' : 'unhealthy',
        capabilities: { setMac: true, maxMtu, ...(admin.length === 0 ? {} : { admin }) },
      }
    })
  }

  async acquire(vf: VfId, want: VfSettings, ctx: OpContext): Promise<NetdevRef> {
    refuseIfAborted(ctx.signal)
    const pf = await this.#ready(ctx.signal)
    const end = await this.#functions.end(pf, vf)
    if (await this.#functions.isForPrograms(end.pciAddress ?? ''))
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `function ${formatVfId(vf)} (${end.pciAddress}) has no interface: its driver leaves it to programs`,
        {
          hint: `Bind it to ${VF_DRIVER} to have one.`,
        },
      )
    // A daemon that ended while it tried what can be set has left it so, and nobody has released the function since.
    await this.#admin.restore(pf, end)
    return await this.#netdevs.acquire(end, want, VF_MAX_MTU, ctx.signal)
  }

  async configure(vf: VfId, settings: VfAdminSettings, ctx: OpContext): Promise<void> {
    refuseIfAborted(ctx.signal)
    const pf = await this.#ready(ctx.signal)
    await this.#admin.configure(pf, await this.#functions.end(pf, vf), settings, this.#up?.admin ?? [])
  }

  async deviations(vf: VfId, settings: VfAdminSettings, ctx: OpContext): Promise<string[]> {
    refuseIfAborted(ctx.signal)
    const pf = await this.#ready(ctx.signal)
    return await this.#admin.deviations(pf, await this.#functions.end(pf, vf), settings)
  }

  async release(vf: VfId, from: Whereabouts, ctx: OpContext): Promise<void> {
    refuseIfAborted(ctx.signal)
    const pf = await this.#ready(ctx.signal)
    const end = await this.#functions.end(pf, vf)
    // A program, or a virtual machine, may have it still: whoever gave it to that takes it back.
    if (!(await this.#functions.isForPrograms(end.pciAddress ?? '')))
      await this.#netdevs.release(end, from, (signal) => this.#recover(end, signal), ctx.signal)
    // Not before it has left the pod, which could speak without what was enforced.
    await this.#admin.restore(pf, end)
  }

  /**
   * How the card is at first, and health of the card and of its functions whenever it changes; a lost card is tried to be brought back.
   */
  async *watch(signal: AbortSignal): AsyncIterable<DeviceEvent> {
    const { clock, device } = this.#deps
    const troubles = new Map<string, string | undefined>()
    let drivers: string | undefined
    let before: { readonly trouble: string | undefined } | undefined
    while (!signal.aborted) {
      const address = this.#pf
      if (address !== undefined) {
        const trouble = await this.#trouble(address)
        // Before anything is told: whoever hears of it looks later, so that no change in between is missed.
        const states = trouble === undefined ? await this.#states(address) : []
        if (signal.aborted) return
        // Whoever listens may have missed something, or could not make use of it: it is told how things are to begin with.
        if (trouble !== undefined && before?.trouble === undefined) yield { kind: 'device-lost', device, reason: trouble }
        // Which functions programs may have is told by nothing else.
        const now = states.length === 0 ? drivers : states.map(({ userspace }) => userspace).join()
        if (trouble === undefined && (before === undefined || before.trouble !== undefined || drivers !== now))
          yield { kind: 'device-back', device }
        drivers = now
        before = { trouble }
        yield* this.#changes(states, troubles)
        await this.#mend(address, trouble !== undefined, signal)
      }
      await clock.sleep(WATCH_EVERY_MS, signal).catch(() => undefined)
    }
  }

  *#changes(states: readonly FunctionState[], troubles: Map<string, string | undefined>): Iterable<DeviceEvent> {
    for (const { vf, trouble } of states) {
      const id = formatVfId(vf)
      const before = troubles.get(id)
      troubles.set(id, trouble)
      if (trouble !== undefined && before === undefined) yield { kind: 'vf-health', vf, health: 'unhealthy', reason: trouble }
      if (trouble === undefined && before !== undefined) yield { kind: 'vf-health', vf, health: 'healthy', reason: '' }
    }
  }

  async #states(address: string): Promise<readonly FunctionState[]> {
    const { log } = this.#deps
    try {
      return await this.#survey(address)
    } catch (error) {
      log.warn({ err: error, pf: address }, 'the functions of the card could not be looked at')
      return []
    }
  }

  async #survey(address: string): Promise<readonly FunctionState[]> {
    const pf = await readPciDevice(this.#deps.machine, address)
    return pf === undefined ? [] : await this.#functions.survey(pf)
  }

  /** Why the card is out of order; undefined if it is not. */
  async #trouble(address: string): Promise<string | undefined> {
    const trouble = await this.#pfWatch.trouble(address)
    if (trouble !== undefined) return trouble
    const pf = await readPciDevice(this.#deps.machine, address).catch(() => undefined)
    if (pf !== undefined && this.#isUp(pf)) return undefined
    this.#up = undefined
    return `${address} has lost its functions: its drivers were loaded anew`
  }

  /** A step towards a card that is in order. Never rejects. */
  async #mend(address: string, lost: boolean, signal: AbortSignal): Promise<void> {
    const { mayReload, log } = this.#deps
    if (mayReload && this.#lastResort.isDue(lost)) await this.#reload(address, signal)
    if (!lost || signal.aborted) return
    if (this.#up !== undefined) return await this.#pfWatch.recover(address)
    try {
      await this.#ready(signal)
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, pf: address }, 'the card could not be brought up again')
    }
  }

  /** Only while no pod, and nobody else, has a function; what cannot be looked at may be in use. */
  async #reload(address: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#deps
    try {
      const away = (await this.#survey(address)).filter((state) => state.away)
      if (away.length > 0) {
        this.#lastResort.putOff()
        return log.warn({ away: away.length }, 'the drivers are not loaded anew while functions of the card are in use')
      }
      this.#up = undefined
      await this.#lastResort.take(signal)
    } catch (error) {
      this.#lastResort.putOff()
      if (!signal.aborted) log.error({ err: error }, 'the drivers of the card could not be loaded anew')
    }
  }

  /** The card, brought up by one who asks at a time; a failure is for that caller only. */
  async #ready(signal: AbortSignal): Promise<PciDevice> {
    const { machine, net, clock, log, netns: home, options } = this.#deps
    const known = this.#pf === undefined ? undefined : await readPciDevice(machine, this.#pf)
    if (known !== undefined && this.#isUp(known)) return known
    if (this.#up !== undefined && known === undefined)
      throw new OffloadError('HARDWARE_FAILURE', `the card at ${this.#pf} is not on the PCI bus any more`, {
        hint: 'See dmesg; a rescan (/sys/bus/pci/rescan) or a reboot of this machine brings it back.',
      })
    using _turn = await this.#turns.acquire(signal)
    const now = this.#pf === undefined ? undefined : await readPciDevice(machine, this.#pf)
    // Whoever had the turn before has done it, unless it failed.
    if (now !== undefined && this.#isUp(now)) return now
    const pf = await bringUp({ machine, net, clock, log, home }, options, signal)
    this.#pf = pf.address
    this.#up = { functions: pf.virtfns.length, admin: await this.#admin.probe(pf, () => this.#functions.survey(pf)) }
    return pf
  }

  /** Whether a card is as it was brought up: somebody may have loaded its drivers anew, and then it has no functions any more. */
  #isUp({ driver, virtfns }: PciDevice): boolean {
    return driver !== undefined && virtfns.length === this.#up?.functions
  }

  /**
   * A function that is neither where it should be nor at home: it is in another named namespace, or in one that has no name, or has been
   * destroyed with one. Its driver makes the interface anew when it is bound again, which takes it from wherever it is.
   */
  async #recover(end: FunctionEnd, signal: AbortSignal): Promise<Found> {
    const { machine, net, netns: home, clock, log } = this.#deps
    const address = end.pciAddress ?? ''
    const itself = (await searchEverywhere(net, [home])).find(({ link }) => isEnd(link, end))
    if (itself !== undefined) return itself
    refuseIfAborted(signal)
    const driver = (await driverOf(machine, address)) ?? VF_DRIVER
    if (driver !== VF_DRIVER)
      throw new OffloadError('HARDWARE_FAILURE', `function ${formatVfId(end.vf)} (${address}) has the driver ${driver}, not ${VF_DRIVER}`, {
        hint: `Somebody uses it in another way, a virtual machine perhaps. Bind it to ${VF_DRIVER} when that is over.`,
      })
    log.warn({ vf: formatVfId(end.vf), address }, 'the interface of a function cannot be found: its driver is bound anew')
    await unbindDriver(machine, address)
    await bindDriver(machine, address, driver)
    const look = async (): Promise<string | undefined> => (await readPciDevice(machine, address))?.netdevs?.[0]
    const patience = { clock, signal, everyMs: LOOK_EVERY_MS, withinMs: REBOUND_WITHIN_MS }
    const name = await pollUntil(look, patience, `the interface of ${address}`)
    const link = name === undefined ? undefined : await net.link(home, name)
    if (link === undefined)
      throw new OffloadError('HARDWARE_FAILURE', `function ${formatVfId(end.vf)} (${address}): ${driver} made no new interface for it`, {
        hint: 'The firmware of the card does not answer: `offload doctor` on the DPU says what is wrong there.',
      })
    return { netns: home, link }
  }
}
