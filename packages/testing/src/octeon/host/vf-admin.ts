import type { VfAdmin } from '@cni-offload/linux'
import { OffloadError, VF_ADMIN_FIELDS, VF_ADMIN_SETTINGS, type VfAdminSetting, type VfAdminSettings } from '@cni-offload/sdk'
import type { HostDriverFlavour } from './environment.ts'

/** What a driver makes of a setting of a VF: it does it, says that it has and does nothing, or refuses. */
export type VfSettingBehaviour = 'does' | 'pretends' | 'refuses'

/** What a driver makes of each setting; one that is not named is refused. */
export type VfAdminBehaviour = Readonly<Partial<Record<VfAdminSetting, VfSettingBehaviour>>>

/**
 * The driver out of the tree: success to whatever it is asked for. It remembers a MAC address, tells it again, and does not give it to the
 * VF.
 */
const OUT_OF_TREE: VfAdminBehaviour = {
  mac: 'does',
  vlan: 'pretends',
  rate: 'pretends',
  spoofCheck: 'pretends',
  trust: 'pretends',
  linkState: 'pretends',
}

const NOTHING = { mac: '00:00:00:00:00:00', vlan: { id: 0, qos: 0, protocol: '802.1q' }, minTxRate: 0 } as const

/** What a driver tells of a VF that nobody has set: the one out of the tree, and any other. */
const FIRST = {
  outOfTree: { ...NOTHING, maxTxRate: 10_000, spoofCheck: false, trust: true, linkState: 'enable' },
  other: { ...NOTHING, maxTxRate: 0, spoofCheck: true, trust: false, linkState: 'auto' },
} as const satisfies Record<string, Omit<VfAdmin, 'vf'>>

/**
 * What the driver of the host's physical function makes of its VFs when it is asked over netlink (`IFLA_VF_*`), as far as it tells: frames
 * pass as before. Functions that are made anew are as in the beginning.
 */
export class FakeVfAdmin {
  /** What the driver makes of each setting; undefined where it knows none, and does not tell of VFs. */
  behaviour: VfAdminBehaviour | undefined
  readonly #first: Omit<VfAdmin, 'vf'>
  readonly #count: () => number
  readonly #set = new Map<number, VfAdminSettings>()

  /**
   * @param count - how many VFs there are
   * @param behaviour - by default that of the driver: the one of Linux before 6.14, as on the fake host, knows no such settings, and does
   * not tell of VFs
   */
  constructor(driver: HostDriverFlavour, count: () => number, behaviour?: VfAdminBehaviour) {
    const outOfTree = driver === 'out-of-tree' && behaviour === undefined
    this.behaviour = outOfTree ? OUT_OF_TREE : behaviour
    this.#first = outOfTree ? FIRST.outOfTree : FIRST.other
    this.#count = count
  }

  /** What the driver tells of the VFs; none where it does not tell. */
  vfs(): VfAdmin[] {
    if (this.behaviour === undefined) return []
    return Array.from({ length: this.#count() }, (_, vf) => ({ ...this.#first, ...this.#set.get(vf), vf }))
  }

  /** Asks for settings, one after the other. @throws OffloadError KERNEL_REFUSED for the first that is refused */
  set(vf: number, settings: VfAdminSettings): void {
    if (vf >= this.#count()) throw refused(vf, 'EINVAL')
    for (const setting of VF_ADMIN_SETTINGS) {
      const fields: readonly string[] = VF_ADMIN_FIELDS[setting]
      const wanted = Object.entries(settings).filter(([field]) => fields.includes(field))
      if (wanted.length === 0) continue
      const behaviour = this.behaviour?.[setting] ?? 'refuses'
      if (behaviour === 'refuses') throw refused(vf, 'EOPNOTSUPP')
      if (behaviour === 'does') this.#set.set(vf, { ...this.#set.get(vf), ...(Object.fromEntries(wanted) as VfAdminSettings) })
    }
  }

  /** The functions are gone. */
  reset(): void {
    this.#set.clear()
  }
}

const refused = (vf: number, errno: string): OffloadError => new OffloadError('KERNEL_REFUSED', `vf.set: VF ${vf}: ${errno}`)
