import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { readIfThere, writeAtomic } from './files.ts'
import { ALGORITHM, exportKey, generateKeys, importKey, serialNumber, validity, x509 } from './x509.ts'

/** Settings of {@link createAuthority}. */
export interface AuthorityOptions {
  /** Folder of the authority; made with mode 0700 if it does not exist. */
  readonly dir: string
  /** How long it is valid, in days from 1 to 36 500; 3650 by default. */
  readonly days?: number
}

/** The files of an authority. */
export interface AuthorityFiles {
  /** Its certificate: what both ends are told to trust. */
  readonly cert: string
  /** Its private key, mode 0600. Stays with whoever issues certificates. */
  readonly key: string
}

/** Where an authority's files are in its folder. */
export function authorityFiles(dir: string): AuthorityFiles {
  return { cert: join(dir, 'ca.crt'), key: join(dir, 'ca.key') }
}

/**
 * Makes an authority: a self-signed ECDSA P-256 certificate that may sign end certificates and nothing else.
 *
 * @throws OffloadError INVALID_CONFIG if the folder already holds one, IO_FAILURE if it can't be written
 */
export async function createAuthority(options: AuthorityOptions): Promise<AuthorityFiles> {
  const { dir, days = 3650 } = options
  const files = authorityFiles(dir)
  for (const file of [files.cert, files.key])
    if ((await readIfThere(file)) !== undefined)
      throw new OffloadError('INVALID_CONFIG', `dir = ${JSON.stringify(dir)}: ${file} exists already`, {
        hint: 'Certificates of an overwritten authority would all be worthless. Use it, choose another folder, or move it away first.',
      })
  const keys = await generateKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: 'CN=cni-offload authority,O=cni-offload',
    ...validity(days),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  await writeAtomic(files.key, await exportKey(keys.privateKey), 0o600)
  await writeAtomic(files.cert, `${certificate.toString('pem')}\n`, 0o644)
  return files
}

/** An authority that can sign. */
export interface Authority {
  /** Its certificate. */
  readonly certificate: x509.X509Certificate
  /** The certificate's PEM text. */
  readonly pem: string
  /** Its private key. */
  readonly key: Awaited<ReturnType<typeof importKey>>
}

/**
 * Reads an authority.
 *
 * @throws OffloadError INVALID_CONFIG if there is none, its files are damaged or do not belong together
 */
export async function readAuthority(dir: string): Promise<Authority> {
  const files = authorityFiles(dir)
  const [pem, keyPem] = await Promise.all([readIfThere(files.cert), readIfThere(files.key)])
  if (pem === undefined || keyPem === undefined)
    throw new OffloadError(
      'INVALID_CONFIG',
      `authority = ${JSON.stringify(dir)}: ${pem === undefined ? files.cert : files.key} does not exist`,
      {
        hint: 'Make an authority with `offload pki init`.',
      },
    )
  try {
    return { certificate: new x509.X509Certificate(pem), pem, key: await importKey(keyPem) }
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `authority = ${JSON.stringify(dir)}: certificate or key can't be read`, { cause: error })
  }
}
