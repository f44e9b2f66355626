import { ServerCredentials } from '@grpc/grpc-js'
import type { TlsMaterial } from './files.ts'

/**
 * Server side of mTLS with certificates that can be replaced while the server runs.
 *
 * grpc-js's own file-watching provider leaves no way to insist on TLS 1.3, and drops all connections while a set of files
 * is half written.
 */
export class ReloadableServerCredentials extends ServerCredentials {
  constructor(material: TlsMaterial) {
    super({ requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' }, material.options)
  }

  /** Uses other certificates for connections made from now on. */
  replace(material: TlsMaterial): void {
    this.updateSecureContextOptions(material.options)
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other
  }
}
