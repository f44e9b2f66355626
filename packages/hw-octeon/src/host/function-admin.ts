import type { LinuxNet, NetnsPath, VfAdmin } from '@cni-offload/linux'
import {
  type FunctionEnd,
  pickVfSettings,
  probeVfSettings,
  readVf,
  setVfAndReadBack,
  unmetVfSettings,
  type VfPlace,
} from '@cni-offload/linux/function'
import type { PciDevice } from '@cni-offload/linux/pci'
import {
  askedVfSettings,
  formatVfId,
  type Logger,
  OffloadError,
  type VfAdminSetting,
  type VfAdminSettings,
  type VfId,
} from '@cni-offload/sdk'
import type { FunctionBook } from './function-book.ts'
import type { FunctionState } from './functions.ts'

/**
 * What is tried. Not the MAC address: the driver of Linux has no way back from one that the physical function has set, and refuses the VF any
 * other from then on; the driver out of the tree tells of one that the VF never gets. A function gets its address by its own interface.
 *
 * @see Linux, drivers/net/ethernet/marvell/octeon_ep/octep_main.c, octep_set_vf_mac, and octep_pfvf_mbox.c, OCTEON_PFVF_FLAG_MAC_SET_BY_PF
 */
const TRIED: readonly VfAdminSetting[] = ['vlan', 'rate', 'spoofCheck', 'trust', 'linkState']

/** The function whose settings are meant; its interface does not matter. */
type OwnEnd = Pick<FunctionEnd, 'vf' | 'pciAddress'>

/** With what {@link FunctionAdmin} works. */
export interface FunctionAdminDeps {
  /** Kernel access. */
  readonly net: LinuxNet
  /** How functions were. */
  readonly book: FunctionBook
  /** Namespace of the host. */
  readonly home: NetnsPath
  /** Log. */
  readonly log: Logger
}

/**
 * What the physical function makes of the virtual ones, whatever pods do with those. What it was before the first change stands in the book
 * before anything is changed, so that it comes back whenever the daemon ends in between.
 */
export class FunctionAdmin {
  readonly #deps: FunctionAdminDeps

  /** Nothing is touched yet. */
  constructor(deps: FunctionAdminDeps) {
    this.#deps = deps
  }

