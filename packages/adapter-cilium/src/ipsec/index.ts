/**
 * IPsec of Cilium: keys, status, and one truthful statement of what is encrypted, and where.
 *
 * @packageDocumentation
 */
export { type EncryptionStatus, encryptionStatus, type IpsecStatus } from '../api/schemas.ts'
export { type AeadKey, describeKey, formatKey, HIGHEST_SPI, type IpsecKey, type PairKey, sameKey } from './key.ts'
export { KeyMaterial } from './key-material.ts'
export { parseKey, parseKeys } from './parse-keys.ts'
export {
  assertChange,
  generateKey,
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  type KeyChoice,
  nextSpi,
  type RandomBytes,
  rotateKey,
} from './rotation.ts'
