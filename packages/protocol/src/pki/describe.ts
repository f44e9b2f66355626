import { X509Certificate } from 'node:crypto'
import { OffloadError } from '@cni-offload/sdk'
import type { PeerIdentity } from '../api.ts'
import { identityFromSan } from '../identity.ts'
import { readIfThere } from './files.ts'

/** What a certificate says. */
export interface CertificateDescription {
  /** Who it is for; absent for authorities and certificates that are not ours. */
  readonly identity?: PeerIdentity
  /** Subject on one line. */
  readonly subject: string
  /** Issuer on one line. */
  readonly issuer: string
  /** Serial number in hexadecimal. */
  readonly serial: string
  /** SHA-256 of the certificate, hexadecimal with colons. */
  readonly fingerprint: string
  /** When it starts to be valid. */
  readonly notBefore: Date
  /** When it stops to be valid. */
  readonly notAfter: Date
  /** Whether it may sign others. */
  readonly isAuthority: boolean
}

const line = (name: string): string => name.split('\n').join(', ')

/** Describes the first certificate of a PEM text. @throws OffloadError INVALID_CONFIG that names the file */
export function describePem(pem: string, file: string): CertificateDescription {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(pem)
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `${file} is not a PEM certificate`, { cause: error })
  }
  const identity = identityFromSan(certificate.subjectAltName)
  return {
    ...(identity === undefined ? {} : { identity }),
    subject: line(certificate.subject),
    issuer: line(certificate.issuer),
    serial: certificate.serialNumber,
    fingerprint: certificate.fingerprint256,
    notBefore: certificate.validFromDate,
    notAfter: certificate.validToDate,
    isAuthority: certificate.ca,
  }
}

/**
 * Describes the first certificate of a PEM file.
 *
 * @throws OffloadError INVALID_CONFIG if it does not exist or is not a certificate
 */
export async function describeCertificate(file: string): Promise<CertificateDescription> {
  const pem = await readIfThere(file)
  if (pem === undefined)
    throw new OffloadError('INVALID_CONFIG', `${file} does not exist`, { hint: 'Make certificates with `offload pki issue`.' })
  return describePem(pem, file)
}
