import { isDeepStrictEqual } from 'node:util'
import {
  askedVfSettings,
  OffloadError,
  VF_ADMIN_FIELDS,
  VF_ADMIN_SETTINGS,
  type VfAdminSetting,
  type VfAdminSettings,
} from '@cni-offload/sdk'
import type { LinuxNet, NetnsPath, VfAdmin } from '../net/model.ts'

/**
 * What became of a setting: it is so, the driver refuses it and says why, or the driver says that it is done and it is not. The last is what
 * some drivers answer to whatever they do not know.
 */
export type VfSettingOutcome = 'set' | { readonly refused: string } | 'pretended'

/** Where a VF is set. */
export interface VfPlace {
  /** Kernel access. */
  readonly net: Pick<LinuxNet, 'apply' | 'vfs'>
  /** Namespace of the physical function's interface. */
  readonly netns: NetnsPath
  /** The physical function's interface. */
  readonly pf: string
  /** Number of the VF. */
  readonly vf: number
}

/**
 * Makes settings of a VF, each for itself, and reads each back: that a driver answers success proves nothing.
 *
 * @throws OffloadError NOT_FOUND if the physical function has no such VF, or is not there
 */
export async function setVfAndReadBack(place: VfPlace, wish: VfAdminSettings): Promise<ReadonlyMap<VfAdminSetting, VfSettingOutcome>> {
  const before = await readVf(place)
  const outcomes = new Map<VfAdminSetting, VfSettingOutcome>()
  for (const name of askedVfSettings(wish))
    outcomes.set(name, await one(place, { ...pickVfSettings(before, [name]), ...pickVfSettings(wish, [name]) }))
  return outcomes
}

/**
 * Which settings of a VF its driver really makes: each is set to something that it is not, read back, and set back. Only for a VF that nobody
 * uses. The physical function should have carrier: without it some drivers refuse rates.
 *
 * @param of - those to try. A MAC address that was set cannot be taken back by every driver: the VF is bound to
 * the one that it had. @defaultValue all
 * @throws OffloadError NOT_FOUND as {@link setVfAndReadBack}; HARDWARE_FAILURE if a VF could not be brought back to what it was
 */
export async function probeVfSettings(
  place: VfPlace,
  of: readonly VfAdminSetting[] = VF_ADMIN_SETTINGS,
): Promise<ReadonlyMap<VfAdminSetting, VfSettingOutcome>> {
  const before = await readVf(place)
  const others: VfAdminSettings = {
    mac: before.mac === PROBE_MAC ? OTHER_PROBE_MAC : PROBE_MAC,
    vlan: { id: before.vlan.id === 1 ? 2 : 1, qos: 0, protocol: '802.1q' },
    minTxRate: 0,
    maxTxRate: before.maxTxRate === PROBE_RATE ? 2 * PROBE_RATE : PROBE_RATE,
    spoofCheck: before.spoofCheck !== true,
    trust: before.trust !== true,
    linkState: before.linkState === 'disable' ? 'enable' : 'disable',
  }
  const outcomes = await setVfAndReadBack(place, pickVfSettings(others, of))
  for (const [name, outcome] of outcomes) {
    if (outcome !== 'set') continue
    const back = await one(place, pickVfSettings(before, [name]))
    if (back !== 'set')
      throw new OffloadError('HARDWARE_FAILURE', `VF ${place.vf} of ${place.pf}: ${name} could be set, but not back to what it was`, {
        hint: 'Make the VFs anew (sriov_numvfs 0, then their number).',
      })
  }
  return outcomes
}

/** Mbit/s. Drivers refuse more than the link carries at the moment. */
const PROBE_RATE = 100
const PROBE_MAC = '02:00:00:00:00:01'
const OTHER_PROBE_MAC = '02:00:00:00:00:02'

async function one(place: VfPlace, settings: VfAdminSettings): Promise<VfSettingOutcome> {
  const { net, netns, pf, vf } = place
  try {
    await net.apply(netns, [{ op: 'vf.set', dev: pf, vf, settings }])
  } catch (error) {
    const { code, message } = OffloadError.from(error)
    if (code !== 'KERNEL_REFUSED') throw error
    return { refused: message }
  }
  return Object.keys(unmetVfSettings(await readVf(place), settings)).length === 0 ? 'set' : 'pretended'
}

/** What a VF's physical function makes of it now. @throws OffloadError NOT_FOUND as {@link setVfAndReadBack} */
export async function readVf({ net, netns, pf, vf }: VfPlace): Promise<VfAdmin> {
  const found = (await net.vfs(netns, pf)).find((candidate) => candidate.vf === vf)
  if (found !== undefined) return found
  throw new OffloadError('NOT_FOUND', `${pf} tells of no VF ${vf}`, {
    hint: 'Its driver does not tell of its VFs, or the VF does not exist: what the driver makes of settings cannot be known.',
  })
}

/** The fields of some settings, as far as they are there. */
export function pickVfSettings(from: VfAdminSettings, settings: readonly VfAdminSetting[]): VfAdminSettings {
  const fields: readonly string[] = settings.flatMap((name) => VF_ADMIN_FIELDS[name])
  return Object.fromEntries(Object.entries(from).filter(([field]) => fields.includes(field)))
}

/** What is wanted of a VF and is not so. */
export function unmetVfSettings(now: VfAdminSettings, wish: VfAdminSettings): VfAdminSettings {
  return Object.fromEntries(Object.entries(wish).filter(([field, value]) => !isDeepStrictEqual(now[field as keyof VfAdminSettings], value)))
}
