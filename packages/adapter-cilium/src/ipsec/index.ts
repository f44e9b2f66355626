/**
 * IPsec of Cilium: keys, status, and one truthful statement of what is encrypted, and where.
 *
 * @packageDocumentation
 */
export { type EncryptionStatus, encryptionStatus, type IpsecStatus } from '../api/schemas.ts'
export { type DriverKind, driverKind, type DriverUse, driverUse } from './drivers.ts'
export { type Encrypted, encryptedVerdict, type Verdict } from './encrypted.ts'
export { type Evidence, evidenceOf } from './evidence.ts'
export { DEFAULT_ALGORITHM, type InHardware, inHardwareVerdict } from './in-hardware.ts'
export { type AeadKey, describeKey, formatKey, HIGHEST_SPI, type IpsecKey, type PairKey, sameKey } from './key.ts'
export { KeyMaterial } from './key-material.ts'
export { parseKey, parseKeys } from './parse-keys.ts'
export * from './status.ts'
export { parseEncryptStatus, type PrintedStatus } from './status-text.ts'
export { type NodeSources, readNode, type Source } from './read-node.ts'
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
export type { EngineReading, Reading, Sample } from './sample.ts'
export * from './statement.ts'
