import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import type { PeerIdentity, TlsFiles } from '../api.ts'
import { identityUri, NODE_NAME } from '../identity.ts'
import { readAuthority } from './authority.ts'
import { describePem } from './describe.ts'
import { readIfThere, writeAtomic } from './files.ts'
import { ALGORITHM, exportKey, generateKeys, serialNumber, validity, x509 } from './x509.ts'

/** Settings of {@link issueCertificate}. */
export interface IssueOptions {
  /** Folder of the authority that signs. */
  readonly authority: string
  /** What the certificate is for. */
  readonly role: PeerIdentity['role']
  /** Node that it is for. */
  readonly node: string
  /** Folder that gets `tls.crt`, `tls.key` (0600) and `ca.crt`; made with mode 0700 if it does not exist. */
  readonly out: string
  /** How long it is valid, in days from 1 to 36 500; 365 by default. Never longer than the authority. */
  readonly days?: number
}

const USAGE = { host: x509.ExtendedKeyUsage.clientAuth, agent: x509.ExtendedKeyUsage.serverAuth } as const

/**
 * Issues a certificate for one role on one node, or renews it: existing files of the same identity are replaced atomically,
 * and running daemons take them up by themselves.
 *
 * @throws OffloadError INVALID_CONFIG if role or node are not valid, the authority is not usable or has expired, or the
 * folder holds the certificate of another identity; IO_FAILURE if it can't be written
 */
export async function issueCertificate(options: IssueOptions): Promise<TlsFiles> {
  const { authority: dir, role, node, out, days = 365 } = options
  const identity: PeerIdentity = { role, node }
  if (!Object.hasOwn(USAGE, role)) throw new OffloadError('INVALID_CONFIG', `role = ${JSON.stringify(role)}: expected "host" or "agent"`)
  if (!NODE_NAME.test(node)) throw new OffloadError('INVALID_CONFIG', `node = ${JSON.stringify(node)}: expected a Kubernetes node name`)
  const authority = await readAuthority(dir)
  const files: TlsFiles = { ca: join(out, 'ca.crt'), cert: join(out, 'tls.crt'), key: join(out, 'tls.key') }
  await refuseOther(files.cert, identity)
  const { notBefore, notAfter } = validity(days)
  const limit = authority.certificate.notAfter
  if (limit.getTime() <= Date.now())
    throw new OffloadError('INVALID_CONFIG', `authority = ${JSON.stringify(dir)} expired on ${limit.toISOString()}`, {
      hint: 'Make a new authority with `offload pki init` in another folder and issue all certificates again.',
    })
  const keys = await generateKeys()
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    // The common name is for people; at most 64 characters fit.
    subject: [{ O: ['cni-offload'] }, { OU: [role] }, { CN: [node.slice(0, 64)] }],
    issuer: authority.certificate.subjectName,
    notBefore,
    notAfter: notAfter < limit ? notAfter : limit,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([USAGE[role]], true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: identityUri(identity) }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate),
    ],
  })
  if (!(await certificate.verify({ publicKey: authority.certificate.publicKey, signatureOnly: true })))
    throw new OffloadError('INVALID_CONFIG', `authority = ${JSON.stringify(dir)}: ca.key is not the private key of ca.crt`)
  await writeAtomic(files.ca, authority.pem, 0o644)
  await writeAtomic(files.key, await exportKey(keys.privateKey), 0o600)
  await writeAtomic(files.cert, `${certificate.toString('pem')}\n`, 0o644)
  return files
}

async function refuseOther(path: string, identity: PeerIdentity): Promise<void> {
  const existing = await readIfThere(path)
  if (existing === undefined) return
  const found = describePem(existing, path).identity
  if (found?.role === identity.role && found.node === identity.node) return
  const whose = found === undefined ? 'somebody else' : identityUri(found)
  throw new OffloadError('INVALID_CONFIG', `${path} is the certificate of ${whose}, not of ${identityUri(identity)}`, {
    hint: 'Choose another folder for this certificate.',
  })
}
