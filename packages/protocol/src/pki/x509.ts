// The certificate library's dependencies look for this polyfill when they are loaded.
import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import { OffloadError } from '@cni-offload/sdk'
import * as x509 from '@peculiar/x509'

/** Keys and signatures of every certificate. */
export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

const DAY_MS = 86_400_000
/** Clocks of host and DPU differ: certificates start in the past, in milliseconds. */
const BACKDATE_MS = 3_600_000

/** A fresh key pair that can be exported. */
export function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

/** A private key as PEM (PKCS #8). */
export async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`
}

/** A private key from PEM (PKCS #8). */
export async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return await webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), ALGORITHM, false, ['sign'])
}

/** 16 random bytes in hexadecimal, positive as a DER integer and without leading zero. */
export function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}

/**
 * The validity of a certificate made now.
 *
 * @throws OffloadError INVALID_CONFIG if the days are not a whole number from 1 to 36 500
 */
export function validity(days: number, now: number = Date.now()): { readonly notBefore: Date; readonly notAfter: Date } {
  if (!Number.isInteger(days) || days < 1 || days > 36_500)
    throw new OffloadError('INVALID_CONFIG', `days = ${days}: expected a whole number from 1 to 36500`)
  // Certificates count whole seconds.
  const start = Math.floor(now / 1000) * 1000
  return { notBefore: new Date(start - BACKDATE_MS), notAfter: new Date(start + days * DAY_MS) }
}

export { x509 }
