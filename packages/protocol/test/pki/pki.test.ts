import { X509Certificate } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAuthority, describeCertificate, issueCertificate } from '../../src/pki/index.ts'
import { failure } from '../fixture.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offload-pki-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const authority = (): string => join(dir, 'authority')
const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

test('an authority is one, and its key is for its owner only', async () => {
  const files = await createAuthority({ dir: authority(), days: 10 })
  expect(files).toEqual({ cert: join(authority(), 'ca.crt'), key: join(authority(), 'ca.key') })
  expect([await mode(authority()), await mode(files.key), await mode(files.cert)]).toEqual([0o700, 0o600, 0o644])
  const found = await describeCertificate(files.cert)
  expect(found).toMatchObject({ isAuthority: true, subject: expect.stringContaining('CN=cni-offload authority') })
  expect(found.identity).toBeUndefined()
  expect(found.notAfter.getTime() - Date.now()).toBeGreaterThan(9.9 * 86_400_000)
  expect(found.notAfter.getTime() - Date.now()).toBeLessThanOrEqual(10 * 86_400_000)
  expect(await readdir(authority())).toEqual(['ca.crt', 'ca.key'])
})

test('an authority is never overwritten, not even half of one', async () => {
  const files = await createAuthority({ dir: authority() })
  const before = await readFile(files.key, 'utf8')
  expect(await failure(createAuthority({ dir: authority() }))).toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('exists already'),
    hint: expect.any(String),
  })
  await rm(files.cert)
  expect(await failure(createAuthority({ dir: authority() }))).toMatchObject({ code: 'INVALID_CONFIG' })
  expect(await readFile(files.key, 'utf8')).toBe(before)
})

test.each([
  ['host', 'TLS Web Client Authentication', '1.3.6.1.5.5.7.3.2'],
  ['agent', 'TLS Web Server Authentication', '1.3.6.1.5.5.7.3.1'],
] as const)('a certificate of role %s names role and node and is good for its side only', async (role, _usage, oid) => {
  const ca = await createAuthority({ dir: authority() })
  const files = await issueCertificate({ authority: authority(), role, node: 'worker-1.example', out: join(dir, 'out'), days: 30 })
  expect([await mode(files.key), await mode(files.cert), await mode(join(dir, 'out'))]).toEqual([0o600, 0o644, 0o700])
  expect(await readFile(files.ca, 'utf8')).toBe(await readFile(ca.cert, 'utf8'))
  const found = await describeCertificate(files.cert)
  expect(found).toMatchObject({
    identity: { role, node: 'worker-1.example' },
    isAuthority: false,
    issuer: (await describeCertificate(ca.cert)).subject,
  })
  const certificate = new X509Certificate(await readFile(files.cert))
  const root = new X509Certificate(await readFile(ca.cert))
  expect(certificate.verify(root.publicKey)).toBe(true)
  expect(certificate.checkIssued(root)).toBe(true)
  expect(certificate.keyUsage).toEqual([oid])
  expect(certificate.subjectAltName).toBe(`URI:spiffe://cni-offload/${role}/worker-1.example`)
  expect(certificate.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'prime256v1' })
  expect(found.notBefore.getTime()).toBeLessThan(Date.now() - 300_000)
})

test('a certificate is renewed in place, and never lives longer than its authority', async () => {
  await createAuthority({ dir: authority(), days: 5 })
  const options = { authority: authority(), role: 'host', node: 'n', out: join(dir, 'out') } as const
  const first = await describeCertificate((await issueCertificate(options)).cert)
  const second = await describeCertificate((await issueCertificate(options)).cert)
  expect(second.serial).not.toBe(first.serial)
  expect(second.notAfter).toEqual((await describeCertificate(join(authority(), 'ca.crt'))).notAfter)
  expect((await readdir(join(dir, 'out'))).sort()).toEqual(['ca.crt', 'tls.crt', 'tls.key'])
})

test('the certificate of somebody else is not overwritten', async () => {
  await createAuthority({ dir: authority() })
  const out = join(dir, 'out')
  await issueCertificate({ authority: authority(), role: 'host', node: 'n', out })
  for (const other of [
    { role: 'agent', node: 'n' },
    { role: 'host', node: 'm' },
  ] as const)
    expect(await failure(issueCertificate({ authority: authority(), ...other, out }))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('is the certificate of spiffe://cni-offload/host/n'),
    })
})

test('what is not valid is refused with a remedy or what is expected', async () => {
  const out = join(dir, 'out')
  expect(await failure(issueCertificate({ authority: authority(), role: 'host', node: 'n', out }))).toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('does not exist'),
    hint: expect.stringContaining('offload pki init'),
  })
  await createAuthority({ dir: authority() })
  for (const node of ['', 'a/b', '-x', 'a b', 'x'.repeat(254), '../n'])
    expect(await failure(issueCertificate({ authority: authority(), role: 'host', node, out }))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('node = '),
    })
  for (const days of [0, -1, 1.5, Number.NaN, 40_000]) {
    expect(await failure(issueCertificate({ authority: authority(), role: 'host', node: 'n', out, days }))).toMatchObject({
      message: expect.stringContaining('days = '),
    })
    expect(await failure(createAuthority({ dir: join(dir, 'other'), days }))).toMatchObject({ message: expect.stringContaining('days = ') })
  }
  expect(await failure(issueCertificate({ authority: authority(), role: 'root' as 'host', node: 'n', out }))).toMatchObject({
    message: expect.stringContaining('role = "root"'),
  })
  await expect(readdir(out)).rejects.toThrow()
})

test('a damaged authority is told', async () => {
  const files = await createAuthority({ dir: authority() })
  const other = await createAuthority({ dir: join(dir, 'other') })
  const issue = (): ReturnType<typeof failure> =>
    failure(issueCertificate({ authority: authority(), role: 'host', node: 'n', out: join(dir, 'out') }))
  await writeFile(files.key, await readFile(other.key))
  expect(await issue()).toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('ca.key is not the private key of ca.crt'),
  })
  await writeFile(files.key, 'garbage')
  expect(await issue()).toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining("can't be read") })
})

test('describing what is none', async () => {
  await writeFile(join(dir, 'x'), 'text')
  expect(await failure(describeCertificate(join(dir, 'x')))).toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('is not a PEM certificate'),
  })
  expect(await failure(describeCertificate(join(dir, 'y')))).toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('does not exist'),
  })
})

test.skipIf(process.getuid?.() === 0)('a folder that cannot be written is named (needs a user that permissions apply to)', async () => {
  await chmod(dir, 0o500)
  expect(await failure(createAuthority({ dir: authority() }))).toMatchObject({
    code: 'IO_FAILURE',
    message: expect.stringContaining(authority()),
  })
})
