import { randomBytes } from 'node:crypto'
import { OffloadError } from '@cni-offload/sdk'
import { HIGHEST_SPI, type IpsecKey, sameKey } from './key.ts'
import { KeyMaterial } from './key-material.ts'

/** Gives that many random bytes. */
export type RandomBytes = (length: number) => Uint8Array

/** The SPI after another one: after 15 comes 1. */
export function nextSpi(spi: number): number {
  return (spi % HIGHEST_SPI) + 1
}

/** How a key is made. */
export interface KeyChoice {
  /** `gcm-128` and `gcm-256` are AES-GCM with keys of 128 and 256 bits; `cbc-sha256` is AES-CBC with HMAC-SHA-256. `gcm-128` by default. */
  readonly algorithm?: KeyAlgorithm
  /** SPI, 1–15. 3 by default, as in Cilium's documentation. */
  readonly spi?: number
}

/** Algorithms that keys are made for. */
export const KEY_ALGORITHMS = ['gcm-128', 'gcm-256', 'cbc-sha256'] as const

/** One of {@link KEY_ALGORITHMS}. */
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number]

/** Makes a first key, for each pair of nodes its own. @throws OffloadError INVALID_CONFIG if the SPI is out of range */
export function generateKey({ algorithm = 'gcm-128', spi = 3 }: KeyChoice = {}, random: RandomBytes = randomBytes): IpsecKey {
  if (!Number.isInteger(spi) || spi < 1 || spi > HIGHEST_SPI)
    throw new OffloadError('INVALID_CONFIG', `SPI = ${spi}: out of range`, { hint: `Use a number from 1 to ${HIGHEST_SPI}.` })
  const material = (length: number): KeyMaterial => new KeyMaterial(random(length))
  if (algorithm === 'cbc-sha256') {
    const [auth, cipher] = [material(32), material(32)]
    return {
      kind: 'pair',
      spi,
      perPair: true,
      auth: { algorithm: 'hmac(sha256)', key: auth },
      cipher: { algorithm: 'cbc(aes)', key: cipher },
    }
  }
  const key = material(algorithm === 'gcm-256' ? 36 : 20)
  return { kind: 'aead', spi, perPair: true, algorithm: 'rfc4106(gcm(aes))', key, icvBits: 128 }
}

/** The key that follows: the next SPI, new random bytes, all else as it was. */
export function rotateKey(key: IpsecKey, random: RandomBytes = randomBytes): IpsecKey {
  const again = ({ length }: KeyMaterial): KeyMaterial => new KeyMaterial(random(length))
  const spi = nextSpi(key.spi)
  if (key.kind === 'aead') return { ...key, spi, key: again(key.key) }
  return { ...key, spi, auth: { ...key.auth, key: again(key.auth.key) }, cipher: { ...key.cipher, key: again(key.cipher.key) } }
}

/**
 * Whether running agents would take a key in place of another one. The same key is no change and is fine.
 *
 * @param what - how the new key is called in messages
 * @throws OffloadError INVALID_CONFIG that says which rule is broken, and never a key
 */
export function assertChange(from: IpsecKey, to: IpsecKey, what = 'new key'): void {
  if (sameKey(from, to)) return
  assertReplaces(from, to, what)
  if (to.spi !== nextSpi(from.spi))
    throw refused(
      what,
      `SPI = ${to.spi} after ${from.spi}: agents do not take it for a rotation, and may still hold an older key under it`,
      `Use the next SPI, ${nextSpi(from.spi)}.`,
    )
}

/** The weaker rule for two lines of one secret. @throws OffloadError INVALID_CONFIG, see {@link assertChange} */
export function assertReplaces(from: IpsecKey, to: IpsecKey, what: string): void {
  if (to.spi === from.spi)
    throw refused(what, `SPI = ${to.spi}: the key before has it too`, `Another key needs the next SPI, ${nextSpi(from.spi)}.`)
  const [had, has] = [lengths(from), lengths(to)]
  if (had !== has)
    throw refused(what, `${has}, the key before has ${had}: agents keep the old key until they restart`, 'Keep algorithm and lengths.')
}

const refused = (what: string, why: string, hint: string): OffloadError => new OffloadError('INVALID_CONFIG', `${what}: ${why}`, { hint })

function lengths(key: IpsecKey): string {
  return key.kind === 'aead'
    ? `${key.key.length} bytes and an ICV of ${key.icvBits} bits`
    : `${key.auth.key.length} bytes that authenticate and ${key.cipher.key.length} that encrypt`
}