  /**
   * What the driver can really make of the functions, tried on one that nobody uses; where there is none, what was seen before. Only while
   * nobody can acquire a function. Never rejects.
   *
   * @param survey - looks at all functions
   */
  async probe(pf: PciDevice, survey: () => Promise<readonly FunctionState[]>): Promise<readonly VfAdminSetting[]> {
    const { book, log } = this.#deps
    try {
      if (!(await this.#tells(pf))) return []
      const free = await this.#unused(await survey())
      if (free === undefined) return book.admin ?? []
      const place = this.#place(pf, free.vf)
      await book.willChange(free.address, pickVfSettings(await readVf(place), TRIED))
      const outcomes = await probeVfSettings(place, TRIED)
      await book.isAsBefore(free.address)
      const made = TRIED.filter((setting) => outcomes.get(setting) === 'set')
      await book.noteAdmin(made)
      log.info({ pf: pf.address, made, not: Object.fromEntries([...outcomes].filter(([, what]) => what !== 'set')) }, 'settings of VFs')
      return made
    } catch (error) {
      log.error(
        { err: error, pf: pf.address },
        'what the physical function makes of settings of VFs could not be tried: it is asked for none',
      )
      return []
    }
  }

  /**
   * Has settings made, and reads them back.
   *
   * @param admin - what can be made
   * @throws OffloadError HARDWARE_FAILURE, IO_FAILURE
   */
  async configure(pf: PciDevice, end: OwnEnd, settings: VfAdminSettings, admin: readonly VfAdminSetting[]): Promise<void> {
    const beyond = askedVfSettings(settings).filter((setting) => !admin.includes(setting))
    if (beyond.length > 0)
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `${this.#name(end)}: the driver of ${pf.address} does not make ${beyond.join(', ')}; it makes ${admin.join(', ') || 'nothing'}`,
        { hint: 'Enforce it on the DPU.' },
      )
    const place = this.#place(pf, end.vf)
    const now = await this.#read(place, end)
    const wish = unmetVfSettings(now, settings)
    if (Object.keys(wish).length === 0) return
    await this.#deps.book.willChange(addressOf(end), pickVfSettings(now, admin))
    await this.#make(place, end, wish)
  }

  /** What is not as it is wanted, as readable phrases. @throws OffloadError HARDWARE_FAILURE */
  async deviations(pf: PciDevice, end: OwnEnd, settings: VfAdminSettings): Promise<string[]> {
    const now = await this.#read(this.#place(pf, end.vf), end)
    const fields = Object.keys(unmetVfSettings(now, settings)) as (keyof VfAdminSettings)[]
    return fields.map((field) => `${field} is ${JSON.stringify(now[field]) ?? 'not told'} instead of ${JSON.stringify(settings[field])}`)
  }

  /** Brings back what was before the first change; nothing is looked at where nothing was changed. @throws OffloadError HARDWARE_FAILURE, IO_FAILURE */
  async restore(pf: PciDevice, end: OwnEnd): Promise<void> {
    const { book } = this.#deps
    const before = book.settingsBefore(addressOf(end))
    if (before === undefined) return
    const place = this.#place(pf, end.vf)
    await this.#make(place, end, unmetVfSettings(await this.#read(place, end), before))
    await book.isAsBefore(addressOf(end))
  }

  async #make(place: VfPlace, end: OwnEnd, wish: VfAdminSettings): Promise<void> {
    const outcomes = await setVfAndReadBack(place, wish)
    const not = [...outcomes].flatMap(([setting, outcome]) => {
      if (outcome === 'set') return []
      return [outcome === 'pretended' ? `${setting}: its driver says that it is done, and it is not` : `${setting}: ${outcome.refused}`]
    })
    if (not.length > 0) throw new OffloadError('HARDWARE_FAILURE', `${this.#name(end)} was not set by ${place.pf}: ${not.join('; ')}`)
  }

  async #read(place: VfPlace, end: OwnEnd): Promise<VfAdmin> {
    return await readVf(place).catch((error: unknown) => {
      throw new OffloadError('HARDWARE_FAILURE', `${this.#name(end)}: ${OffloadError.from(error).message}`, { cause: error })
    })
  }

  /** Most drivers do not tell what they make of functions: then nothing that they say about it can be believed. */
  async #tells({ netdevs: [dev] = [] }: PciDevice): Promise<boolean> {
    const { net, home } = this.#deps
    return dev !== undefined && (await net.vfs(home, dev)).length > 0
  }

  /** One that lies at home, down, and was not changed by us: another daemon may have ended while it gave that to a pod. */
  async #unused(functions: readonly FunctionState[]): Promise<FunctionState | undefined> {
    const { net, book, home } = this.#deps
    for (const state of functions) {
      if (state.netdev === undefined || state.trouble !== undefined || book.settingsBefore(state.address) !== undefined) continue
      if ((await net.link(home, state.netdev))?.up === false) return state
    }
    return undefined
  }

  #place({ address, netdevs: [dev] = [] }: PciDevice, { index }: VfId): VfPlace {
    const { net, home } = this.#deps
    if (dev !== undefined) return { net, netns: home, pf: dev, vf: index }
    throw new OffloadError(
      'HARDWARE_FAILURE',
      `the physical function ${address} has no interface: it cannot be asked about its functions`,
      {
        hint: 'The firmware of the card is not ready: `offload doctor` on the DPU says what is wrong there.',
      },
    )
  }

  #name({ vf, pciAddress }: OwnEnd): string {
    return `function ${formatVfId(vf)} (${pciAddress ?? 'no PCI address'})`
  }
}

const addressOf = ({ pciAddress }: OwnEnd): string => pciAddress ?? ''
