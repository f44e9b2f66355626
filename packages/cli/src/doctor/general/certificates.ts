import { access, constants } from 'node:fs/promises'
import { describeCertificate } from '@cni-offload/protocol/pki'
import type { Clock } from '@cni-offload/sdk'
import { type Check, fail, type Finding, ok, warn } from '../check.ts'

/** Certificates of a daemon. */
export interface CertificateSubject {
  /** Which daemon. */
  readonly role: 'host' | 'agent'
  /** Node that it belongs to. */
  readonly node: string
  /** Paths of the PEM files. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string }
}

/** From this many days before its end on, a certificate is warned of. */
const SOON_DAYS = 30

const DAY_MS = 86_400_000

/** Whether the certificates of a daemon hold, are its own, and its key can be read. */
export function certificateChecks(subject: CertificateSubject, clock: Clock, after: readonly string[]): readonly Check[] {
  const { role, node, tls } = subject
  return [
    {
      id: `${role}.tls.ca`,
      title: 'the authority holds',
      after,
      run: async () => await validity(tls.ca, clock),
    },
    {
      id: `${role}.tls.cert`,
      title: `the certificate holds and is of the ${role} of ${node}`,
      after,
      run: async () => (await foreign(subject)) ?? (await validity(tls.cert, clock)),
    },
    {
      id: `${role}.tls.key`,
      title: 'the private key can be read',
      after,
      run: async () => await readable(tls.key),
    },
  ]
}

async function validity(file: string, clock: Clock): Promise<Finding> {
  const { notBefore, notAfter } = await describeCertificate(file)
  const now = clock.now()
  const until = `${file} until ${notAfter.toISOString()}`
  const renew = 'Issue a new one with "offload pki issue" (an authority with "offload pki init"); daemons read it without a restart.'
  if (notAfter.getTime() <= now) return fail(until, 'it has expired: host and agent refuse each other', renew)
  if (notBefore.getTime() > now)
    return fail(`${file} from ${notBefore.toISOString()}`, 'it does not hold yet', 'Set the clock of this machine right.')
  const days = Math.floor((notAfter.getTime() - now) / DAY_MS)
  return days < SOON_DAYS ? warn(until, `it expires in ${days} days`, renew) : ok(until)
}

async function foreign({ role, node, tls }: CertificateSubject): Promise<Finding | undefined> {
  const { identity } = await describeCertificate(tls.cert)
  if (identity?.role === role && identity.node === node) return undefined
  const whose = identity === undefined ? 'nobody of cni-offload' : `the ${identity.role} of ${identity.node}`
  return fail(
    `${tls.cert} of ${whose}`,
    `the other side lets in only the ${role} of ${node}`,
    `Issue it with "offload pki issue --role ${role} --node ${node}", or correct "node" of the configuration.`,
  )
}

async function readable(file: string): Promise<Finding> {
  try {
    await access(file, constants.R_OK)
    return ok(file)
  } catch (error) {
    return fail(file, error instanceof Error ? error.message : String(error), 'Put the key there, readable by this user alone (mode 0600).')
  }
}
