import type { SecurityAssociation } from '@cni-offload/linux/ipsec'

/** An entry of `/proc/crypto`; `users` beside its registration. */
export function entry(name: string, driver: string, users = 0, more: Readonly<Record<string, string | number>> = {}): string {
  const fields = {
    name,
    driver,
    module: 'm',
    priority: driver.includes('cpt_') ? 4001 : 100,
    refcnt: users + 1,
    selftest: 'passed',
    ...more,
  }
  return Object.entries({ ...fields, internal: 'no', type: 'aead', async: 'yes' })
    .map(([field, value]) => `${field.padEnd(12)} : ${value}\n`)
    .join('')
}

export const GCM = 'rfc4106(gcm(aes))'
export const SOFT = entry(GCM, 'rfc4106-gcm-aes-ce')
export const CPT = entry(GCM, 'cpt_rfc4106_gcm_aes')
/** What so many associations have that began with CPT. */
export const usingCpt = (users: number): string => entry(`seqiv(${GCM})`, 'seqiv(cpt_rfc4106_gcm_aes)', users)
/** … and without. */
export const usingCpu = (users: number): string => entry(`seqiv(${GCM})`, 'seqiv(rfc4106-gcm-aes-ce)', users)
/** A text of `/proc/crypto`. */
export const cryptoText = (...entries: readonly string[]): string => `${entries.join('\n')}\n`

/** An association as Cilium's. */
export const association = (packets: bigint, more: Partial<SecurityAssociation> = {}): SecurityAssociation => ({
  source: '10.0.0.1',
  destination: '10.0.0.2',
  spi: 3,
  requestId: 1,
  algorithm: GCM,
  packets,
  bytes: packets * 100n,
  sent: packets,
  addedAt: 1,
  offload: 'none',
  ...more,
})
