import type { CryptoCounters } from '@cni-offload/sdk'
import { driverKind, type DriverUse, driverUse } from './drivers.ts'
import type { Verdict } from './encrypted.ts'
import { packetsBetween, type Sample } from './sample.ts'

/** Whether hardware encrypts. */
export type InHardware = 'yes' | 'no' | 'unknown'

/** What Cilium uses unless its key names another. */
export const DEFAULT_ALGORITHM = 'rfc4106(gcm(aes))'

const yes = (because: string): Verdict<'yes'> => ({ answer: 'yes', because })
const no = (because: string): Verdict<'no'> => ({ answer: 'no', because })
const unknown = (because: string): Verdict<'unknown'> => ({ answer: 'unknown', because })

/** Drivers of the algorithms that the associations have. */
export function driversOf({ algorithms, associations }: Sample): DriverUse | undefined {
  const names = new Set(associations?.value.map(({ algorithm }) => algorithm))
  return algorithms && driverUse(algorithms.value, names.size === 0 ? [DEFAULT_ALGORITHM] : [...names])
}

/** Whether hardware encrypts the traffic of a node, as far as it is shown. @param encrypted - whether anything is encrypted */
export function inHardwareVerdict(encrypted: 'yes' | 'no' | 'unknown', now: Sample, before?: Sample): Verdict<InHardware> {
  if (encrypted === 'no') return no('nothing is encrypted')
  if (encrypted === 'unknown') return unknown('it is not shown that anything is encrypted')
  const offloads = (now.associations?.value ?? []).map(({ offload }) => offload)
  if (offloads.length > 0 && offloads.every((offload) => offload === 'packet'))
    return yes('the kernel leaves whole packets of all associations to the device')
  const engine = before === undefined ? undefined : byEngine(now, before)
  if (engine !== undefined) return engine
  return byDrivers(now, offloads)
}

/** By what the engine counted; undefined if that shows nothing, and does not contradict anything else. */
function byEngine(now: Sample, before: Sample): Verdict<InHardware> | undefined {
  if (now.engine === undefined || before.engine === undefined || now.engine.value.offload === 'none') return undefined
  const [from, to] = [before.engine.value.first, now.engine.value.last]
  const [counted, failed, packets] = [engineBetween(from, to), to.errors - from.errors, packetsBetween(before, now)]
  if (counted === undefined) return unknown('the engine counts neither packets nor requests')
  const { count, what } = counted
  if (count < 0n) return unknown('the counters of the engine were reset in between: look again')
  if (packets === undefined) return unknown(`the engine counted ${count} ${what}, but not how many were encrypted in all is known`)
  if (packets === 0n) return unknown('no packet went through the associations in between')
  if (count < packets) return unknown(`the engine counted ${count} ${what === 'packets' ? 'of' : 'requests for'} ${packets} packets`)
  if (failed > 0n) return unknown(`the engine counted ${failed} errors in between`)
  return what === 'packets'
    ? yes(`the engine counted all ${packets} packets that went through the associations`)
    : byRequests(count, packets, now)
}

/** What the engine counted in between; undefined if it does not tell the same of both times. */
function engineBetween(from: CryptoCounters, to: CryptoCounters): { readonly count: bigint; readonly what: string } | undefined {
  for (const what of ['packets', 'requests'] as const) {
    const [was, is] = [from[what], to[what]]
    if (was !== undefined && is !== undefined) return { count: is - was, what }
  }
  return undefined
}

/** Others may have asked the engine, too: that there were enough requests counts only if nothing but hardware serves associations. */
function byRequests(count: bigint, packets: bigint, now: Sample): Verdict<InHardware> {
  const asked = `the engine counted ${count} requests for ${packets} packets`
  const users = driversOf(now)?.users
  if (users === undefined) return unknown(`${asked}, but whether others asked it is not known: the drivers of the kernel were not read`)
  if (users.hardware === 0) return unknown(`${asked}, but no association is seen to use a driver for hardware`)
  if (users.software + users.unknown > 0)
    return unknown(`${asked}, but ${users.software + users.unknown} associations have a driver for something else`)
  return yes(`${asked}, and all drivers in use are for hardware`)
}

function byDrivers(now: Sample, offloads: readonly string[]): Verdict<InHardware> {
  const drivers = driversOf(now)
  if (drivers === undefined) return unknown('neither an engine nor the drivers of the kernel were read')
  const { users, kinds, preferred } = drivers
  const all = now.associations?.value.length
  if (users.hardware > 0 && users.hardware === all && users.software + users.unknown === 0)
    return yes('all associations have a driver for hardware')
  const deviceMayHelp = offloads.some((offload) => offload !== 'none') || (now.engine?.value.offload ?? 'none') !== 'none'
  if (deviceMayHelp) return unknown('a device may take part, but nothing shows how much')
  if (users.software > 0 && users.software === all && users.hardware + users.unknown === 0)
    return no('all associations have a driver for the CPU')
  if (kinds.size > 0 && !kinds.has('hardware') && !kinds.has('unknown')) return no('the kernel has no driver for hardware')
  const best = preferred.find((driver) => driverKind(driver) === 'hardware')
  if (best !== undefined && users.hardware === 0)
    return unknown(`${best.driver} is there, but no association is seen to use it: older ones keep the driver that they began with`)
  if (users.hardware > 0)
    return unknown(`${users.hardware} uses of a driver for hardware, for ${all ?? 'an unknown number of'} associations`)
  return unknown('no driver is there of which it is known where it works')
}
