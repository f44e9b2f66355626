import type { KeyMaterial } from './key-material.ts'

/** Highest SPI that Cilium takes; after it comes 1 again. */
export const HIGHEST_SPI = 15

/** What all keys have. */
interface KeyNumber {
  /** Number of the key in the packets, 1–15. A change of the key is a change of the number. */
  readonly spi: number
  /**
   * Whether each pair of nodes has a key of its own, derived from this one: `+` behind the SPI. 1.17 and newer always derive; 1.16 does so
   * only with the `+`.
   */
  readonly perPair: boolean
}

/** A key of an algorithm that encrypts and authenticates at once. */
export interface AeadKey extends KeyNumber {
  /** Which form. */
  readonly kind: 'aead'
  /** Name as the kernel has it: `rfc4106(gcm(aes))`. */
  readonly algorithm: string
  /** Key with salt. */
  readonly key: KeyMaterial
  /** Length of the integrity check value, bits. */
  readonly icvBits: number
}

/** Keys of two algorithms, one that encrypts and one that authenticates. */
export interface PairKey extends KeyNumber {
  /** Which form. */
  readonly kind: 'pair'
  /** What authenticates. */
  readonly auth: { readonly algorithm: string; readonly key: KeyMaterial }
  /** What encrypts. */
  readonly cipher: { readonly algorithm: string; readonly key: KeyMaterial }
}

/** One line of the secret `cilium-ipsec-keys`. */
export type IpsecKey = AeadKey | PairKey

/** The line as Cilium reads it. It holds the secret. */
export function formatKey(key: IpsecKey): string {
  const spi = `${key.spi}${key.perPair ? '+' : ''}`
  return key.kind === 'aead'
    ? `${spi} ${key.algorithm} ${key.key.hex()} ${key.icvBits}`
    : `${spi} ${key.auth.algorithm} ${key.auth.key.hex()} ${key.cipher.algorithm} ${key.cipher.key.hex()}`
}

/** What may be shown of a key: everything but the secret. */
export function describeKey(key: IpsecKey): string {
  const spi = `SPI ${key.spi}${key.perPair ? ', a key for each pair of nodes' : ''}`
  return key.kind === 'aead'
    ? `${spi}, ${key.algorithm} with ${key.key.length} bytes and an ICV of ${key.icvBits} bits`
    : `${spi}, ${key.cipher.algorithm} with ${key.cipher.key.length} bytes and ${key.auth.algorithm} with ${key.auth.key.length} bytes`
}

/** Whether two keys are the same in everything but the way they are written. */
export function sameKey(a: IpsecKey, b: IpsecKey): boolean {
  return formatKey(a) === formatKey(b)
}
