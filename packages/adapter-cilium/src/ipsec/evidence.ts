import type { CryptoCounters } from '@cni-offload/sdk'
import { driverKind } from './drivers.ts'
import { driversOf } from './in-hardware.ts'
import type { Reading, Sample } from './sample.ts'

/** Something that was read. */
export interface Evidence {
  /** What. */
  readonly what: string
  /** Its value; `before → now` where it was read twice. */
  readonly value: string
  /** Command, request or file that it was read from. */
  readonly from: string
}

/** All that was read, in the order in which conclusions rest on it. */
export function evidenceOf(now: Sample, before?: Sample): Evidence[] {
  return [
    ...now.modes.map(({ value, from }) => ({ what: 'encryption mode', value, from })),
    ...twice('keys in use', now.keysInUse, before?.keysInUse, String),
    ...twice('highest sequence number', now.sequence, before?.sequence, String),
    ...twice('errors of IPsec', now.errors, before?.errors, String),
    ...twice('security associations', now.associations, before?.associations, associationsText),
    ...driverEvidence(now),
    ...engineEvidence(now, before),
    ...now.missing.map(({ value, from }) => ({ what: 'not read', value, from })),
  ]
}

function twice<T>(what: string, now: Reading<T> | undefined, before: Reading<T> | undefined, text: (value: T) => string): Evidence[] {
  if (now === undefined) return []
  const [was, is] = [before === undefined ? undefined : text(before.value), text(now.value)]
  return [{ what, value: was === undefined ? is : `${was} → ${is}`, from: now.from }]
}

function associationsText(some: NonNullable<Sample['associations']>['value']): string {
  const packets = some.reduce((sum, one) => sum + one.packets, 0n)
  const names = [...new Set(some.map(({ algorithm }) => algorithm))].join(', ')
  return `${some.length} with ${packets} packets${names === '' ? '' : `, ${names}`}`
}

function driverEvidence(now: Sample): Evidence[] {
  const drivers = driversOf(now)
  if (drivers === undefined || now.algorithms === undefined) return []
  const { from } = now.algorithms
  const used = drivers.instances.map((instance) => `${instance.users} × ${instance.driver} (${driverKind(instance)})`)
  const best = drivers.preferred.map(
    (driver) => `${driver.driver} of ${driver.module} (${driverKind(driver)}), priority ${driver.priority}, selftest passed`,
  )
  return [
    { what: 'driver of new associations', value: best.join('; ') || 'none is registered', from },
    { what: 'drivers in use', value: used.join('; ') || 'none', from },
  ]
}

function engineEvidence(now: Sample, before?: Sample): Evidence[] {
  if (now.engine === undefined) return []
  const counters = ({ packets, requests, bytes, errors }: CryptoCounters): string =>
    Object.entries({ packets, requests, bytes, errors })
      .flatMap(([what, count]) => (count === undefined ? [] : [`${count} ${what}`]))
      .join(', ')
  const { offload, last } = now.engine.value
  const earlier = before?.engine === undefined ? '' : `${counters(before.engine.value.first)} → `
  return [{ what: `crypto engine (${offload})`, value: `${earlier}${counters(last)}`, from: now.engine.from }]
}
