import { OffloadError } from '@cni-offload/sdk'
import type { LinuxNet, NetnsPath, VfAdmin } from '../net/model.ts'

/** A setting of a VF that its physical function makes. */
export type VfSettingName = 'mac' | 'vlan' | 'rate' | 'spoofCheck' | 'trust' | 'linkState'

/** What is wanted of a VF; what is left out stays as it is. */
export type VfWish = Partial<Omit<VfAdmin, 'vf'>>

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

const GROUPS: Readonly<Record<VfSettingName, readonly (keyof VfWish)[]>> = {
  mac: ['mac'],
  vlan: ['vlan'],
  rate: ['minTxRate', 'maxTxRate'],
  spoofCheck: ['spoofCheck'],
  trust: ['trust'],
  linkState: ['linkState'],
}

/**
 * Makes settings of a VF, each for itself, and reads each back: that a driver answers success proves nothing.
 *
 * @throws OffloadError NOT_FOUND if the physical function has no such VF, or is not there
 */
export async function setVfAndReadBack(place: VfPlace, wish: VfWish): Promise<ReadonlyMap<VfSettingName, VfSettingOutcome>> {
  const before = await readVf(place)
  const outcomes = new Map<VfSettingName, VfSettingOutcome>()
  for (const [name, keys] of Object.entries(GROUPS) as [VfSettingName, readonly (keyof VfWish)[]][]) {
    const settings = pick(wish, keys)
    if (Object.keys(settings).length > 0) outcomes.set(name, await one(place, { ...pick(before, keys), ...settings }))
  }
  return outcomes
}

/**
 * Which settings of a VF its driver really makes: each is set to something that it is not, read back, and set back. Only for a VF that nobody
 * uses.
 *
 * @throws OffloadError NOT_FOUND as {@link setVfAndReadBack}; HARDWARE_FAILURE if a VF could not be brought back to what it was
 */
export async function probeVfSettings(place: VfPlace): Promise<ReadonlyMap<VfSettingName, VfSettingOutcome>> {
  const before = await readVf(place)
  const outcomes = await setVfAndReadBack(place, {
    mac: before.mac === PROBE_MAC ? OTHER_PROBE_MAC : PROBE_MAC,
    vlan: { id: before.vlan.id === 1 ? 2 : 1, qos: 0, protocol: '802.1q' },
    minTxRate: 0,
    maxTxRate: before.maxTxRate === 1_000 ? 2_000 : 1_000,
    spoofCheck: before.spoofCheck !== true,
    trust: before.trust !== true,
    linkState: before.linkState === 'disable' ? 'enable' : 'disable',
  })
  for (const [name, outcome] of outcomes) {
    if (outcome !== 'set') continue
    const back = await one(place, pick(before, GROUPS[name]))
    if (back !== 'set')
      throw new OffloadError('HARDWARE_FAILURE', `VF ${place.vf} of ${place.pf}: ${name} could be set, but not back to what it was`, {
        hint: 'Make the VFs anew (sriov_numvfs 0, then their number).',
      })
  }
  return outcomes
}

const PROBE_MAC = '02:00:00:00:00:01'
const OTHER_PROBE_MAC = '02:00:00:00:00:02'

async function one(place: VfPlace, settings: VfWish): Promise<VfSettingOutcome> {
  const { net, netns, pf, vf } = place
  try {
    await net.apply(netns, [{ op: 'vf.set', dev: pf, vf, settings }])
  } catch (error) {
    const { code, message } = OffloadError.from(error)
    if (code !== 'KERNEL_REFUSED') throw error
    return { refused: message }
  }
  const now = await readVf(place)
  return (Object.keys(settings) as (keyof VfWish)[]).every((key) => same(now[key], settings[key])) ? 'set' : 'pretended'
}

async function readVf({ net, netns, pf, vf }: VfPlace): Promise<VfAdmin> {
  const found = (await net.vfs(netns, pf)).find((candidate) => candidate.vf === vf)
  if (found !== undefined) return found
  throw new OffloadError('NOT_FOUND', `${pf} tells of no VF ${vf}`, {
    hint: 'Its driver does not tell of its VFs, or the VF does not exist: what the driver makes of settings cannot be known.',
  })
}

function pick(from: VfWish, keys: readonly (keyof VfWish)[]): VfWish {
  return Object.fromEntries(Object.entries(from).filter(([key]) => (keys as readonly string[]).includes(key)))
}

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)
