import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AttachmentKey, type AttachResult, OffloadError } from '@cni-offload/sdk'
import type { AttachCall, CallContext, OffloadApi, TlsFiles } from '../src/api.ts'
import { readAuthority } from '../src/pki/authority.ts'
import { createAuthority, issueCertificate } from '../src/pki/index.ts'
import { ALGORITHM, exportKey, generateKeys, x509 } from '../src/pki/x509.ts'

export const NODE = 'node-1'

export const KEY: AttachmentKey = { network: 'podnet', containerId: 'c0ffee', ifName: 'eth0' }

export const RESULT: AttachResult = {
  mac: '02:00:00:00:00:01',
  mtu: 1450,
  ips: [{ address: '10.0.0.2/32', gateway: '10.0.0.1' }, { address: 'fd00::2/128' }],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400, advmss: 1360, priority: 10, table: 254, scope: 0 },
    { dst: '10.0.0.1/32', scope: 253 },
  ],
  neighbours: [{ ip: '10.0.0.1', mac: '02:00:00:00:00:02' }],
  dns: { nameservers: ['10.96.0.10'], domain: 'cluster.local', search: [] },
  sysctls: { 'net.ipv4.conf.eth0.arp_filter': '1' },
}

export const ATTACH: AttachCall = {
  key: KEY,
  pod: { namespace: 'default', name: 'web-0', uid: 'b7c6' },
  vf: { device: 'soft0', index: 3 },
  vfMac: '02:00:00:00:00:01',
  netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni', nested: { list: [1, 'two', null] } },
  prevResult: { cniVersion: '1.1.0' },
  runtimeConfig: { bandwidth: { ingressRate: 1000 } },
  cniArgs: { K8S_POD_NAME: 'web-0', IgnoreUnknown: '1' },
  hostIpam: { ips: RESULT.ips, routes: RESULT.routes, dns: RESULT.dns },
  vlan: 42,
  flags: { ipsec: true },
}

/** A context whose signal never aborts, unless given. */
export const ctx = (over: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, ...over })

/** An api in which every method fails as a defect would, except those given. */
export const api = (over: Partial<OffloadApi> = {}): OffloadApi => {
  const missing = (): never => {
    throw new Error('not expected in this test')
  }
  return {
    handshake: async () => missing(),
    attach: async () => missing(),
    detach: async () => missing(),
    check: async () => missing(),
    status: async () => missing(),
    list: async () => missing(),
    resync: () => missing(),
    heartbeat: () => missing(),
    ...over,
  }
}

export interface Pki extends AsyncDisposable {
  readonly dir: string
  readonly authority: string
  readonly host: TlsFiles
  readonly agent: TlsFiles
}

/** A folder with an authority and certificates of both ends. */
export const pki = async (): Promise<Pki> => {
  const dir = await mkdtemp(join(tmpdir(), 'offload-protocol-'))
  const authority = join(dir, 'authority')
  await createAuthority({ dir: authority })
  const host = await issueCertificate({ authority, role: 'host', node: NODE, out: join(dir, 'host') })
  const agent = await issueCertificate({ authority, role: 'agent', node: NODE, out: join(dir, 'agent') })
  return { dir, authority, host, agent, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

export interface Forged {
  readonly uris: readonly string[]
  readonly usage?: readonly ('client' | 'server')[]
  readonly notBefore?: Date
  readonly notAfter?: Date
}

const HOUR = 3_600_000

/** A certificate of the authority that `issueCertificate` would refuse to make. */
export const forge = async (from: Pki, name: string, what: Forged): Promise<TlsFiles> => {
  const authority = await readAuthority(from.authority)
  const keys = await generateKeys()
  const usage = { client: x509.ExtendedKeyUsage.clientAuth, server: x509.ExtendedKeyUsage.serverAuth }
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '4242',
    subject: 'CN=forged',
    issuer: authority.certificate.subjectName,
    notBefore: what.notBefore ?? new Date(Date.now() - HOUR),
    notAfter: what.notAfter ?? new Date(Date.now() + HOUR),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension((what.usage ?? ['client', 'server']).map((one) => usage[one])),
      ...(what.uris.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(what.uris.map((value) => ({ type: 'url', value })))]),
    ],
  })
  const files = { ca: join(from.authority, 'ca.crt'), cert: join(from.dir, `${name}.crt`), key: join(from.dir, `${name}.key`) }
  await writeFile(files.cert, certificate.toString('pem'))
  await writeFile(files.key, await exportKey(keys.privateKey))
  return files
}

/** Resolves with an OffloadError; anything else fails the test. */
export const failure = async (work: Promise<unknown>): Promise<OffloadError> => {
  const outcome = await work.then(
    (value) => new Error(`resolved with ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )
  if (OffloadError.is(outcome)) return outcome
  throw outcome
}
